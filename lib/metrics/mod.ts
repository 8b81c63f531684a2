/**
 * metrics: what is counted, and how it is told to Prometheus.
 *
 * Numbers are plain fields that the data lane raises without an allocation; a text is made of them only when somebody
 * asks. Names, labels, help texts and buckets of what celery-exporter has too are its own, so that dashboards and
 * alerts written for it hold.
 *
 * Reading order: histogram.ts, task_metrics.ts (counts by task, node and queue, bounded in number), text.ts
 * (Prometheus' text format), families.ts (the families that workers, beat and the view of the cluster share),
 * process.ts, samples.ts (a text read again, for JSON).
 *
 * May import base. Knows no clock, no broker and no socket.
 */

export * from "./families.ts";
export { writeProcess } from "./process.ts";
export { sampledFamilies } from "./samples.ts";
export { Histogram, RUNTIME_BUCKETS } from "./histogram.ts";
export { type Buckets, hostLabel, TaskMetrics, type TaskSeries } from "./task_metrics.ts";
export * from "./text.ts";
