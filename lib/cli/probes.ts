/**
 * The server of `worker --http`, `beat --http` and `metrics`: `/metrics` for Prometheus, `/livez` and
 * `/readyz` for service managers.
 *
 * For workers and beats, an answer uses only the state of the process; it asks neither broker nor result
 * store.
 */

import { UsageError } from "../base/mod.ts";
import {
  type HealthCheck,
  healthResponse,
  type HttpPlace,
  HttpService,
  IsolatedService,
  metricsResponse,
  type Serving,
} from "../http/mod.ts";
import type { MetricsTextOptions } from "../metrics/mod.ts";
import type { RealWorld } from "../platform/mod.ts";

/** A program that is probed. */
export interface Probed {
  /** Returns the checks that must pass for it to be ready. */
  readiness(): readonly HealthCheck[];
  /** Returns its metrics as text. */
  metrics(options: MetricsTextOptions): string | Promise<string>;
  /** True if user code runs in this isolate and may block it; probes are then served from another isolate. */
  readonly runsUserCode: boolean;
}

/**
 * Serves a program's probes at `place`. Rejects with UsageError for an invalid place, else as HttpService.
 */
export async function openProbes(world: RealWorld, place: string, probed: Probed): Promise<Serving> {
  const kind = probed.runsUserCode ? IsolatedService : HttpService;
  const service = await kind.open(world, placeOf(place), (request) => answer(request, probed));
  world.log.info(`Serving metrics and health at ${service.url}`);
  return service;
}

/**
 * Reads `ADDRESS:PORT`, `:PORT` (all addresses), `PORT` (this machine only) or `unix:PATH`. Throws
 * UsageError.
 */
function placeOf(text: string): HttpPlace {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path !== "") return { kind: "unix", path };
  }
  const match = /^(?:(\[[\da-f:.]+\]|[^:\s]*):)?(\d{1,5})$/i.exec(text);
  if (!match || Number(match[2]) > 65_535) {
    throw new UsageError(
      `Cannot serve HTTP at "${text}": give ADDRESS:PORT, such as 127.0.0.1:9808, or unix:PATH`,
    );
  }
  const [, host, port] = match;
  const name = host === undefined ? "127.0.0.1" : host === "" || host === "*" ? "0.0.0.0" : host;
  return { kind: "tcp", host: name.replace(/^\[|\]$/g, ""), port: Number(port), tls: null };
}

const ROUTES = ["/metrics", "/livez", "/readyz", "/healthz"];

/** Answers one request. */
async function answer(request: Request, probed: Probed): Promise<Response> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return text("Only GET is answered here\n", 405, { allow: "GET, HEAD" });
  }
  const path = /^[^/]*\/\/[^/]*([^?#]*)/.exec(request.url)?.[1] ?? "";
  switch (path) {
    case "/metrics":
      return await metricsResponse(request, (isOpenMetrics) => probed.metrics({ isOpenMetrics }));
    case "/livez":
      // Being able to answer is the check.
      return healthResponse(request, []);
    case "/readyz":
    case "/healthz":
      return healthResponse(request, probed.readiness());
    default:
      return text(`There are ${ROUTES.join(", ")}\n`, path === "/" ? 200 : 404);
  }
}

function text(body: string, status: number, headers: Record<string, string> = {}): Response {
  return new Response(body, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store", ...headers },
  });
}
