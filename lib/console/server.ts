/**
 * The console's HTTP server: checks access, then serves the API, Flower's API, the stream and the pages.
 *
 *   host, origin, identity ──► /api/v1/*   /api/*   /livez /readyz /healthcheck   pages and their files
 */

// This router registers routes as they are; the others compile all of them before the first answer.
import { Hono } from "hono/quick";
import { errorText, OperatingError } from "../base/mod.ts";
import { type HealthCheck, healthResponse, type HttpPlace, metricsResponse } from "../http/mod.ts";
import { refuseCrossSite, refuseHost } from "./auth/origin.ts";
import type { ClusterMetrics } from "./cluster/metrics.ts";
import type { Oidc } from "./auth/oidc.ts";
import { flowerRoutes } from "./api/flower/routes.ts";
import { jsonResponse } from "./api/json.ts";
import { type Ctx, type Env, faultOf, mustBeAllowed, type Parts } from "./api/request.ts";
import { openApi } from "./api/v1/openapi.ts";
import { apiRoutes } from "./api/v1/server.ts";
import { logIn, logOut, type SessionFacts, sessionOf } from "./api/v1/session.ts";
import type { Streams } from "./api/v1/stream.ts";
import type { ConsoleOptions } from "./options.ts";
import { pageRoutes } from "./pages.ts";

/** The parts of the server. */
export interface ServerParts {
  readonly parts: Parts;
  readonly options: ConsoleOptions;
  readonly facts: SessionFacts;
  readonly streams: Streams;
  readonly oidc: Oidc | null;
  readonly metrics: ClusterMetrics;
}

