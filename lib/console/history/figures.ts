/**
 * Counts of task events by kind, and distributions of runtimes and waiting times in 250 buckets, each 10 %
 * wider than the one before. So percentiles are accurate to 5 %.
 */

/**
 * The kinds of events that are counted, in the order of a task's life and of the database's columns. A task
 * stores the time of each.
 */
export const COUNTED = [
  "sent",
  "received",
  "started",
  "succeeded",
  "failed",
  "retried",
  "revoked",
  "rejected",
] as const;

/** A kind of event that is counted. */
export type Counted = (typeof COUNTED)[number];

const IS_COUNTED: ReadonlySet<string> = new Set(COUNTED);

/** Returns true if events of a kind are counted. */
export function isCounted(kind: string): kind is Counted {
  return IS_COUNTED.has(kind);
}

/** The upper bound of the first bucket, seconds. */
const LEAST = 1e-4;
const GROWTH = Math.log(1.1);
const BUCKETS = 250;

/** The distribution of durations, seconds. */
export class Spread {
  count = 0;
  sum = 0;
  max = 0;
  readonly #buckets: Map<number, number> = new Map();

  add(seconds: number): void {
    const value = Math.max(0, seconds);
    this.count++;
    this.sum += value;
    if (value > this.max) this.max = value;
    const bucket = bucketOf(value);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
  }

  /** Adds another distribution to this one. */
  merge(other: Spread): void {
    this.count += other.count;
    this.sum += other.sum;
    if (other.max > this.max) this.max = other.max;
    for (const [bucket, count] of other.#buckets) {
      this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + count);
    }
  }

  /** Returns the quantile `q` (0 to 1); null if nothing was added. */
  at(q: number): number | null {
    if (this.count === 0) return null;
    const wanted = q * this.count;
    let seen = 0;
    for (const [bucket, count] of [...this.#buckets].sort(([a], [b]) => a - b)) {
      seen += count;
      if (seen >= wanted) return Math.min(this.max, middleOf(bucket));
    }
    return this.max;
  }

  get mean(): number | null {
    return this.count === 0 ? null : this.sum / this.count;
  }

  /** Returns the text form that the database stores; "" if empty. */
  text(): string {
    if (this.count === 0) return "";
    const parts = [...this.#buckets].map(([bucket, count]) => `${bucket}:${count}`);
    return `${this.sum} ${this.max} ${parts.join(" ")}`;
  }

  /** Adds a distribution in the form that `text` returns. */
  mergeText(text: string): void {
    if (text === "") return;
    const [sum, max, ...parts] = text.split(" ");
    this.sum += Number(sum);
    this.max = Math.max(this.max, Number(max));
    for (const part of parts) {
      const colon = part.indexOf(":");
      const bucket = Number(part.slice(0, colon)), count = Number(part.slice(colon + 1));
      this.count += count;
      this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + count);
    }
  }
}

/** The figures of a span of time, for one task name or for all. */
export class Figures {
  readonly counts: Record<Counted, number> = {
    sent: 0,
    received: 0,
    started: 0,
    succeeded: 0,
    failed: 0,
    retried: 0,
    revoked: 0,
    rejected: 0,
  };
  readonly runtime: Spread = new Spread();
  readonly waited: Spread = new Spread();

  merge(other: Figures): void {
    for (const kind of COUNTED) this.counts[kind] += other.counts[kind];
    this.runtime.merge(other.runtime);
    this.waited.merge(other.waited);
  }
}

function bucketOf(value: number): number {
  if (value <= LEAST) return 0;
  return Math.min(BUCKETS - 1, Math.ceil(Math.log(value / LEAST) / GROWTH));
}

function middleOf(bucket: number): number {
  if (bucket === 0) return LEAST;
  return LEAST * Math.exp(GROWTH * (bucket - 0.5));
}
