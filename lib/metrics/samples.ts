/** Parses a text of metrics, for programs that want JSON. */

import type { MetricType } from "./text.ts";

/** One line of a text. */
export interface Sample {
  /** The family's name; for a histogram followed by `_bucket`, `_sum` or `_count`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** A text if JSON has no such number: "NaN", "+Inf", "-Inf". */
  readonly value: number | string;
}

/** A family and its samples, in the order of the text. */
export interface SampledFamily {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly samples: Sample[];
}

/** Parses a text that `MetricsText` wrote in Prometheus' format. */
export function sampledFamilies(text: string): SampledFamily[] {
  const families: SampledFamily[] = [];
  let help = "";
  for (const line of text.split("\n")) {
    const [, word, name, rest] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (word === "HELP") help = unescaped(rest!);
    else if (word === "TYPE") families.push({ name: name!, type: rest as MetricType, help, samples: [] });
    else if (line !== "") families.at(-1)!.samples.push(sampleOf(line));
  }
  return families;
}

const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/gs;

function sampleOf(line: string): Sample {
  // A value or name has no blank and no brace; a label's text may have both.
  const [, name, labels = "", value] = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/s.exec(line)!;
  const number = Number(value);
  return {
    name: name!,
    labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, text]) => [key!, unescaped(text!)])),
    value: Number.isFinite(number) ? number : value!,
  };
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/gs, (_, one: string) => one === "n" ? "\n" : one);
}
