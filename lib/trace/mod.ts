/**
 * trace: one trace across the senders and the runners of tasks, in Python and here.
 *
 *   message headers ── carrier.ts ──► tracing.ts (the active tracing, or null) ──► otel.ts ──► export.ts
 *
 * Trace context travels in the headers that opentelemetry-instrumentation-celery uses: `traceparent`,
 * `tracestate` and `baggage` at the top level of a message's headers. No OpenTelemetry code is loaded unless
 * a provider is registered with its API (then otel.ts), or an export endpoint is set (then otel.ts and
 * export.ts). A task that is not recorded costs one look at its headers (sampling.ts).
 *
 * Reading order: carrier.ts, span.ts, tracing.ts; otel.ts, sampling.ts, export.ts. May import base.
 */

export { type Carrier, carrierOf, linksTo, traceparentOf, unsampledCarrier } from "./carrier.ts";
export type { TaskSpan, Tracing } from "./span.ts";
export { activeTracing, isTracingDue, startTracing } from "./tracing.ts";
