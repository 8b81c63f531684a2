/**
 * Which traces are recorded, according to `OTEL_TRACES_SAMPLER`; and the short path for those that are not.
 *
 * With a parent-based sampler, the headers of a message are enough to know that a task is not recorded: from
 * the flags of its `traceparent`, or, if the trace starts here, from a random draw. Such a task gets neither
 * a span nor a context, and messages that it sends carry the trace headers it came with.
 *
 * Source: OpenTelemetry's specification of its environment variables.
 */

import { createContextKey } from "@opentelemetry/api";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace";

/** A sampler, and the part of its decision that can be made from headers. */
export interface Sampling {
  readonly sampler: Sampler;
  /** Share of new traces that is recorded, 0 to 1; null if the sampler is not parent-based. */
  readonly rootRatio: number | null;
}

/** Context key, true if a new trace has already been chosen for recording by a random draw. */
export const DRAWN: symbol = createContextKey("lovage: this trace is recorded");

/**
 * Returns the sampler that the environment names, by default `parentbased_always_on`. Warns about an unknown
 * name.
 */
export function samplingOf(
  env: (name: string) => string | null,
  warn: (text: string) => void,
): Sampling {
  const name = env("OTEL_TRACES_SAMPLER") || "parentbased_always_on";
  const kind = name.replace(/^parentbased_/, "");
  const ratio = kind === "traceidratio" ? ratioOf(env("OTEL_TRACES_SAMPLER_ARG")) : RATIOS[kind];
  if (ratio === undefined) {
    warn(`OTEL_TRACES_SAMPLER "${name}" is not known: every trace is recorded unless its parent is not`);
    return byParent(1);
  }
  return kind === name ? { sampler: rootSampler(ratio), rootRatio: null } : byParent(ratio);
}

const RATIOS: Readonly<Record<string, number>> = { always_on: 1, always_off: 0 };

function ratioOf(text: string | null): number {
  const ratio = Number(text || 1);
  return ratio >= 0 && ratio <= 1 ? ratio : 1;
}

function rootSampler(ratio: number): Sampler {
  if (ratio === 1) return new AlwaysOnSampler();
  return ratio === 0 ? new AlwaysOffSampler() : new TraceIdRatioBasedSampler(ratio);
}

function byParent(rootRatio: number): Sampling {
  const others = rootSampler(rootRatio);
  const root: Sampler = {
    shouldSample: (context, ...rest) =>
      context.getValue(DRAWN) === true
        ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
        : others.shouldSample(context, ...rest),
    toString: () => `Drawn{${others}}`,
  };
  return { sampler: new ParentBasedSampler({ root }), rootRatio };
}
