/**
 * The options of a worker: every option of Celery's `worker` command, and those that only code can give.
 *
 * Source: celery 5.2.6 and 5.6.3 bin/worker.py, worker/worker.py setup_defaults; surface (a).
 */

import { defaultNodename, type Host, UsageError, workerNodename } from "../base/mod.ts";
import { type PoolFactory, type PoolHead, POOLS } from "../pool/mod.ts";
import type { WorkerApp } from "./worker_app.ts";

/** Options of a worker. An option that is not given comes from the settings. Durations are seconds. */
export interface WorkerOptions {
  /** `-n`: node name; `%h` host, `%n` its first part, `%d` the rest. Default `celery@<host>`. */
  hostname?: string;
  /** `-c`: slots. Default `worker_concurrency`, else the number of CPUs. */
  concurrency?: number;
  /** `-P`: name of the pool. Default `worker_pool`. */
  pool?: string;
  /** `-Q`: consume from these queues only. */
  queues?: readonly string[];
  /** `-X`: do not consume from these queues. */
  excludeQueues?: readonly string[];
  /** `-I`: more task modules, for the pool's slots. The caller has loaded them in this process. */
  include?: readonly string[];
  /** `-E`: send task events. */
  taskEvents?: boolean;
  prefetchMultiplier?: number;
  disablePrefetch?: boolean;
  timeLimit?: number;
  softTimeLimit?: number;
  maxTasksPerChild?: number;
  /** KiB. */
  maxMemoryPerChild?: number;
  /** Delete the messages in the queues first. */
  purge?: boolean;
  /** `-O`: accepted without effect, since this worker always distributes tasks fairly. */
  optimization?: string;
  /** Work until the queues are empty, then end; exit status 1 if a task failed. */
  burst?: boolean;
  /** Print no banner. */
  quiet?: boolean;
  /** `-S`: file that keeps revoked ids over restarts; node-formatted. */
  statedb?: string;
  /** False: do not take part. Celery's names `withoutGossip` and so on are accepted too. */
  gossip?: boolean;
  mingle?: boolean;
  heartbeat?: boolean;
  withoutGossip?: boolean;
  withoutMingle?: boolean;
  withoutHeartbeat?: boolean;
  heartbeatInterval?: number;
  /** `[max, min]` slots, by load. */
  autoscale?: readonly [number, number];
  /** `-B`: run beat in the worker. */
  beat?: boolean;
  scheduleFilename?: string;
  scheduler?: string;
  /** Count tasks, for `workerMetrics`. Default false. */
  isCounted?: boolean;
  /** `-f`, for the pool's slots. */
  logfile?: string;
  loglevel?: string;
  pidfile?: string;
  /** Makes the pool in place of the one that `pool` names; for tests and for pools outside this project. */
  poolFactory?: PoolFactory;
  /** The pool's first process, if it was started ahead. The worker ends it if its pool does not need it. */
  poolHead?: PoolHead;
}

/** Options merged with settings. */
export interface ResolvedOptions {
  /** Node name. */
  readonly hostname: string;
  readonly concurrency: number;
  readonly pool: "solo" | "processes" | "threads" | "async";
  readonly prefetchMultiplier: number;
  /** True if the multiplier was not set: the window may grow. */
  readonly isWindowAdaptive: boolean;
  readonly isPrefetchOff: boolean;
  readonly taskEvents: boolean;
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  readonly maxTasksPerChild: number | null;
  readonly maxMemoryPerChild: number | null;
  readonly autoscale: readonly [max: number, min: number] | null;
  /** File that keeps revoked ids over restarts, not yet node-formatted; null: none. */
  readonly statedb: string | null;
  readonly withGossip: boolean;
  readonly withMingle: boolean;
  readonly withHeartbeat: boolean;
  readonly given: WorkerOptions;
}

/** Celery's names of the pools, for the banner and `inspect stats`. */
export const POOL_LABELS: Readonly<Record<ResolvedOptions["pool"], string>> = {
  processes: "prefork",
  solo: "solo",
  threads: "thread",
  async: "async",
};

/**
 * Maximum number of slots. A larger number is a mistake, and would start processes until the machine stalls.
 */
export const SLOTS_MAX: Readonly<Record<ResolvedOptions["pool"], number>> = {
  processes: 1024,
  threads: 1024,
  async: 100_000,
  solo: 100_000,
};

/**
 * Merges options over settings. Throws UsageError for an unknown pool, too many slots, or a wrong node name.
 */
export function resolveOptions(app: WorkerApp, host: Host, given: WorkerOptions): ResolvedOptions {
  const { conf } = app;
  const poolName = given.pool ?? conf.worker_pool;
  const pool = POOLS[poolName.split(":").at(-1)!.split(".").at(-1)!.toLowerCase()];
  if (!pool) throw new UsageError(`Unknown pool "${poolName}": use one of ${Object.keys(POOLS).join(", ")}`);
  const autoscale = given.autoscale ?? null;
  const concurrency = autoscale ? autoscale[1] : given.concurrency || conf.worker_concurrency || host.cpus;
  const most = Math.max(concurrency, autoscale?.[0] ?? 0);
  if (most > SLOTS_MAX[pool]) {
    throw new UsageError(`Cannot start ${most} slots: the pool "${poolName}" has ${SLOTS_MAX[pool]} at most`);
  }
  return {
    hostname: given.hostname
      ? workerNodename(given.hostname, host.hostname)
      : defaultNodename(null, host.hostname),
    // Solo runs one task at a time.
    concurrency: pool === "solo" ? 1 : Math.max(1, concurrency),
    pool,
    prefetchMultiplier: given.prefetchMultiplier ?? conf.worker_prefetch_multiplier,
    isWindowAdaptive: given.prefetchMultiplier === undefined && !conf.isSet("worker_prefetch_multiplier"),
    isPrefetchOff: given.disablePrefetch ?? conf.worker_disable_prefetch,
    taskEvents: given.taskEvents ?? conf.worker_send_task_events,
    timeLimit: given.timeLimit ?? conf.task_time_limit,
    softTimeLimit: given.softTimeLimit ?? conf.task_soft_time_limit,
    // 0 means no limit, as in Celery.
    maxTasksPerChild: (given.maxTasksPerChild ?? conf.worker_max_tasks_per_child) || null,
    maxMemoryPerChild: (given.maxMemoryPerChild ?? conf.worker_max_memory_per_child) || null,
    autoscale,
    statedb: given.statedb || conf.worker_state_db || null,
    withGossip: (given.gossip ?? true) && !given.withoutGossip,
    withMingle: (given.mingle ?? true) && !given.withoutMingle,
    withHeartbeat: (given.heartbeat ?? true) && !given.withoutHeartbeat,
    given,
  };
}