/** Scripts, styles and all else load from this origin only, and other pages may not embed these. */
const CONTENT_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const HEADERS = {
  "content-security-policy": CONTENT_POLICY,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

/** Returns the function that answers one request of a peer. */
export function consoleServer(
  server: ServerParts,
): (request: Request, peer: string | null) => Promise<Response> {
  const { parts, options, facts, streams, metrics } = server;
  const app = new Hono<Env>({ strict: false });
  app.use(async (c, next) => await guarded(c, next, server));
  app.onError((error, c) => failed(error, c, parts));
  app.notFound((c) =>
    c.req.path.includes("/api/") ? fault(404, "There is no such route") : c.text("Not found", 404)
  );
  const root = options.prefix === "" ? app : app.basePath(options.prefix);

  const checks = (): HealthCheck[] => {
    const isOk = parts.cluster.isConnected;
    return [{ name: "events", isOk, text: isOk ? "they are read" : "the broker is away" }];
  };
  // Flower answers with HTML.
  root.get("/healthcheck", (c) => c.html("OK"));
  root.get("/livez", (c) => healthResponse(c.req.raw, []));
  root.get("/readyz", (c) => healthResponse(c.req.raw, checks()));
  // Needs no login, as in Flower: metrics name tasks, queues and hosts, but no arguments.
  root.get("/metrics", (c) => metricsResponse(c.req.raw, (isOpen) => metrics.text(parts, isOpen)));

  const now = () => parts.cluster.world.clock.wallMs() / 1000;
  const session = (c: Ctx) => sessionOf(c.get("identity"), { access: parts.access, facts, now: now() });
  root.get("/api/v1/session", (c) => jsonResponse(session(c)));
  root.post("/api/v1/login", (c) => logIn(c, parts, facts, isSecure(c, server)));
  root.post("/api/v1/logout", (c) => logOut(parts, facts, isSecure(c, server)));
  root.get("/api/v1/openapi.json", (c) => {
    mustBeAllowed(c, parts.access, "read");
    return jsonResponse(openApi({ version: options.version, prefix: options.prefix }));
  });
  root.get("/api/v1/stream", (c) => streams.open(c));
  root.route("/api/v1", apiRoutes(parts));
  root.route("/", flowerRoutes(parts, options));
  if (server.oidc !== null) oidcRoutes(root, server, server.oidc);
  root.route(
    "/",
    pageRoutes({
      parts,
      options,
      session,
      login: (c) => loginAnswer(c, server),
      ask: async (c, path, body) =>
        await app.fetch(asked(c, `${options.prefix}/api/v1/${path}`, body), c.env),
      safeNext: (next) => safeNext(next, options),
    }),
  );
  return async (request, peer) => {
    // Routed as GET, so that the HTTP server can send the body's length without the body.
    const asked = request.method === "HEAD" ? new Request(request, { method: "GET" }) : request;
    return await app.fetch(asked, { peer });
  };
}

/** Makes a request for another path with the headers of this one; a POST if there is a body. */
function asked(c: Ctx, path: string, body?: string): Request {
  const headers = new Headers(c.req.raw.headers);
  const url = new URL(path, c.req.url);
  if (body === undefined) return new Request(url, { headers });
  headers.set("content-type", "application/json");
  headers.delete("content-length");
  return new Request(url, { method: "POST", headers, body });
}

/** Refuses foreign hosts and origins, identifies the user, and adds the security headers to every answer. */
async function guarded(
  c: Ctx,
  next: () => Promise<void>,
  { parts, options }: ServerParts,
): Promise<Response | void> {
  const peer = (c.env as { peer: string | null }).peer;
  const refusal = refuseHost(c.req.raw, {
    allowed: options.allowedHosts,
    isOpen: !parts.access.isNeeded && options.place.kind === "tcp",
    own: ownNames(options.place, parts.cluster.world.host.hostname),
  }) ?? refuseCrossSite(c.req.raw);
  c.set("peer", clientOf(c.req.raw, peer, parts));
  if (refusal !== null) {
    const { status, error, hint } = refusal;
    return withHeaders(jsonResponse({ error, hint }, status));
  }
  c.set("identity", await parts.access.identify(c.req.raw, peer));
  await next();
  c.res = withHeaders(c.res);
}

function withHeaders(response: Response): Response {
  for (const [name, value] of Object.entries(HEADERS)) response.headers.set(name, value);
  return response;
}

function failed(error: Error, c: Ctx, { cluster, access }: Parts): Response {
  const found = faultOf(error);
  if (found === null) {
    cluster.world.log.error(
      `Cannot answer ${c.req.method} ${c.req.path}: ${error.stack ?? errorText(error)}`,
    );
    return withHeaders(fault(500, "The console failed; its log says why"));
  }
  const response = jsonResponse(found.fault, found.status);
  // Pages ask for a login themselves; this header is for programs only.
  if (found.status === 401 && access.hasBasic && c.req.header("sec-fetch-mode") === undefined) {
    response.headers.set("www-authenticate", 'Basic realm="lovage"');
  }
  return withHeaders(response);
}

function fault(status: number, error: string): Response {
  return jsonResponse({ error, hint: null }, status);
}

/** Redirects a browser without a login to the login page; answers 401 to programs. */
function loginAnswer(c: Ctx, { parts, options }: ServerParts): Response {
  if (c.req.header("accept")?.includes("text/html")) {
    const query = c.req.url.indexOf("?");
    const next = encodeURIComponent(c.req.path + (query < 0 ? "" : c.req.url.slice(query)));
    return new Response(null, { status: 302, headers: { location: `${options.prefix}/login?next=${next}` } });
  }
  const headers: Record<string, string> = parts.access.hasBasic
    ? { "www-authenticate": 'Basic realm="flower"' }
    : {};
  return new Response("Access denied", { status: 401, headers });
}

function oidcRoutes(root: Hono<Env>, server: ServerParts, oidc: Oidc): void {
  const { parts, options } = server;
  root.get("/login/oidc", async (c) => {
    const { protocol, host } = new URL(c.req.url);
    const scheme = isSecure(c, server) ? "https:" : protocol;
    return await oidc.begin(
      `${scheme}//${host}${options.prefix}`,
      safeNext(c.req.query("next"), options),
      isSecure(c, server),
    );
  });
  root.get("/login/oidc/callback", async (c) => {
    const note = (user: string | null, outcome: string) =>
      parts.audit.note({ user, from: c.get("peer") ?? "unix", action: "login", target: oidc.name, outcome });
    try {
      const { identity, next, forget } = await oidc.finish(c.req.raw);
      note(identity.user, "ok");
      const headers = new Headers({ location: next });
      headers.append("set-cookie", forget);
      headers.append("set-cookie", parts.access.cookieFor(identity, isSecure(c, server)));
      return new Response(null, { status: 302, headers });
    } catch (error) {
      note(null, errorText(error));
      if (!(error instanceof OperatingError)) throw error;
      // The request comes from a browser, so the login page shows the reason.
      const location = `${options.prefix}/login?${new URLSearchParams({ error: errorText(error) })}`;
      return new Response(null, { status: 302, headers: { location } });
    }
  });
}

/** Returns `next` if it is a path of this console, else the start page. */
function safeNext(next: string | undefined, { prefix }: ConsoleOptions): string {
  const isOurs = next !== undefined && /^\/(?![/\\])/.test(next) && next.startsWith(prefix);
  return isOurs ? next : `${prefix}/`;
}

function isSecure(c: Ctx, { options, parts }: ServerParts): boolean {
  if (options.place.kind === "tcp" && options.place.tls !== null) return true;
  const { peer } = c.env as { peer: string | null };
  return parts.access.isTrusted(peer) && c.req.header("x-forwarded-proto") === "https";
}

/** Returns the client's address: the peer's, or the one that a trusted proxy reports. */
function clientOf(request: Request, peer: string | null, { access }: Parts): string | null {
  const forwarded = request.headers.get("x-forwarded-for") ?? request.headers.get("x-real-ip");
  if (forwarded === null || !access.isTrusted(peer)) return peer;
  return forwarded.split(",").at(-1)!.trim().slice(0, 64);
}

function ownNames(place: HttpPlace, hostname: string): string[] {
  return place.kind === "tcp" ? [place.host.toLowerCase(), hostname.toLowerCase()] : [];
}
