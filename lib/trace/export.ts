/**
 * Our own provider: spans leave in batches by OTLP over HTTP as JSON, to the collector that the environment names.
 *
 * What has ended waits in a bounded queue; with the collector gone the newest spans are dropped, and one line a minute
 * says so. Source: OpenTelemetry's specification of its environment variables (sampler, batches, resource).
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

/** Between two lines about a collector that takes nothing. */
const WARN_EVERY_MS = 60_000;
/** How long the end waits for the last spans to leave, milliseconds. */
const FLUSH_MS = 5000;
/** How long one export may take, milliseconds. */
const TIMEOUT_MS = 10_000;

/** What the exporter stands on. */
export interface ExportOptions {
  env(name: string): string | null;
  readonly service: string;
  readonly node: string;
  warn(text: string): void;
  /** Monotonic milliseconds. */
  now(): number;
  /** The trace of the task that runs now and leaves no span; null outside such a task. */
  unsampled(): Carrier | null;
}

/** A provider that exports. */
export interface Export {
  /** See `Sampling`. */
  readonly rootRatio: number | null;
  /** Resolves when all spans that have ended are exported, or could not be. */
  flush(): Promise<void>;
}

/** Registers a provider that exports. */
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
      // The collector takes nothing, which was said.
    });
  return { rootRatio, flush };
}

/** Where spans go: the endpoint of traces as it stands, else that of all signals and the path of traces below it. */
function urlOf(env: ExportOptions["env"]): string {
  return env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ||
    `${env("OTEL_EXPORTER_OTLP_ENDPOINT")!.replace(/\/+$/, "")}/v1/traces`;
}

/**
 * What is traced now. A task that leaves no span is entered without a context: whatever of the user's asks for one gets
 * it from the task's headers.
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

function throttled({ warn, now }: ExportOptions): (error: unknown) => void {
  let lastMs = -Infinity;
  let unsaid = 0;
  return (error) => {
    if (now() - lastMs < WARN_EVERY_MS) {
      unsaid++;
      return;
    }
    lastMs = now();
    const more = unsaid === 0 ? "" : ` (and ${unsaid} times before)`;
    unsaid = 0;
    warn(
      `Cannot export spans: ${
        maskUrls(errorText(error))
      }${more}; those that do not fit into the queue are lost`,
    );
  };
}
