/**
 * A clock on which a process never stalls for long: the time between two readings counts up to a limit. For
 * simulations in real time, whose leases must not expire because a busy machine ran another process
 * meanwhile.
 */

import type { Clock, Disarm } from "../../lib/base/mod.ts";

/** Milliseconds between two readings that count at most. */
const LOOK_MAX_MS = 100;
/** Milliseconds between two readings while a timer is armed. */
const LOOK_MS = 20;

/** Makes the clock over a real one. Its wall and monotonic clock move together. */
export function steadyClock(real: Clock): Clock {
  const startWallMs = real.wallMs();
  let seenMs = real.monoMs();
  let mono = 0;
  const monoMs = (): number => {
    const nowMs = real.monoMs();
    mono += Math.min(LOOK_MAX_MS, nowMs - seenMs);
    seenMs = nowMs;
    return mono;
  };
  const arm = (atMonoMs: number, fn: () => void): Disarm => {
    let disarm: Disarm = () => {};
    const step = (isDue: boolean) => {
      const leftMs = atMonoMs - monoMs();
      if (isDue && leftMs <= 0) return fn();
      disarm = real.arm(real.monoMs() + Math.min(LOOK_MS, Math.max(0, leftMs)), () => step(true));
    };
    step(false);
    return () => disarm();
  };
  return {
    monoMs,
    wallMs: () => startWallMs + monoMs(),
    arm,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const onAbort = () => {
          disarm();
          reject(signal!.reason);
        };
        const disarm = arm(monoMs() + ms, () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        });
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    },
    defer: (fn) => real.defer(fn),
  };
}
