/**
 * What this worker has handed back to the broker until it is due, as far as `inspect scheduled` shows it. The tasks are
 * the broker's; this is only a memory of the newest, bounded in number and size.
 */

import { type Clock, forgetOldest } from "../../base/mod.ts";
import type { Request } from "./request.ts";

/** Requests remembered at most; past that the oldest are forgotten. */
const PARKED_MAX = 1000;
/**
 * Requests remembered of each second. Of a burst, each would live just long enough to be taken for old by the
 * collector, and the heap would grow by all that is then forgotten (100,000 parked messages: 30 MiB).
 */
const PARKED_PER_SECOND_MAX = 200;
/** Bodies that are longer are not kept for being looked at. */
const BODY_MAX = 16 * 1024;

/** The parked requests that are remembered. */
export class ParkedList {
  #clock: Clock;
  #requests = new Map<string, Request>();
  #second = -1;
  #addedInSecond = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A request was parked. Per parked message. */
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

  /** Those not yet due, soonest first; the others are forgotten. */
  list(nowWallMs: number): Request[] {
    for (const [id, request] of this.#requests) {
      if (!(request.etaWallMs > nowWallMs)) this.#requests.delete(id);
    }
    return [...this.#requests.values()].sort((a, b) => a.etaWallMs - b.etaWallMs);
  }

  /** A task was revoked: nobody waits for it any more. */
  discard(id: string): void {
    this.#requests.delete(id);
  }
}
