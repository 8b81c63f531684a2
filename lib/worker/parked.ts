/**
 * What this worker has handed back to the broker until it is due, as far as `inspect scheduled` shows it. The tasks are
 * the broker's; this is only a memory of the newest, bounded in number and size.
 */

import type { Request } from "./request.ts";

/** Requests remembered at most; past that the oldest are forgotten. */
const PARKED_MAX = 1000;
/** Bodies that are longer are not kept for being looked at. */
const BODY_MAX = 16 * 1024;

/** The parked requests that are remembered. */
export class ParkedList {
  #requests = new Map<string, Request>();

  /** A request was parked. Per parked message. */
  add(request: Request): void {
    if (request.delivery.message.body.length > BODY_MAX) return;
    this.#requests.delete(request.id);
    this.#requests.set(request.id, request);
    if (this.#requests.size > PARKED_MAX) {
      for (const oldest of this.#requests.keys()) {
        this.#requests.delete(oldest);
        break;
      }
    }
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
