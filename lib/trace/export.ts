/**
 * The exporting provider: sends spans in batches by OTLP over HTTP as JSON, to the collector that the
 * environment names.
 *
 * Ended spans wait in a bounded queue. While the collector is unreachable the newest spans are dropped, and
 * one line a minute is logged. Source: OpenTelemetry's specification of its environment variables (sampler,
 * batches, resource).
 */

import { type Context, context, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  CompositePropagator,
  setGlobalErrorHandler,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { errorText, maskUrls, VERSION } from "../base/mod.ts";
import type { Carrier } from "./carrier.ts";
import { samplingOf } from "./sampling.ts";

/** Minimum time between two warnings about failed exports, milliseconds. */
const WARN_EVERY_MS = 60_000;
/** How long `flush` waits for the last spans to be exported, milliseconds. */
const FLUSH_MS = 5000;
/** Default limit for one export, milliseconds. */
const TIMEOUT_MS = 10_000;

/** What the exporter needs. */
export interface ExportOptions {
  /** Returns an environment variable, or null. */
  env(name: string): string | null;
  /** `service.name`, if OTEL_SERVICE_NAME gives none. */
  readonly service: string;
  /** `service.instance.id`. */
  readonly node: string;
  warn(text: string): void;
  /** Monotonic milliseconds. */
  now(): number;
  /** Returns the trace of the running task if that task has no span; null outside such a task. */
  unsampled(): Carrier | null;
}

/** A running exporter. */
export interface Export {
  /** See `Sampling.rootRatio`. */
  readonly rootRatio: number | null;
  /** Resolves when all ended spans have been exported, or could not be. Never rejects. */
  flush(): Promise<void>;
}

/** Registers a provider that exports spans, and makes it the global one of `@opentelemetry/api`. */
export function startExport(options: ExportOptions): Export {
  const { env, service, node } = options;
  setGlobalErrorHandler(throttled(options));
  const protocol = env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") ?? env("OTEL_EXPORTER_OTLP_PROTOCOL");
  if (protocol !== null && protocol !== "" && protocol !== "http/json") {
    options.warn(`Spans are sent as http/json, not as ${protocol}: the collector's port for HTTP is needed`);
  }
  const known = resourceFromAttributes({
    "service.name": env("OTEL_SERVICE_NAME") ?? service,
    "service.instance.id": node,
    "telemetry.distro.name": "lovage",
    "telemetry.distro.version": VERSION,
  });
  const number = (name: string, fallback: number): number => {
    const value = Number(env(name) || fallback);
    return Number.isFinite(value) && value > 0 ? value : fallback;
  };
  const queueMax = number("OTEL_BSP_MAX_QUEUE_SIZE", 2048);
  const processor = new BatchSpanProcessor({
    exporter: new OTLPTraceExporter({
      url: urlOf(env),
      timeoutMillis: number("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT_MS),
    }),
    maxQueueSize: queueMax,
    maxExportBatchSize: Math.min(queueMax, number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)),
    scheduledDelayMillis: number("OTEL_BSP_SCHEDULE_DELAY", 5000),
  });
  const { sampler, rootRatio } = samplingOf(env, options.warn);
  const provider = new TracerProvider({
    resource: known.merge(detectResources({ detectors: [envDetector] })),
    sampler,
    spanProcessors: [processor],
  });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new TaskContexts(options.unsampled));
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  );
  const flush = () =>
    provider.forceFlush({ timeoutMillis: FLUSH_MS }).catch(() => {
      // A failed export has been logged already.
    });
  return { rootRatio, flush };
}

/**
 * Returns the URL for spans: the traces endpoint as it is, else the general endpoint with the traces path
 * appended.
 */
function urlOf(env: ExportOptions["env"]): string {
  return env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ||
    `${env("OTEL_EXPORTER_OTLP_ENDPOINT")!.replace(/\/+$/, "")}/v1/traces`;
}

/**
 * The current trace context. A task without a span is run without entering a context; if user code asks for
 * one, it is made from the task's headers.
 */
class TaskContexts extends AsyncLocalStorageContextManager {
  readonly #unsampled: () => Carrier | null;

  constructor(unsampled: () => Carrier | null) {
    super();
    this.#unsampled = unsampled;
  }

  override active(): Context {
    const entered = super.active();
    if (entered !== ROOT_CONTEXT) return entered;
    const carrier = this.#unsampled();
    return carrier === null ? entered : propagation.extract(entered, carrier);
  }
}

/** Returns an error handler that logs at most once per `WARN_EVERY_MS` and counts the errors in between. */
function throttled({ warn, now }: ExportOptions): (error: unknown) => void {
  let lastMs = -Infinity;
  let suppressed = 0;
  return (error) => {
    if (now() - lastMs < WARN_EVERY_MS) {
      suppressed++;
      return;
    }
    lastMs = now();
    const more = suppressed === 0 ? "" : ` (and ${suppressed} times before)`;
    suppressed = 0;
    warn(
      `Cannot export spans: ${
        maskUrls(errorText(error))
      }${more}; those that do not fit into the queue are lost`,
    );
  };
}
