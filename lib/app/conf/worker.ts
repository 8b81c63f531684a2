/**
 * Settings of workers. Defaults are Celery's.
 *
 * Source: celery 5.2.6 and 5.6.3 app/defaults.py.
 */
import { LEVELS } from "../../base/mod.ts";
import { count, flag, idOrName, orNull, seconds, type SettingTable, shaped, text } from "./kinds.ts";

/** Settings of workers. */
export interface WorkerSettings {
  /**
   * Kept for shared configuration: there is only one autoscaler. Default
   * "celery.worker.autoscale:Autoscaler".
   */
  worker_autoscaler: string;
  /** Cancel late-acknowledged tasks when the connection to the broker is lost. Default false. */
  worker_cancel_long_running_tasks_on_connection_loss: boolean;
  /** How many tasks run at once. Null or 0: the number of processors. Default null. */
  worker_concurrency: number | null;
  /** Do not run a redelivered task again that has stored SUCCESS. Default false. */
  worker_deduplicate_successful_tasks: boolean;
  /** Leave delays of quorum queues to the broker (RabbitMQ). Default true. */
  worker_detect_quorum_queues: boolean;
  /** Consume a queue of this worker alone: `<node>.dq2` on exchange `C.dq2`. Default false. */
  worker_direct: boolean;
  /** Take a message only when a slot of the pool is free. Default false. */
  worker_disable_prefetch: boolean;
  /** Ignore rate limits. Default false. */
  worker_disable_rate_limits: boolean;
  /** After a reconnect, reduce the prefetch count by the number of tasks still running. Default true. */
  worker_enable_prefetch_count_reduction: boolean;
  /** Listen to remote control. Default true. */
  worker_enable_remote_control: boolean;
  /** Soft shutdown waits for tasks that are not due yet, too. Default false. */
  worker_enable_soft_shutdown_on_idle: boolean;
  /** Maximum tasks that are not due yet held in memory. Null: no limit. Default null. */
  worker_eta_task_limit: number | null;
  /** Coloured log. Null: only on a terminal. Default null. */
  worker_log_color: boolean | null;
  /**
   * Address for metrics and health of a worker: "ADDRESS:PORT" or "unix:PATH". Null: none. Ours. Default
   * null.
   */
  worker_http: string | null;
  /** Format of a worker's log lines, percent style. Default Celery's. */
  worker_log_format: string;
  /** Log file. Null: standard error. Default null. */
  worker_logfile: string | null;
  /** Kept for shared configuration: the results of a process that died are known at once. Default 10. */
  worker_lost_wait: number;
  /** KiB of resident memory after which a pool process is replaced. Null or 0: no limit. Default null. */
  worker_max_memory_per_child: number | null;
  /** Tasks after which a pool process is replaced. Null or 0: no limit. Default null. */
  worker_max_tasks_per_child: number | null;
  /** Pid file. Null: none. Default null. */
  worker_pidfile: string | null;
  /** Where tasks run: prefork or processes, solo, threads, async (gevent, eventlet). Default "prefork". */
  worker_pool: string;
  /** Kept for shared configuration: dispatch is always bounded. Default true. */
  worker_pool_putlocks: boolean;
  /** Allow the remote command `pool_restart`. Default false. */
  worker_pool_restarts: boolean;
  /** Messages fetched ahead, as a multiple of the concurrency. 0: no limit. Default 4. */
  worker_prefetch_multiplier: number;
  /** Seconds within which a new pool process must report. Default 4. */
  worker_proc_alive_timeout: number;
  /** Output of tasks goes to the log; false: to the worker's own output. Default true. */
  worker_redirect_stdouts: boolean;
  /** Level at which output of tasks is logged. Default "WARNING". */
  worker_redirect_stdouts_level: string;
  /** Send task events (`-E`). Default false. */
  worker_send_task_events: boolean;
  /** Seconds for which a cold shutdown waits for running tasks. Default 0. */
  worker_soft_shutdown_timeout: number;
  /** File that keeps revoked ids and the clock across restarts. Null: none. Default null. */
  worker_state_db: string | null;
  /** Format of the log lines of tasks, percent style. Default Celery's. */
  worker_task_log_format: string;
  /** Kept for shared configuration: timers are exact. Default 1. */
  worker_timer_precision: number;
  /** User that the worker runs as. Null: no change. Default null. */
  worker_uid: string | number | null;
  /** Group that the worker runs as. Null: no change. Default null. */
  worker_gid: string | number | null;
  /**
   * Umask of files that workers create: a number, or octal text such as "022". Null: no change. Default null.
   */
  worker_umask: string | number | null;
}

/** Default format of a worker's log lines. */
const WORKER_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s";
/** Default format of the log lines of tasks. */
const WORKER_TASK_LOG_FORMAT =
  "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s";

/** Kinds and defaults of the worker settings. */
export const WORKER_SETTINGS: SettingTable<WorkerSettings> = {
  worker_autoscaler: text("celery.worker.autoscale:Autoscaler"),
  worker_cancel_long_running_tasks_on_connection_loss: flag(false),
  worker_concurrency: orNull(count(0)),
  worker_deduplicate_successful_tasks: flag(false),
  worker_detect_quorum_queues: flag(true),
  worker_direct: flag(false),
  worker_disable_prefetch: flag(false),
  worker_disable_rate_limits: flag(false),
  worker_enable_prefetch_count_reduction: flag(true),
  worker_enable_remote_control: flag(true),
  worker_enable_soft_shutdown_on_idle: flag(false),
  worker_eta_task_limit: orNull(count(0)),
  worker_http: orNull(text("")),
  worker_log_color: orNull(flag(true)),
  worker_log_format: text(WORKER_LOG_FORMAT),
  worker_logfile: orNull(text("")),
  worker_lost_wait: seconds(10),
  worker_max_memory_per_child: orNull(count(0)),
  worker_max_tasks_per_child: orNull(count(0)),
  worker_pidfile: orNull(text("")),
  worker_pool: text("prefork"),
  worker_pool_putlocks: flag(true),
  worker_pool_restarts: flag(false),
  worker_prefetch_multiplier: count(4),
  worker_proc_alive_timeout: seconds(4),
  worker_redirect_stdouts: flag(true),
  worker_redirect_stdouts_level: shaped<string>(
    "DEBUG, INFO, WARNING, ERROR or CRITICAL",
    "WARNING",
    (value) => typeof value === "string" && value.toUpperCase() in LEVELS,
  ),
  worker_send_task_events: flag(false),
  worker_soft_shutdown_timeout: seconds(0),
  worker_state_db: orNull(text("")),
  worker_task_log_format: text(WORKER_TASK_LOG_FORMAT),
  worker_timer_precision: seconds(1),
  worker_uid: orNull(idOrName),
  worker_gid: orNull(idOrName),
  worker_umask: orNull(idOrName),
};
