/**
 * State that the lane's parts share: the current consumer, the requests in the pool, and the counts that the
 * window and `inspect` read.
 */

import { forgetOldest, SeqMap } from "../../base/mod.ts";
import type { Consumer } from "../../transport/mod.ts";
import type { Request } from "./request.ts";

/** Shared state of one worker's lane. */
export class LaneState {
  /** The consumer that deliveries come from; null if there is no connection. */
  consumer: Consumer | null = null;
  /**
   * Number of the connection. Requests of an older one cannot be settled: the broker has their messages back.
   */
  epoch = 0;
  /** Unsettled deliveries of this epoch. */
  unsettled = 0;
  /** Requests held here until their eta. */
  etaHeld = 0;
  /** Number of the newest job. */
  seq = 0;
  /** Requests in the pool, by job number. */
  readonly inPool: SeqMap<Request> = new SeqMap();
  /** Tasks begun since the start. */
  processed = 0;
  /** Tasks that failed since the start; if any did, `--burst` exits with 1. */
  failed = 0;
  /** Results that could not be stored, since the start. */
  storeErrors = 0;
  /** Messages moved to the dead letters since the start. */
  deadLettered = 0;
  /** Slots that ended unexpectedly, since the start. */
  slotsLost = 0;
  /** Tasks that had to wait for their rate limit, since the start. */
  limited = 0;
  /** Messages given back since shutdown began. */
  restored = 0;
  /**
   * Requests in the pool whose connection was lost. They hold slots that the new connection's prefetch must
   * not count on.
   */
  leftovers = 0;
  /** When the last message came, on the monotonic clock; on a new connection, when it began to consume. */
  receivedMonoMs = 0;
  /** Late-acknowledged requests whose connection was lost before they ended. */
  readonly orphans: Orphans = new Orphans();

  /** Appends the acknowledgement, unless the request belongs to a lost connection. Data lane: per message. */
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

  /** Appends the rejection. Returns false if the request was settled before or its connection is lost. */
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

  /** Makes the message a dead letter if the transport keeps some, else drops it. */
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

/** Orphans remembered at most. The oldest are forgotten first, and their copies run again. */
const ORPHANS_MAX = 10_000;

/**
 * Late-acknowledged requests whose connection was lost while the pool had them. The broker delivers their
 * messages again. If one comes to this worker, the copy of a request that still runs is joined to it, and the
 * copy of one that has finished is acknowledged without running.
 */
class Orphans {
  // The running request, or null if it has finished.
  #byKey = new Map<string, Request | null>();

  /** Number of orphans; 0: nothing needs to be checked. */
  get size(): number {
    return this.#byKey.size;
  }

  /** Records a request in the pool that has lost its connection. */
  add(request: Request): void {
    this.#set(key(request), request);
  }

  /** Records that a request has finished: its copy is only acknowledged when it comes. */
  finish(request: Request): void {
    if (request.isLate || this.#byKey.has(key(request))) this.#set(key(request), null);
  }

  /** Forgets a request, so that its copy runs. */
  forget(request: Request): void {
    if (this.#byKey.size > 0) this.#byKey.delete(key(request));
  }

  /**
   * Looks up the copy of a request, and forgets it. Returns the running request to join, null if it has
   * finished, undefined if the request is not known.
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

// A retry has the id of the task that it retries, but is another run.
function key(request: Request): string {
  return `${request.id} ${request.headers.retries}`;
}
