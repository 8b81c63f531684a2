/**
 * Which traces are recorded, as `OTEL_TRACES_SAMPLER` says; and the short way for those that are not.
 *
 * With a sampler that goes by the parent, the headers of a message alone say that nothing of a task is recorded: the
 * flags of its `traceparent`, or, where the trace begins here, a number drawn. Such a task gets neither a span nor a
 * context, and what it sends goes on under the headers that it came with.
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

/** A sampler, and what of it can be told from headers. */
export interface Sampling {
  readonly sampler: Sampler;
  /** Share of the traces that begin here and are recorded, 0 to 1; null: the sampler does not go by the parent. */
  readonly rootRatio: number | null;
}

/** Of a context in which a trace begins that is to be recorded, as it was drawn for already: true. */
export const DRAWN: symbol = createContextKey("lovage: this trace is recorded");

/** As the environment says; what the parent decided holds unless another sampler is named. */
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
