/**
 * Requests that wait before their turn: those not yet due, and those of a type whose rate is limited.
 *
 * A task due in more than two seconds is parked with the broker if it can do that: it costs no memory here,
 * survives this process, and any worker may take it when due.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py apply_eta_task, _limit_task, _schedule_bucket_request.
 */

import { Ring } from "../../base/mod.ts";
import type { LaneParts } from "./parts.ts";
import { ParkedList } from "./parked.ts";
import type { Request } from "./request.ts";
import { advance, RequestState } from "./request_states.ts";
import type { Strategy } from "./strategy.ts";

/** A task due sooner is held here: parking it would cost more than it saves. */
const PARK_AFTER_MS = 2000;
/** One timer waits at most about 2^31 ms; longer waits are looked at again then. */
const TIMER_MAX_MS = 2_000_000_000;
/** How far the wall clock may be behind a timer that fired before the wait is taken up again. */
const CLOCK_SLACK_MS = 1000;

/** The pending requests of one worker. What is in here is unsettled, and so bounded by the window. */
export class Pending {
  /** What was handed back to the broker until due, for `inspect scheduled`. */
  readonly parked: ParkedList;
  #parts: LaneParts;
  #held = new Set<Request>();
  /** Those that wait for a token, in their order, by their type. */
  #limited = new Map<Strategy, Ring<Request>>();
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
    for (const waiting of this.#limited.values()) count += waiting.length;
    return count;
  }

  /** Those who wait, in no order. */
  toArray(): Request[] {
    const all = [...this.#held];
    for (const waiting of this.#limited.values()) all.push(...waiting.toArray());
    return all;
  }

  /** Takes a request with an eta or a rate limit: it waits for its eta, then for a token, and then is ready. */
  admit(request: Request): void {
    const eta = request.etaWallMs;
    // NaN: no eta. The clock is read only if it matters: a reading costs a call out of the engine.
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
    const { strategy } = request;
    if (strategy.bucket === null) return this.#ready(request);
    advance(request, RequestState.limited);
    let waiting = this.#limited.get(strategy);
    if (waiting === undefined) this.#limited.set(strategy, waiting = new Ring());
    waiting.push(request);
    this.#pour(strategy);
    if (request.state === RequestState.limited) this.#parts.state.limited++;
  }

  /** Makes ready what there are tokens for; all, if the limit is lifted. */
  #pour(strategy: Strategy): void {
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
      this.#pour(strategy);
      this.#onTurn();
    });
  }

  #ready(request: Request): void {
    advance(request, RequestState.reserved);
    this.#onReady(request);
  }

  /** Sets a type's rate limit, in tasks a second, 0 none; what waits goes on under the new one. */
  setRateLimit(strategy: Strategy, perSecond: number): void {
    strategy.limit(perSecond, this.#parts.world.clock.monoMs());
    this.#pour(strategy);
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
    this.#limited.clear();
  }
}
