/**
 * Prometheus' text format, and OpenMetrics if it is asked for.
 *
 * Source: prometheus/docs instrumenting/exposition_formats.md (version 0.0.4); OpenMetrics 1.0.0.
 */

import type { Histogram } from "./histogram.ts";

/** The type of a family. */
export type MetricType = "counter" | "gauge" | "histogram";

/** Labels by name, in the order of the text. */
export type Labels = Readonly<Record<string, string>>;

/** A family; names of counters end with `_total`. */
export interface Family {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
}

/** The content type of Prometheus' format. */
export const TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
/** The content type of OpenMetrics. */
export const OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/** Options of a text. */
export interface MetricsTextOptions {
  readonly isOpenMetrics?: boolean;
  /** Replaces the prefix "celery_" of names. */
  readonly prefix?: string;
  /** Labels that are added to every sample, unless the sample has one of that name. */
  readonly labels?: Labels;
}

/** Builds a text: families one after the other, each with its samples. */
export class MetricsText {
  #text = "";
  #name = "";
  readonly #isOpenMetrics: boolean;
  readonly #prefix: string;
  readonly #common: Labels;
  readonly #commonText: string;

  constructor({ isOpenMetrics = false, prefix = "celery_", labels = {} }: MetricsTextOptions = {}) {
    this.#isOpenMetrics = isOpenMetrics;
    this.#prefix = prefix;
    this.#common = labels;
    this.#commonText = labelText(labels);
  }

  /** Begins a family; its samples must follow. */
  family({ name, type, help }: Family): void {
    this.#name = name.startsWith("celery_") ? this.#prefix + name.slice("celery_".length) : name;
    const shown = this.#isOpenMetrics && type === "counter" ? this.#name.replace(/_total$/, "") : this.#name;
    let text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    if (this.#isOpenMetrics) text = text.replaceAll('"', '\\"');
    this.#text += `# HELP ${shown} ${text}\n# TYPE ${shown} ${type}\n`;
  }

  /** Writes a sample of the present family. */
  sample(labels: Labels, value: number): void {
    this.#line("", this.#labelsOf(labels), value);
  }

  /** Writes the series of a histogram. */
  histogram(labels: Labels, { bounds, counts, sum, count }: Histogram): void {
    const own = this.#labelsOf(labels);
    let below = 0;
    for (let n = 0; n < counts.length; n++) {
      below += counts[n]!;
      const bound = n < bounds.length ? boundText(bounds[n]!) : "+Inf";
      this.#line("_bucket", joined(own, `le="${bound}"`), below);
    }
    this.#line("_sum", own, sum);
    this.#line("_count", own, count);
  }

  /** Writes a family with one sample. */
  single(family: Family, labels: Labels, value: number): void {
    this.family(family);
    this.sample(labels, value);
  }

  /** Returns the whole text. */
  end(): string {
    return this.#isOpenMetrics ? `${this.#text}# EOF\n` : this.#text;
  }

  /**
   * Returns a sample's labels and the common ones, each name once: a scrape with a duplicate name is refused
   * as a whole.
   */
  #labelsOf(own: Labels): string {
    let common = this.#commonText;
    if (common !== "" && Object.keys(own).some((name) => Object.hasOwn(this.#common, name))) {
      const others = Object.entries(this.#common).filter(([name]) => !Object.hasOwn(own, name));
      common = labelText(Object.fromEntries(others));
    }
    return joined(labelText(own), common);
  }

  #line(suffix: string, labels: string, value: number): void {
    this.#text += `${this.#name}${suffix}${labels === "" ? "" : `{${labels}}`} ${numberText(value)}\n`;
  }
}

function joined(a: string, b: string): string {
  return a === "" || b === "" ? a + b : `${a},${b}`;
}

function labelText(labels: Labels): string {
  let text = "";
  for (const name in labels) {
    text += `${text === "" ? "" : ","}${name}="${escaped(labels[name]!)}"`;
  }
  return text;
}

/**
 * Escapes a label's text: backslash, quote and line break. A lone surrogate has no form in UTF-8 and is
 * replaced.
 */
function escaped(text: string): string {
  const safe = /["\\\n]/.test(text)
    ? text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")
    : text;
  return safe.toWellFormed();
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

/** Returns a bound as Python prints a float: 1.0, not 1, since queries select by the label's text. */
function boundText(bound: number): string {
  return Number.isInteger(bound) ? bound.toFixed(1) : String(bound);
}
