/**
 * What the lane's parts share: the consumer of the moment, the requests in the pool, and the counts that the window
 * and `inspect` read.
 */

import { forgetOldest, SeqMap } from "../../base/mod.ts";
import type { Consumer } from "../../transport/mod.ts";
import type { Request } from "./request.ts";

/** Shared state of one worker's lane. */
export class LaneState {
  /** The consumer that deliveries come from; null while there is no connection. */
  consumer: Consumer | null = null;
  /** Counts connections. A request of an older one cannot be settled: the broker has given its message back. */
  epoch = 0;
  /** Deliveries of this epoch that are not settled. */
  unsettled = 0;
  /** Requests held here until their eta. */
  etaHeld = 0;
  /** The number of the job made last. */
  seq = 0;
  /** Requests in the pool, by the job's number. */
  readonly inPool: SeqMap<Request> = new SeqMap();
  /** Tasks begun since the start. */
  processed = 0;
  /** Tasks that failed since the start: what `--burst` exits with 1 for. */
  failed = 0;
  /** Results that could not be stored, since the start. */
  storeErrors = 0;
  /** Messages moved to the dead letters since the start. */
  deadLettered = 0;
  /** Slots that ended without being asked to, since the start. */
  slotsLost = 0;
  /** Tasks that had to wait for their rate limit, since the start. */
  limited = 0;
  /** Messages given back since shutdown began. */
  restored = 0;
  /** Requests in the pool whose connection was lost: they hold slots that the new one's prefetch must not count on. */
  leftovers = 0;
  /** When the last message came, on the monotonic clock. */
  heardMonoMs = 0;
  /** What happened to late-acked requests whose connection was lost before they ended. */
  readonly orphans: Orphans = new Orphans();

  /** Done with: appends the ack, unless the request belongs to a lost connection. Data lane: per message. */
  ack(request: Request): void {
    if (request.isSettled) return;
    request.isSettled = true;
    if (request.epoch !== this.epoch) {
      this.orphans.finish(request);
      return;
    }
    this.unsettled--;
    if (this.consumer !== null) this.consumer.ack(request.tag);
  }

  /** Not done with: appends the rejection; false if it was settled before or its connection is lost. */
  reject(request: Request, how: "drop" | "requeue" | "restore"): boolean {
    if (request.isSettled) return false;
    request.isSettled = true;
    if (request.epoch !== this.epoch) {
      if (how === "drop") this.orphans.finish(request);
      else this.orphans.forget(request);
      return false;
    }
    this.unsettled--;
    if (this.consumer === null) return false;
    this.consumer.reject(request.tag, how);
    return true;
  }

  /** Records that a task redelivered after a worker's death has started. */
  begun(request: Request): void {
    if (!request.isSettled && request.epoch === this.epoch) this.consumer?.begun?.(request.tag);
  }

  /** Moves the message to the dead letters if the broker has some, else drops it. */
  deadLetter(request: Request, reason: string): void {
    if (request.isSettled) return;
    if (
      request.epoch === this.epoch && this.consumer !== null && this.consumer.deadLetter(request.tag, reason)
    ) {
      request.isSettled = true;
      this.unsettled--;
      this.deadLettered++;
      return;
    }
    this.reject(request, "drop");
  }
}

/** Orphans remembered at most; past that the oldest are forgotten and their copies run again. */
const ORPHANS_MAX = 10_000;

/**
 * Late-acked requests whose connection was lost under them. The broker gives their messages to someone again; where
 * that is this worker, a copy of one that still runs is joined to it, and a copy of one that has finished is
 * acknowledged without running.
 */
class Orphans {
  // A request that still runs, or null for one that has finished.
  #byKey = new Map<string, Request | null>();

  /** How many are remembered. 0: nobody needs to look. */
  get size(): number {
    return this.#byKey.size;
  }

  /** A request in the pool has lost its connection. */
  add(request: Request): void {
    this.#set(key(request), request);
  }

  /** It has finished; its copy, when it comes, is only acknowledged. */
  finish(request: Request): void {
    if (request.isLate || this.#byKey.has(key(request))) this.#set(key(request), null);
  }

  /** It is to run again. */
  forget(request: Request): void {
    if (this.#byKey.size > 0) this.#byKey.delete(key(request));
  }

  /**
   * Looks up a copy that has come: the running request to join, null for one that is finished (and is forgotten
   * now), undefined for one nobody knows.
   */
  take(copy: Request): Request | null | undefined {
    const found = this.#byKey.get(key(copy));
    if (found !== undefined) this.#byKey.delete(key(copy));
    return found;
  }

  #set(name: string, value: Request | null): void {
    this.#byKey.delete(name);
    this.#byKey.set(name, value);
    forgetOldest(this.#byKey, ORPHANS_MAX);
  }
}

// A retry keeps the id of what it retries, and is another run.
function key(request: Request): string {
  return `${request.id} ${request.headers.retries}`;
}
