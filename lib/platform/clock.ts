/** The real clock: the one place that reads time and arms timers. */

import type { Clock, Disarm } from "../base/mod.ts";

/** The longest delay `setTimeout` takes, milliseconds (a signed 32-bit integer); longer ones are armed in steps. */
const STEP_MAX_MS = 2 ** 31 - 1;

/** A Clock on the runtime's own time. */
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
 * The fraction of a millisecond that `Date.now` lacks comes from the monotonic clock, until the system's clock has been
 * set since the start.
 */
function wallMs(): number {
  const expected = originMs + performance.now();
  const told = Date.now();
  return Math.abs(told - expected) < 2 ? expected : told;
}

function arm(atMonoMs: number, fn: () => void): Disarm {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const step = () => {
    const left = atMonoMs - performance.now();
    // A timer may fire up to a millisecond early; what is that near is due.
    timer = left > STEP_MAX_MS ? setTimeout(step, STEP_MAX_MS) : setTimeout(fn, Math.max(0, Math.ceil(left)));
  };
  step();
  return () => clearTimeout(timer);
}
