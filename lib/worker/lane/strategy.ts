/**
 * What this worker prepares once for each task type: its merged options, and statistics of its runs.
 *
 * Source: celery 5.2.6 worker/strategy.py default, worker/request.py create_request_cls.
 */

import { TokenBucket } from "./rate_limit.ts";
import type { WorkerTask } from "../worker_app.ts";

/** Runs of a type after which its mean is used. */
const KNOWN_AFTER_RUNS = 5;
/** The weight of the newest run in the moving mean. */
const NEWEST_WEIGHT = 0.2;

/** Options of the worker and the settings that a type falls back to. */
export interface StrategyDefaults {
  /**
   * `delivery: "at-least-once"`: late acknowledgement, and requeue if a process is lost, whatever the task
   * says.
   */
  readonly isAtLeastOnce: boolean;
  /** From the worker's options or the settings; seconds, null: none. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
}

/** One task type. */
export class Strategy {
  readonly name: string;
  readonly task: WorkerTask;
  readonly acksLate: boolean;
  readonly acksOnFailure: boolean;
  readonly acksOnTimeout: boolean;
  readonly rejectOnWorkerLost: boolean;
  readonly trackStarted: boolean;
  readonly sendEvents: boolean;
  /** True if results are not stored, unless the sender says otherwise. */
  readonly ignoresResults: boolean;
  /** Seconds; null: none. Remote control can change it. */
  timeLimit: number | null;
  softTimeLimit: number | null;
  /** Null: no rate limit. Remote control can change it. */
  bucket: TokenBucket | null = null;
  /** Number of tasks of this type begun here. */
  total = 0;
  #runs = 0;
  #meanMs = 0;

  constructor(task: WorkerTask, defaults: StrategyDefaults) {
    const options = task.options;
    this.name = task.name;
    this.task = task;
    this.acksLate = options.acksLate || defaults.isAtLeastOnce;
    this.acksOnFailure = options.acksOnFailure;
    this.acksOnTimeout = options.acksOnTimeout;
    this.rejectOnWorkerLost = options.rejectOnWorkerLost || defaults.isAtLeastOnce;
    this.trackStarted = options.trackStarted;
    this.sendEvents = options.sendEvents;
    this.ignoresResults = options.ignoreResult;
    this.timeLimit = options.timeLimit || defaults.timeLimit || null;
    this.softTimeLimit = options.softTimeLimit || defaults.softTimeLimit || null;
  }

  /** The moving mean of the runtime in milliseconds; Infinity until the type has run a few times. */
  get expectedMs(): number {
    return this.#runs < KNOWN_AFTER_RUNS ? Infinity : this.#meanMs;
  }

  /**
   * Adds a run. A runtime far above the mean replaces it: one long task is reason enough to hand out fewer.
   */
  observe(runtimeMs: number): void {
    this.#runs++;
    if (this.#runs === 1 || runtimeMs > 8 * this.#meanMs + 1) this.#meanMs = runtimeMs;
    else this.#meanMs += (runtimeMs - this.#meanMs) * NEWEST_WEIGHT;
  }

  /** Sets the rate limit, or lifts it (0). */
  limit(perSecond: number, nowMs: number): void {
    this.bucket = perSecond > 0 ? new TokenBucket(perSecond, nowMs) : null;
  }
}
