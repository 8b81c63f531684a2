/**
 * What `worker --http` and `beat --http` serve: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts
 * and stops them.
 *
 * An answer asks no broker and no store: it is made of what the process knows.
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

/** A program that can be asked. */
export interface Probed {
  /** What must hold for it to be ready. */
  readiness(): readonly HealthCheck[];
  /** Its metrics as text. */
  metrics(options: MetricsTextOptions): string | Promise<string>;
  /** True if users' code runs in this isolate, which may then not answer for long. */
  readonly runsUserCode: boolean;
}

/** Serves a program's probes at `place`. Rejects with UsageError for a place that is not one, else as HttpService. */
export async function openProbes(world: RealWorld, place: string, probed: Probed): Promise<Serving> {
  const kind = probed.runsUserCode ? IsolatedService : HttpService;
  const service = await kind.open(world, placeOf(place), (request) => answer(request, probed));
  world.log.info(`Serving metrics and health at ${service.url}`);
  return service;
}

/** Reads `ADDRESS:PORT`, `:PORT` (every address), `PORT` (this machine alone) or `unix:PATH`. Throws UsageError. */
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
      // Whoever can answer lives.
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
