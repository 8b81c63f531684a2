/** A text of metrics read again, for programs that would rather have JSON. */

import type { MetricType } from "./text.ts";

/** One line of a text. */
export interface Sample {
  /** The family's, or with `_bucket`, `_sum`, `_count` of a histogram behind it. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As text where JSON has no such number: "NaN", "+Inf", "-Inf". */
  readonly value: number | string;
}

/** A family and its samples, in the order of the text. */
export interface SampledFamily {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly samples: Sample[];
}

/** The families of a text that `MetricsText` wrote in Prometheus' format. */
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
  // No value and no name has a blank or a brace; a label's text may have both.
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
