/**
 * trace: one trace over those who send tasks and those who run them, in Python and here.
 *
 *   message headers ── carrier.ts ──► tracing.ts (what is traced now; null: nothing) ──► otel.ts ──► export.ts
 *
 * Context travels in the headers that opentelemetry-instrumentation-celery uses: `traceparent`, `tracestate` and
 * `baggage` at the top of a message's headers. Nothing of OpenTelemetry is loaded unless a provider is registered with
 * its API, or an endpoint to export to is named; then otel.ts is, and export.ts for the latter. A task of which nothing
 * is to be recorded costs a look at its headers (sampling.ts).
 *
 * Reading order: carrier.ts, span.ts, tracing.ts; otel.ts, sampling.ts, export.ts. May import base.
 */

export { type Carrier, carrierOf, linksTo, traceparentOf, unsampledCarrier } from "./carrier.ts";
export type { TaskSpan, Tracing } from "./span.ts";
export { activeTracing, isTracingDue, startTracing } from "./tracing.ts";
