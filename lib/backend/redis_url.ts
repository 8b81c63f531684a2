/**
 * Where a Redis result store is: its URL and the `redis_*` settings, read as Celery reads them.
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend.__init__, _params_from_url, SentinelBackend;
 * kombu 5.2 utils/url.py parse_url.
 */

import { maskUrl, UsageError } from "../base/mod.ts";
import type { BackendOptions } from "./backend.ts";

const SSL_AND_SCHEME_MISMATCH =
  "SSL connection parameters have been provided but the specified URL scheme is redis://. " +
  "A Redis SSL connection URL should use the scheme rediss://.";
const SSL_CERT_REQS_INVALID = "A rediss:// URL must have parameter ssl_cert_reqs and this must be set to " +
  "CERT_REQUIRED, CERT_OPTIONAL, or CERT_NONE";

/** TLS as the settings name it; paths are of PEM files. */
export interface RedisTls {
  readonly caPath: string | null;
  readonly certPath: string | null;
  readonly keyPath: string | null;
  readonly verify: "required" | "optional" | "none";
  readonly checkHostname: boolean;
}

/** A host and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Everything a connection needs to know. */
export interface RedisPlace {
  /** For the log: no password in it. */
  readonly shownUrl: string;
  /** The server, or for Sentinel every sentinel. Empty for a unix socket. */
  readonly hosts: readonly HostPort[];
  readonly socketPath: string | null;
  /** The name Sentinel knows the master by; null: no Sentinel. */
  readonly masterName: string | null;
  /** Of the sentinels themselves. */
  readonly sentinelUsername: string | null;
  readonly sentinelPassword: string | null;
  readonly username: string | null;
  readonly password: string | null;
  readonly database: number;
  readonly tls: RedisTls | null;
  /** Milliseconds without an answer after which the connection counts as dead; null: never. */
  readonly socketTimeoutMs: number | null;
  readonly connectTimeoutMs: number;
  /** TCP keepalive probes. */
  readonly keepAlive: boolean;
  /** How often an idle connection is tried; null: seldom. */
  readonly healthCheckMs: number | null;
  readonly clientName: string | null;
}

const CONNECT_TIMEOUT_MS = 5000;
const SOCKET_TIMEOUT_S = 120;

/**
 * Reads a URL of the schemes `redis`, `rediss`, `socket`, `redis+socket` and `sentinel` (several, parted by `;`).
 * Query parameters override the URL, the URL overrides the settings. Throws UsageError.
 */
export function readRedisPlace(url: string, options: BackendOptions): RedisPlace {
  const shownUrl = maskUrl(url);
  const chunks = url.split(";").filter((chunk) => chunk !== "").map((chunk) => parseChunk(chunk, shownUrl));
  const first = chunks[0];
  if (!first) throw new UsageError(`Cannot use result store "${shownUrl}": the URL is empty`);
  const { scheme, query } = first;
  const set = options.redis;
  const isSentinel = scheme === "sentinel";
  const isSocket = scheme === "socket";
  const transport = options.transportOptions;
  const sentinelKwargs = record(transport["sentinel_kwargs"]);
  const masterName = text(transport["master_name"]) ?? query.get("master_name") ?? null;
  if (isSentinel && masterName === null) {
    throw new UsageError(
      `Cannot use result store "${shownUrl}": result_backend_transport_options has no "master_name"`,
    );
  }
  const timeoutS = number(query.get("socket_timeout") ?? set["redis_socket_timeout"], SOCKET_TIMEOUT_S);
  const connectS = number(query.get("socket_connect_timeout") ?? set["redis_socket_connect_timeout"], null);
  const healthS = number(
    query.get("health_check_interval") ?? set["redis_backend_health_check_interval"],
    null,
  );
  const port = number(set["redis_port"], isSentinel ? 26379 : 6379)!;
  const host = text(set["redis_host"]) ?? "localhost";
  return {
    shownUrl,
    hosts: isSocket ? [] : chunks.map((chunk) => ({
      host: chunk.host ?? host,
      port: chunk.port ?? port,
    })),
    socketPath: isSocket ? "/" + first.path : null,
    masterName: isSentinel ? masterName : null,
    sentinelUsername: text(sentinelKwargs["username"]),
    sentinelPassword: text(sentinelKwargs["password"]),
    username: query.get("username") ?? first.username ?? text(set["redis_username"]),
    password: query.get("password") ?? first.password ?? text(set["redis_password"]),
    database: database(isSocket ? "" : first.path, query, shownUrl),
    tls: readTls(scheme, query, set["redis_backend_use_ssl"]),
    socketTimeoutMs: timeoutS ? timeoutS * 1000 : null,
    connectTimeoutMs: connectS ? connectS * 1000 : CONNECT_TIMEOUT_MS,
    keepAlive: truth(query.get("socket_keepalive") ?? set["redis_socket_keepalive"]),
    healthCheckMs: healthS ? healthS * 1000 : null,
    clientName: query.get("client_name") ?? text(set["redis_client_name"]),
  };
}

