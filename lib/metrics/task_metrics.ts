/**
 * Counts of tasks by name, node and queue: one object for each combination, looked up once for each message.
 *
 * Names come from messages, and so from outside: at most `seriesMax` combinations, and `EXCEPTIONS_MAX`
 * exceptions of each, are counted separately. Further ones are counted under "other", and `overflowed` is the
 * number of such lookups.
 */

import { Histogram, QUEUE_WAIT_BUCKETS, RUNTIME_BUCKETS } from "./histogram.ts";

/** Default maximum of combinations of task, node and queue. */
const SERIES_MAX = 2000;
/** Exceptions of one series that are counted separately. */
const EXCEPTIONS_MAX = 50;
/** Characters kept of a name: names come from messages, and each is part of every line. */
const LABEL_MAX = 255;
/** The name for everything beyond a limit. */
const OTHER = "other";

/** The counts of one task on one node from one queue. The data lane raises the fields. */
export class TaskSeries {
  readonly name: string;
  /** The part of the node's name after "@", as in celery-exporter. */
  readonly hostname: string;
  readonly queue: string;
  sent = 0;
  received = 0;
  started = 0;
  succeeded = 0;
  rejected = 0;
  revoked = 0;
  retried = 0;
  /** True once a worker has reported this task: the counts above are then shown even if they are 0. */
  isKnown = false;
  /** When it was last counted, seconds, so that series unused for long can be forgotten. */
  heard = 0;
  /** Failures by exception class. */
  readonly failed: Map<string, number> = new Map();
  readonly runtime: Histogram;
  readonly queueWait: Histogram;

  constructor(name: string, hostname: string, queue: string, buckets: Buckets) {
    this.name = name;
    this.hostname = hostname;
    this.queue = queue;
    this.runtime = new Histogram(buckets.runtime);
    this.queueWait = new Histogram(buckets.queueWait);
  }

  /** Counts a failure. `exception` is the error as Python prints it: `ValueError('x')`. */
  fail(exception: string): void {
    let label = exceptionClass(exception);
    if (!this.failed.has(label) && this.failed.size >= EXCEPTIONS_MAX) label = OTHER;
    this.failed.set(label, (this.failed.get(label) ?? 0) + 1);
  }
}

/** Upper bounds of the histograms, in seconds. */
export interface Buckets {
  readonly runtime: readonly number[];
  readonly queueWait: readonly number[];
}

/** Options of the counts. */
export interface TaskMetricsOptions {
  readonly seriesMax?: number;
  readonly buckets?: Partial<Buckets>;
}

/** All counts of tasks. */
export class TaskMetrics {
  readonly seriesMax: number;
  /** Number of lookups that found no room for a series of their own. */
  overflowed = 0;
  readonly #buckets: Buckets;
  readonly #all = new Map<string, TaskSeries>();
  #last: TaskSeries | null = null;

  constructor({ seriesMax = SERIES_MAX, buckets }: TaskMetricsOptions = {}) {
    this.seriesMax = seriesMax;
    this.#buckets = {
      runtime: buckets?.runtime ?? RUNTIME_BUCKETS,
      queueWait: buckets?.queueWait ?? QUEUE_WAIT_BUCKETS,
    };
  }

  /**
   * Returns the series of a task, which is added if there is room; else that of "other". Data lane: per
   * message.
   */
  of(name: string, hostname: string, queue: string): TaskSeries {
    const last = this.#last;
    // Tasks of one kind often come one after the other.
    if (last !== null && last.name === name && last.queue === queue && last.hostname === hostname) {
      return last;
    }
    return this.#last = this.#find(shortened(name), shortened(hostname), shortened(queue));
  }

  /** Whether a new combination would be counted under "other". */
  get isFull(): boolean {
    return this.#all.size >= this.seriesMax;
  }

  /** Forgets series, such as those of a node that has been gone for long. */
  forget(isGone: (series: TaskSeries) => boolean): void {
    this.#last = null;
    for (const [key, series] of this.#all) if (isGone(series)) this.#all.delete(key);
  }

  /** Every series, oldest first. */
  all(): Iterable<TaskSeries> {
    return this.#all.values();
  }

  #find(name: string, hostname: string, queue: string): TaskSeries {
    const key = `${name}\0${hostname}\0${queue}`;
    let series = this.#all.get(key);
    if (series !== undefined) return series;
    if (this.isFull && name !== OTHER) {
      this.overflowed++;
      return this.#find(OTHER, OTHER, OTHER);
    }
    series = new TaskSeries(name, hostname, queue, this.#buckets);
    this.#all.set(key, series);
    return series;
  }
}

/**
 * Returns the class before `(`; "UnknownException" if there is none. Source: celery-exporter
 * get_exception_class_name.
 */
function exceptionClass(text: string): string {
  return /^([\p{L}\p{N}_]{1,200})\(/u.exec(text)?.[1] ?? "UnknownException";
}

function shortened(name: string): string {
  return name.length > LABEL_MAX ? `${name.slice(0, LABEL_MAX)}…` : name;
}

/** Returns the part of a node's name after the first "@"; the whole name if there is none. */
export function hostLabel(node: string): string {
  return node.slice(node.indexOf("@") + 1);
}
