/** The real clock: the only place that reads the time and arms timers. */

import type { Clock, Disarm } from "../base/mod.ts";

/**
 * The longest delay of `setTimeout`, milliseconds (a signed 32-bit integer). Longer delays are armed in
 * steps.
 */
const STEP_MAX_MS = 2 ** 31 - 1;

/** Returns a Clock on the runtime's time. */
export function realClock(): Clock {
  return {
    monoMs: () => performance.now(),
    wallMs,
    arm,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const onAbort = () => {
          disarm();
          reject(signal!.reason);
        };
        const disarm = arm(performance.now() + ms, () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        });
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    },
    defer: (fn) => void setImmediate(fn),
  };
}

const originMs = performance.timeOrigin;

/**
 * Returns the wall-clock time with fractions of a millisecond, which `Date.now` lacks: taken from the
 * monotonic clock, unless the system's clock was changed since the start.
 */
function wallMs(): number {
  const expected = originMs + performance.now();
  const now = Date.now();
  return Math.abs(now - expected) < 2 ? expected : now;
}

function arm(atMonoMs: number, fn: () => void): Disarm {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const step = () => {
    const left = atMonoMs - performance.now();
    // A timer may fire up to a millisecond early, so a time that near counts as reached.
    timer = left > STEP_MAX_MS ? setTimeout(step, STEP_MAX_MS) : setTimeout(fn, Math.max(0, Math.ceil(left)));
  };
  step();
  return () => clearTimeout(timer);
}