interface Chunk {
  scheme: string;
  username: string | null;
  password: string | null;
  host: string | null;
  port: number | null;
  /** Without the leading slash. */
  path: string;
  query: URLSearchParams;
}

function parseChunk(url: string, shownUrl: string): Chunk {
  const found = /^([a-z0-9+]+):\/\/([^?]*)(?:\?(.*))?$/is.exec(url);
  if (!found) throw new UsageError(`Cannot use result store "${shownUrl}": it is no URL`);
  const scheme = found[1]!.toLowerCase().replace(/^redis\+/, "");
  const rest = found[2]!;
  // The last @ ends the password, so that one in the password does no harm.
  const at = rest.lastIndexOf("@");
  const user = at < 0 ? "" : rest.slice(0, at);
  const place = rest.slice(at + 1);
  const slash = place.indexOf("/");
  const address = slash < 0 ? place : place.slice(0, slash);
  const colon = user.indexOf(":");
  const hostPort = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(address);
  if (!hostPort) throw new UsageError(`Cannot use result store "${shownUrl}": its port is no number`);
  return {
    scheme,
    username: decoded(colon < 0 ? user : user.slice(0, colon)),
    password: colon < 0 ? null : decoded(user.slice(colon + 1)),
    host: decoded(hostPort[1]!.replace(/^\[|\]$/g, "")),
    port: hostPort[2] ? Number(hostPort[2]) : null,
    path: slash < 0 ? "" : decoded(place.slice(slash).replace(/^\/+/, "")) ?? "",
    query: new URLSearchParams(found[3] ?? ""),
  };
}

function decoded(value: string): string | null {
  if (value === "") return null;
  try {
    return decodeURIComponent(value);
  } catch {
    // A stray percent sign means itself, as in Python.
    return value;
  }
}

function database(path: string, query: URLSearchParams, shownUrl: string): number {
  const given = query.get("db") ?? (path || query.get("virtual_host") || "0");
  const name = given.replace(/^\/+|\/+$/g, "") || "0";
  if (!/^\d+$/.test(name)) {
    throw new UsageError(
      `Cannot use result store "${shownUrl}": Database is int between 0 and limit - 1, not "${name}"`,
    );
  }
  return Number(name);
}

function readTls(scheme: string, query: URLSearchParams, useSsl: unknown): RedisTls | null {
  const given = record(useSsl);
  const keys = ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"];
  if (scheme === "redis" && keys.some((key) => key in given || query.has(key))) {
    throw new UsageError(SSL_AND_SCHEME_MISMATCH);
  }
  if (scheme !== "rediss" && (useSsl === undefined || useSsl === null || useSsl === false)) return null;
  const value = (key: string): unknown => query.get(key) ?? given[key] ?? null;
  const checks = value("ssl_check_hostname");
  return {
    caPath: text(value("ssl_ca_certs")),
    certPath: text(value("ssl_certfile")),
    keyPath: text(value("ssl_keyfile")),
    verify: verification(value("ssl_cert_reqs")),
    checkHostname: checks === null || truth(checks),
  };
}

/** Python's words and numbers for it. Celery insists on one; without one we verify. */
function verification(value: unknown): RedisTls["verify"] {
  switch (value) {
    case null:
    case "CERT_REQUIRED":
    case "required":
    case 2:
      return "required";
    case "CERT_OPTIONAL":
    case "optional":
    case 1:
      return "optional";
    case "CERT_NONE":
    case "none":
    case 0:
      return "none";
    default:
      throw new UsageError(SSL_CERT_REQS_INVALID);
  }
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function number<T extends number | null>(value: unknown, preset: T): number | T {
  if (typeof value === "number") return value;
  if (typeof value === "string" && value !== "" && Number.isFinite(Number(value))) return Number(value);
  return preset;
}

function truth(value: unknown): boolean {
  return value === true || value === 1 || typeof value === "string" && /^(1|true|yes|on|y|t)$/i.test(value);
}
