/** Processor time of this thread: what else the machine does meanwhile does not count. */

/** Milliseconds of processor time that `work` takes. */
export function cpuMsOf(work: () => void): number {
  const beforeMs = threadMs();
  work();
  return threadMs() - beforeMs;
}

/** Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat: nanoseconds on the processor. */
function threadMs(): number {
  return Number(Deno.readTextFileSync("/proc/thread-self/schedstat").split(" ")[0]) / 1e6;
}
