/**
 * Metric families that more than one program shows.
 *
 * Source: celery-exporter (August 2026) exporter.py (names, help texts and labels of everything up to
 * `activeProcessCount`).
 */

import type { TaskMetrics, TaskSeries } from "./task_metrics.ts";
import type { Family, MetricsText } from "./text.ts";

const counter = (name: string, help: string): Family => ({ name, type: "counter", help });
const gauge = (name: string, help: string): Family => ({ name, type: "gauge", help });

/** Counters of tasks by their field, in the order of the text. */
const TASK_COUNTERS: readonly [keyof TaskSeries & Counted | "failed", Family][] = [
  ["sent", counter("celery_task_sent_total", "Sent when a task message is published.")],
  ["received", counter("celery_task_received_total", "Sent when the worker receives a task.")],
  ["started", counter("celery_task_started_total", "Sent just before the worker executes the task.")],
  ["succeeded", counter("celery_task_succeeded_total", "Sent if the task executed successfully.")],
  ["failed", counter("celery_task_failed_total", "Sent if the execution of the task failed.")],
  [
    "rejected",
    counter(
      "celery_task_rejected_total",
      "The task was rejected by the worker, possibly to be re-queued or moved to a dead letter queue.",
    ),
  ],
  ["revoked", counter("celery_task_revoked_total", "Sent if the task has been revoked.")],
  [
    "retried",
    counter("celery_task_retried_total", "Sent if the task failed, but will be retried in the future."),
  ],
];

type Counted = "sent" | "received" | "started" | "succeeded" | "rejected" | "revoked" | "retried";

const TASK_RUNTIME: Family = {
  name: "celery_task_runtime",
  type: "histogram",
  help: "Histogram of task runtime measurements.",
};
const TASK_QUEUE_WAIT: Family = {
  name: "celery_task_queue_wait_time",
  type: "histogram",
  help:
    "Histogram of the time tasks spend waiting in the queue before being executed, excluding deliberate " +
    "ETA/countdown delay.",
};

/** Families other than those of tasks. */
export const FAMILIES = {
  workerUp: gauge("celery_worker_up", "Indicates if a worker has recently sent a heartbeat."),
  workerTasksActive: gauge(
    "celery_worker_tasks_active",
    "The number of tasks the worker is currently processing",
  ),
  queueLength: gauge("celery_queue_length", "The number of message in broker queue."),
  activeConsumerCount: gauge(
    "celery_active_consumer_count",
    "The number of active consumer in broker queue.",
  ),
  activeWorkerCount: gauge("celery_active_worker_count", "The number of active workers in broker queue."),
  activeProcessCount: gauge(
    "celery_active_process_count",
    "The number of active processes in broker queue.",
  ),
  queueOldest: gauge(
    "celery_queue_oldest_seconds",
    "Age of the oldest task that was sent and not yet received, as far as events tell.",
  ),
  queueUnacked: gauge(
    "celery_queue_unacked",
    "Messages that workers have fetched from the queue and not acknowledged.",
  ),
  queueParked: gauge("celery_queue_parked", "Messages kept by the broker until they are due."),
  queueDead: gauge("celery_queue_dead", "Messages of the queue in the dead letters."),
  poolSlots: gauge("celery_worker_pool_slots", "Slots of the pool by state: busy or idle."),
  prefetch: gauge("celery_worker_prefetch", "Messages that the worker may hold unacknowledged now."),
  unacked: gauge("celery_worker_unacked", "Messages that the worker holds unacknowledged."),
  waiting: gauge(
    "celery_worker_tasks_waiting",
    "Tasks that the worker holds and has not begun, by what they wait for: slot, eta or rate_limit.",
  ),
  rateLimited: counter("celery_rate_limited_total", "Tasks that had to wait for their rate limit."),
  reconnects: counter("celery_broker_reconnects_total", "Connections to the broker after the first."),
  connected: gauge("celery_broker_connected", "1 while there is a connection to the broker, else 0."),
  storeErrors: counter("celery_result_store_errors_total", "Results that could not be stored."),
  deadLettered: counter("celery_dead_letters_total", "Messages that the worker moved to the dead letters."),
  slotsLost: counter(
    "celery_worker_pool_slots_lost_total",
    "Slots of the pool that ended without being asked to.",
  ),
  beatLeader: gauge("celery_beat_leader", "1 if this beat is the one that sends, 0 while it stands by."),
  beatLag: gauge(
    "celery_beat_lag_seconds",
    "How late the last due entry was sent, after the moment of its schedule.",
  ),
  beatSent: counter("celery_beat_sent_total", "Tasks that this beat has sent."),
  beatEntries: gauge("celery_beat_entries", "Entries of the schedule."),
  seriesOverflow: counter(
    "lovage_metrics_series_overflow_total",
    'How often a task, node or queue was counted under "other" because there were too many.',
  ),
  buildInfo: gauge("lovage_build_info", "1, with the version of this program and its runtime."),
  processCpu: counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
  processMemory: gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
  processStart: gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
  ),
} as const satisfies Record<string, Family>;

/** Writes the counters and histograms of tasks. */
export function writeTasks(text: MetricsText, tasks: TaskMetrics): void {
  const all = [...tasks.all()];
  for (const [field, family] of TASK_COUNTERS) {
    text.family(family);
    for (const series of all) {
      // A sender is often not a worker, and would get a series of zeros for each counter.
      if (field === "sent" ? series.sent === 0 : !series.isKnown) continue;
      if (field === "failed") writeFailed(text, series);
      else text.sample(labelsOf(series), series[field]);
    }
  }
  text.family(TASK_RUNTIME);
  for (const series of all) {
    if (series.runtime.count > 0) text.histogram(labelsOf(series), series.runtime);
  }
  text.family(TASK_QUEUE_WAIT);
  for (const series of all) {
    if (series.queueWait.count > 0) text.histogram(labelsOf(series), series.queueWait);
  }
  text.single(FAMILIES.seriesOverflow, {}, tasks.overflowed);
}

function labelsOf({ name, hostname, queue }: TaskSeries): Record<string, string> {
  return { name, hostname, queue_name: queue };
}

/** Writes failures by exception. A series without exception has 0, so that a rate has a first value. */
function writeFailed(text: MetricsText, series: TaskSeries): void {
  const { name, hostname, queue } = series;
  text.sample({ name, hostname, exception: "", queue_name: queue }, 0);
  for (const [exception, count] of series.failed) {
    text.sample({ name, hostname, exception, queue_name: queue }, count);
  }
}
