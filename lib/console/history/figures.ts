/**
 * What is counted of tasks: events by kind, and how runtimes and waiting times are spread, in 250 buckets of which each
 * is 10 % wider than the one before. A percentile is so right within 5 %.
 */

/**
 * The kinds of events that are counted, in the order of a task's life and of the database's columns: a task has the
 * moment of each.
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

/** One of them. */
export type Counted = (typeof COUNTED)[number];

const IS_COUNTED: ReadonlySet<string> = new Set(COUNTED);

/** Whether events of a kind are counted. */
export function isCounted(kind: string): kind is Counted {
  return IS_COUNTED.has(kind);
}

/** The first bucket ends here, seconds. */
const LEAST = 1e-4;
const GROWTH = Math.log(1.1);
const BUCKETS = 250;

/** How durations are spread. */
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

  /** Takes in another one. */
  merge(other: Spread): void {
    this.count += other.count;
    this.sum += other.sum;
    if (other.max > this.max) this.max = other.max;
    for (const [bucket, count] of other.#buckets) {
      this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + count);
    }
  }

  /** The value that the part `q` (0 to 1) does not exceed; null if there is none. */
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

  /** As the database keeps it; "" for none. */
  text(): string {
    if (this.count === 0) return "";
    const parts = [...this.#buckets].map(([bucket, count]) => `${bucket}:${count}`);
    return `${this.sum} ${this.max} ${parts.join(" ")}`;
  }

  /** Takes in what `text` wrote. */
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

/** What is known of a span of time, of one task name or of all. */
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
