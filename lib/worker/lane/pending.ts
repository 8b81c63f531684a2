/**
 * Requests that are not ready for a slot: those not yet due, and those of a task type whose rate is limited.
 *
 * A task due in more than two seconds is parked at the broker if the transport supports it: it then costs no
 * memory here, survives this process, and any worker may take it when it is due.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py apply_eta_task, _limit_task, _schedule_bucket_request.
 */

import { Ring } from "../../base/mod.ts";
import type { LaneParts } from "./parts.ts";
import { ParkedList } from "./parked.ts";
import type { Request } from "./request.ts";
import { advance, RequestState } from "./request_states.ts";
import type { Strategy } from "./strategy.ts";

/** A task that is due sooner is held here, since parking costs more than it saves. */
const PARK_AFTER_MS = 2000;
/** Maximum delay of one timer, about 2^31 ms; for a longer wait a new timer is armed when it fires. */
const TIMER_MAX_MS = 2_000_000_000;
/** If the wall clock is further behind than this when a timer fires, the wait continues. */
const CLOCK_SLACK_MS = 1000;

/** The pending requests of one worker. All of them are unsettled, so the window bounds their number. */
export class Pending {
  /** Requests that were parked at the broker, for `inspect scheduled`. */
  readonly parked: ParkedList;
  #parts: LaneParts;
  #held = new Set<Request>();
  /** Requests that wait for a token, in order, by task type. */
  #limited = new Map<Strategy, Ring<Request>>();
  #onReady: (request: Request) => void;
  #onReleased: () => void;

  /**
   * `onReady` takes each request that has become ready; `onReleased` is called after a timer or a new limit
   * may have made some ready.
   */
  constructor(parts: LaneParts, onReady: (request: Request) => void, onReleased: () => void) {
    this.#parts = parts;
    this.parked = new ParkedList(parts.world.clock);
    this.#onReady = onReady;
    this.#onReleased = onReleased;
  }

  /** Number of requests that wait here. */
  get size(): number {
    return this.#held.size + this.limitedCount;
  }

  /** Number of requests that wait for a token. */
  get limitedCount(): number {
    let count = 0;
    for (const waiting of this.#limited.values()) count += waiting.length;
    return count;
  }

  /** Returns all waiting requests, in no order. */
  toArray(): Request[] {
    const all = [...this.#held];
    for (const waiting of this.#limited.values()) all.push(...waiting.toArray());
    return all;
  }

  /**
   * Takes a request with an eta or a rate limit: it waits for its eta, then for a token, and becomes ready.
   */
  admit(request: Request): void {
    const eta = request.etaWallMs;
    // NaN means no eta. The clock is read only if needed: each reading is a call out of the engine.
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
    this.#onReleased();
  }

  #limit(request: Request): void {
    const { strategy } = request;
    if (strategy.bucket === null) return this.#ready(request);
    advance(request, RequestState.limited);
    let waiting = this.#limited.get(strategy);
    if (waiting === undefined) this.#limited.set(strategy, waiting = new Ring());
    waiting.push(request);
    this.#releaseLimited(strategy);
    if (request.state === RequestState.limited) this.#parts.state.limited++;
  }

  /** Makes ready as many requests as there are tokens; all, if the limit was lifted. */
  #releaseLimited(strategy: Strategy): void {
    const waiting = this.#limited.get(strategy);
    if (waiting === undefined) return;
    const { bucket } = strategy;
    const now = this.#parts.world.clock.monoMs();
    while (waiting.length > 0 && (bucket === null || bucket.take(now))) this.#ready(waiting.shift()!);
    if (waiting.length === 0) {
      this.#limited.delete(strategy);
      return;
    }
    if (bucket === null || bucket.isArmed) return;
    bucket.isArmed = true;
    this.#parts.timers.armIn(Math.max(1, bucket.waitMs(now)), () => {
      bucket.isArmed = false;
      this.#releaseLimited(strategy);
      this.#onReleased();
    });
  }

  #ready(request: Request): void {
    advance(request, RequestState.reserved);
    this.#onReady(request);
  }

  /**
   * Sets a task type's rate limit in tasks a second; 0 lifts it. Requests already waiting follow the new
   * limit.
   */
  setRateLimit(strategy: Strategy, perSecond: number): void {
    strategy.limit(perSecond, this.#parts.world.clock.monoMs());
    this.#releaseLimited(strategy);
    this.#onReleased();
  }

  /** Forgets all requests and disarms their timers. */
  clear(): void {
    for (const request of this.#held) {
      this.#parts.timers.disarm(request.deadline);
      request.deadline = null;
    }
    this.#held.clear();
    this.#parts.state.etaHeld = 0;
    this.#limited.clear();
  }
}
