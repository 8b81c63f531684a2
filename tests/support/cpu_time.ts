/** Processor time of this thread, so that other load of the machine does not count. */

/** Returns the milliseconds of processor time that `work` takes. */
export function cpuMsOf(work: () => void): number {
  const beforeMs = threadMs();
  work();
  return threadMs() - beforeMs;
}

/**
 * Returns the processor time of this thread. Source: Linux, Documentation/scheduler/sched-stats.rst,
 * /proc/<pid>/schedstat: nanoseconds on the processor.
 */
function threadMs(): number {
  return Number(Deno.readTextFileSync("/proc/thread-self/schedstat").split(" ")[0]) / 1e6;
}
