/** The tracing of this process: none, until a provider is registered or an export endpoint is set. */

import type { World } from "../base/mod.ts";
import type { Carrier } from "./carrier.ts";
import type { Tracing } from "./span.ts";

let active: Tracing | null = null;
/** Whether the environment asks for an export; null: not checked yet. */
let isAskedFor: boolean | null = null;

/** Returns the active tracing, or null if there is none. Data lane: per message. */
export function activeTracing(): Tracing | null {
  return active;
}

/** The global under which `@opentelemetry/api` keeps what is registered with it. */
const REGISTRY = Symbol.for("opentelemetry.js.api.1");

/**
 * Returns true if a provider or endpoint exists and `startTracing` has not used it yet. Cost: one look at a
 * global.
 */
export function isTracingDue({ host }: World): boolean {
  if (active !== null) return false;
  if (isRegistered()) return true;
  return isAskedFor ??= isAsked((name) => host.env(name));
}

/** Options of `startTracing`. */
export interface TracingOptions {
  /** The service's name, unless OTEL_SERVICE_NAME gives one. */
  readonly service: string;
  /** The instance's name. */
  readonly node: string;
  /**
   * Returns the trace of the running task if it has no span (`Tracing.isUnsampled`); null outside such a
   * task.
   */
  unsampled(): Carrier | null;
}

/**
 * Starts tracing if there is a provider or an endpoint: uses the provider registered with
 * `@opentelemetry/api`, else our own exporter if `OTEL_EXPORTER_OTLP_ENDPOINT` (or its variant for traces) is
 * set. Does nothing if tracing has started. Rejects with an error of an import.
 */
export async function startTracing(world: World, options: TracingOptions): Promise<void> {
  if (active !== null) return;
  const { host, log, random } = world;
  const isForeign = isRegistered();
  if (!isForeign && !isTracingDue(world)) return;
  const { OtelTracing } = await import("./otel.ts");
  if (isForeign) {
    active ??= new OtelTracing({ rootRatio: null, flush: () => Promise.resolve(), random });
    return;
  }
  const { startExport } = await import("./export.ts");
  // Another call may have started tracing in the meantime.
  if (active !== null) return;
  const exported = startExport({
    env: (name) => host.env(name),
    warn: (text) => log.warning(text),
    now: () => world.clock.monoMs(),
    ...options,
  });
  active = new OtelTracing({ ...exported, random });
}

function isRegistered(): boolean {
  return (globalThis as Record<symbol, { trace?: unknown } | undefined>)[REGISTRY]?.trace !== undefined;
}

/**
 * Returns true if the environment asks for an export. Source: OpenTelemetry's specification of its variables.
 */
function isAsked(env: (name: string) => string | null): boolean {
  if (env("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return false;
  if (env("OTEL_TRACES_EXPORTER") === "none") return false;
  return Boolean(env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") || env("OTEL_EXPORTER_OTLP_ENDPOINT"));
}
