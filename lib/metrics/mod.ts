/**
 * metrics: what is counted, and its text for Prometheus.
 *
 * Counts are plain fields that the data lane raises without an allocation. The text is made only when
 * somebody asks for it. Metrics that celery-exporter has too have its names, labels, help texts and buckets,
 * so that dashboards and alerts written for it work.
 *
 * Reading order: histogram.ts, task_metrics.ts (counts by task, node and queue, bounded in number), text.ts
 * (Prometheus' text format), families.ts (the families that workers, beat and the console share), process.ts,
 * samples.ts (parses a text again, for JSON).
 *
 * May import base. Uses no clock, no broker and no socket.
 */

export * from "./families.ts";
export { writeProcess } from "./process.ts";
export { sampledFamilies } from "./samples.ts";
export { Histogram, RUNTIME_BUCKETS } from "./histogram.ts";
export { type Buckets, hostLabel, TaskMetrics, type TaskSeries } from "./task_metrics.ts";
export * from "./text.ts";
