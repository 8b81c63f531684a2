/** Durations in words. */

/**
 * Returns a duration in Celery's words, such as "1.99 minutes": in the largest unit that fits at least once,
 * with two decimals, and "now" below 1 s. `prefix` is put before a duration, but not before "now". Source:
 * celery 5.2.6 utils/time.py humanize_seconds.
 */
export function humanizeSeconds(seconds: number, prefix = ""): string {
  const rounded = Number(seconds.toFixed(2));
  for (const [unit, length] of UNITS) {
    if (rounded < length) continue;
    const count = rounded / length;
    return `${prefix}${count.toFixed(2)} ${unit}${count > 1 ? "s" : ""}`;
  }
  return "now";
}

const UNITS: readonly (readonly [string, number])[] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
