/** Whether and how this process traces: nothing, until a provider is registered or an endpoint is named. */

import type { World } from "../base/mod.ts";
import type { Carrier } from "./carrier.ts";
import type { Tracing } from "./span.ts";

let active: Tracing | null = null;
/** What the environment says; null: nobody has looked. */
let isAskedFor: boolean | null = null;

/** What traces here; null: nothing does. Data lane: per message. */
export function activeTracing(): Tracing | null {
  return active;
}

/** Where `@opentelemetry/api` keeps what is registered with it. */
const REGISTRY = Symbol.for("opentelemetry.js.api.1");

/** Whether there is something to trace with that `startTracing` has not begun with. Cost: a look at a global. */
export function isTracingDue({ host }: World): boolean {
  if (active !== null) return false;
  if (isRegistered()) return true;
  return isAskedFor ??= isAsked((name) => host.env(name));
}

/** Who traces. */
export interface TracingOptions {
  /** The service's name where OTEL_SERVICE_NAME gives none. */
  readonly service: string;
  /** The instance's name. */
  readonly node: string;
  /** The trace of the task that runs now and leaves no span (`Tracing.isUnsampled`); null outside such a task. */
  unsampled(): Carrier | null;
}

/**
 * Begins to trace if there is something to trace with: the provider that is registered with `@opentelemetry/api`, else
 * an exporter of our own where `OTEL_EXPORTER_OTLP_ENDPOINT` (or that of traces) names a collector. Twice is once.
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
  // Another call may have come this far meanwhile.
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

/** Whether the environment asks for traces to be exported. Source: OpenTelemetry's specification of its variables. */
function isAsked(env: (name: string) => string | null): boolean {
  if (env("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return false;
  if (env("OTEL_TRACES_EXPORTER") === "none") return false;
  return Boolean(env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") || env("OTEL_EXPORTER_OTLP_ENDPOINT"));
}
