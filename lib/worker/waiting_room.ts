/**
 * Where requests wait before their turn: those not yet due, and those of a type whose rate is limited.
 *
 * A task due in more than two seconds goes back to the broker's parking where there is some: it costs no memory here,
 * survives this process, and any worker may take it when due.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py apply_eta_task, _limit_task, _schedule_bucket_request.
 */

import type { LaneParts } from "./lane_parts.ts";
import { ParkedList } from "./parked.ts";
import type { TokenBucket } from "./rate_limit.ts";
import type { Request } from "./request.ts";
import { advance, RequestState } from "./request_states.ts";
import type { Strategy } from "./strategy.ts";

/** A task due sooner is held here: parking it would cost more than it saves. */
const PARK_AFTER_MS = 2000;
/** One timer waits at most about 2^31 ms; longer waits are looked at again then. */
const TIMER_MAX_MS = 2_000_000_000;
/** How far the wall clock may be behind a timer that fired before the wait is taken up again. */
const CLOCK_SLACK_MS = 1000;

/** The waiting room of one worker. What is in it is unsettled, and so bounded by the window. */
export class WaitingRoom {
  /** What was handed back to the broker until due, for `inspect scheduled`. */
  readonly parked: ParkedList;
  #parts: LaneParts;
  #held = new Set<Request>();
  #buckets = new Set<TokenBucket>();
  #onReady: (request: Request) => void;
  #onTurn: () => void;

  /** `onReady` takes a request whose turn has come; `onTurn` is called after some came by a timer. */
  constructor(parts: LaneParts, onReady: (request: Request) => void, onTurn: () => void) {
    this.#parts = parts;
    this.parked = new ParkedList(parts.world.clock);
    this.#onReady = onReady;
    this.#onTurn = onTurn;
  }

  /** How many wait here. */
  get size(): number {
    return this.#held.size + this.limitedCount;
  }

  /** How many wait for a token. */
  get limitedCount(): number {
    let count = 0;
    for (const bucket of this.#buckets) count += bucket.waiting.length;
    return count;
  }

  /** Those who wait, in no order. */
  toArray(): Request[] {
    const all = [...this.#held];
    for (const bucket of this.#buckets) all.push(...bucket.waiting.toArray());
    return all;
  }

  /** Takes a request in: it waits for its eta, then for a token, and then is ready. Data lane: per message. */
  admit(request: Request): void {
    const eta = request.etaWallMs;
    // NaN: no eta. The clock is read only where it matters: a reading costs a call out of the engine.
    if (eta === eta && eta > this.#parts.world.clock.wallMs()) this.#hold(request);
    else this.#limit(request);
  }

  #hold(request: Request): void {
    const { world, state, options, timers } = this.#parts;
    const delayMs = request.etaWallMs - world.clock.wallMs();
    const waitsHere = options.isBurst && request.headers.retries > 0;
    if (delayMs > PARK_AFTER_MS && !waitsHere && state.consumer!.park(request.tag, request.etaWallMs)) {
      request.isSettled = true;
      state.unsettled--;
      this.parked.add(request);
      advance(request, RequestState.done);
      return;
    }
    advance(request, RequestState.eta);
    state.etaHeld++;
    this.#held.add(request);
    request.deadline = timers.armIn(Math.min(delayMs, TIMER_MAX_MS), () => this.#due(request));
  }

  #due(request: Request): void {
    const early = request.etaWallMs - this.#parts.world.clock.wallMs();
    if (early > CLOCK_SLACK_MS) {
      // The wall clock was set back, or the wait was longer than one timer.
      request.deadline = this.#parts.timers.armIn(Math.min(early, TIMER_MAX_MS), () => this.#due(request));
      return;
    }
    request.deadline = null;
    this.#held.delete(request);
    this.#parts.state.etaHeld--;
    this.#limit(request);
    this.#onTurn();
  }

  #limit(request: Request): void {
    const bucket = request.strategy.bucket;
    if (bucket === null) return this.#ready(request);
    advance(request, RequestState.limited);
    this.#buckets.add(bucket);
    bucket.waiting.push(request);
    this.#pour(bucket);
  }

  /** Lets go what a bucket has tokens for. */
  #pour(bucket: TokenBucket): void {
    const now = this.#parts.world.clock.monoMs();
    while (bucket.waiting.length > 0 && bucket.take(now)) this.#ready(bucket.waiting.shift()!);
    if (bucket.waiting.length === 0) {
      this.#buckets.delete(bucket);
      return;
    }
    if (bucket.isArmed) return;
    bucket.isArmed = true;
    this.#parts.timers.armIn(Math.max(1, bucket.waitMs(now)), () => {
      bucket.isArmed = false;
      this.#pour(bucket);
      this.#onTurn();
    });
  }

  #ready(request: Request): void {
    advance(request, RequestState.reserved);
    this.#onReady(request);
  }

  /**
   * Sets a type's rate limit, in tasks a second, 0 none, while the worker runs; what waited in the old bucket waits
   * on in the new one.
   */
  setRateLimit(strategy: Strategy, perSecond: number): void {
    const before = strategy.limit(perSecond, this.#parts.world.clock.monoMs());
    if (before !== null) {
      this.#buckets.delete(before);
      for (let one = before.waiting.shift(); one; one = before.waiting.shift()) this.#ready(one);
    }
    const bucket = strategy.bucket;
    if (bucket !== null && bucket.waiting.length > 0) {
      this.#buckets.add(bucket);
      this.#pour(bucket);
    }
    this.#onTurn();
  }

  /** Forgets all and disarms their deadlines. */
  clear(): void {
    for (const request of this.#held) {
      this.#parts.timers.disarm(request.deadline);
      request.deadline = null;
    }
    this.#held.clear();
    this.#parts.state.etaHeld = 0;
    for (const bucket of this.#buckets) bucket.waiting.clear();
    this.#buckets.clear();
  }
}
