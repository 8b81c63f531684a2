/**
 * How often and how soon a failed call to a store is tried again.
 *
 * Source: celery 5.2.6 backends/base.py Backend.store_result (`result_backend_always_retry`),
 * utils/time.py get_exponential_backoff_interval; backends/redis.py RedisBackend.retry_policy; kombu 5.2
 * utils/functional.py retry_over_time.
 */

import type { Random } from "../base/mod.ts";
import type { BackendOptions } from "./backend.ts";

/** When to try again after a temporary failure. */
export interface RetryPolicy {
  /** Tries after the first; Infinity: for ever. */
  readonly maxRetries: number;
  /** Returns the milliseconds before retry number `retry` (0 is the first). */
  delayMs(retry: number): number;
}

/**
 * Returns the policy of the settings. With `result_backend_always_retry`: a random delay up to `baseSleepMs`
 * doubled each time, at most `maxSleepMs`, `maxRetries` times. Without: `retry_policy` of
 * `result_backend_transport_options`, by default 20 times after 0, 1, 1, … seconds.
 */
export function retryPolicy(options: BackendOptions, random: Random): RetryPolicy {
  if (options.alwaysRetry) {
    const { baseSleepMs, maxSleepMs, maxRetries } = options;
    return {
      maxRetries,
      delayMs(retry) {
        const ceiling = Math.min(maxSleepMs, baseSleepMs * 2 ** Math.min(retry, 40));
        return ceiling * random.fraction();
      },
    };
  }
  const given = options.transportOptions["retry_policy"];
  const policy = typeof given === "object" && given !== null ? given as Record<string, unknown> : {};
  const startMs = seconds(policy["interval_start"], 0);
  const stepMs = seconds(policy["interval_step"], 1);
  const maxMs = seconds(policy["interval_max"], 1);
  const most = policy["max_retries"];
  return {
    maxRetries: most === null ? Infinity : typeof most === "number" ? most : 20,
    delayMs: (retry) => Math.min(startMs + retry * stepMs, startMs + maxMs),
  };
}

function seconds(value: unknown, preset: number): number {
  return 1000 * (typeof value === "number" && Number.isFinite(value) ? value : preset);
}
