/** Histograms as Prometheus defines them: counts by upper bound, a sum and a count. */

/**
 * Upper bounds of runtimes, seconds. Source: prometheus_client Histogram.DEFAULT_BUCKETS, which
 * celery-exporter uses, and flower options.py task_runtime_metric_buckets.
 */
export const RUNTIME_BUCKETS: readonly number[] = [
  0.005,
  0.01,
  0.025,
  0.05,
  0.075,
  0.1,
  0.25,
  0.5,
  0.75,
  1,
  2.5,
  5,
  7.5,
  10,
];

/** Upper bounds of waits in a queue, seconds. Source: celery-exporter exporter.py DEFAULT_QUEUE_WAIT_BUCKETS. */
export const QUEUE_WAIT_BUCKETS: readonly number[] = [
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
  120,
  300,
  600,
  1800,
];

/** One series of a histogram. */
export class Histogram {
  /** Upper bounds, ascending, without +Inf. */
  readonly bounds: readonly number[];
  /** Observations above the previous bound and up to this one; the last is above all bounds. */
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Adds one value. Data lane: per task. */
  observe(value: number): void {
    const { bounds } = this;
    let at = 0;
    while (at < bounds.length && value > bounds[at]!) at++;
    this.counts[at]!++;
    this.sum += value;
    this.count++;
  }
}
