/**
 * Requests that this worker has parked at the broker, for `inspect scheduled`. The broker owns the tasks;
 * this list remembers the newest of them, limited in number and size.
 */

import { type Clock, forgetOldest } from "../../base/mod.ts";
import type { Request } from "./request.ts";

/** Requests remembered at most; the oldest are forgotten first. */
const PARKED_MAX = 1000;
/**
 * Requests remembered per second. If all requests of a burst were remembered, each would live just long
 * enough to reach the collector's old generation, and the heap would grow by all that is forgotten afterwards
 * (100,000 parked messages: 30 MiB).
 */
const PARKED_PER_SECOND_MAX = 200;
/** Requests with a longer body are not remembered. */
const BODY_MAX = 16 * 1024;

/** The remembered requests. */
export class ParkedList {
  #clock: Clock;
  #requests = new Map<string, Request>();
  #second = -1;
  #addedInSecond = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Adds a parked request. Per parked message. */
  add(request: Request): void {
    const second = Math.floor(this.#clock.monoMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#addedInSecond = 0;
    }
    if (++this.#addedInSecond > PARKED_PER_SECOND_MAX) return;
    if (request.delivery.message.body.length > BODY_MAX) return;
    this.#requests.delete(request.id);
    this.#requests.set(request.id, request);
    forgetOldest(this.#requests, PARKED_MAX);
  }

  /** Returns the requests not yet due, soonest first, and forgets the others. */
  list(nowWallMs: number): Request[] {
    for (const [id, request] of this.#requests) {
      if (!(request.etaWallMs > nowWallMs)) this.#requests.delete(id);
    }
    return [...this.#requests.values()].sort((a, b) => a.etaWallMs - b.etaWallMs);
  }

  /** Forgets a task that was revoked. */
  discard(id: string): void {
    this.#requests.delete(id);
  }
}
