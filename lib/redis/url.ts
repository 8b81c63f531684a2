/**
 * Redis URLs and the settings that complete them: server, database, login, TLS and sentinels. The rules are
 * the same for brokers and result stores, except where Celery's differ:
 *
 * | | broker (kombu) | results (Celery) |
 * |---|---|---|
 * | no host, port or login in the URL | `127.0.0.1`, 6379, none | `redis_host`, `redis_port`, `redis_username` … |
 * | `username`, `password` in the query | not read | override the URL |
 * | database of a unix socket | `virtual_host` | `db`, else `virtual_host` |
 * | `ssl_…` with `redis://` | asks for TLS | an error |
 * | `ssl_…` with `redis-cluster://` | asks for TLS | asks for TLS |
 * | `ssl_…` with `sentinel://` | asks for TLS | only completes `redis_backend_use_ssl` |
 *
 * Source: protocol.md 2.5; kombu 5.2.4 transport/redis.py Channel._connparams, SentinelChannel; celery 5.2.6
 * backends/redis.py RedisBackend._params_from_url, SentinelBackend.
 */

import { maskedPart, maskUrl, parseServerUrl, type ServerUrl, UsageError } from "../base/mod.ts";
import { requestedTls, type TlsFiles } from "../net/mod.ts";
import type { ClusterNode } from "./cluster.ts";
import { type SentinelGroup, sentinelGroup } from "./sentinel.ts";

/** A parsed Redis URL. */
export interface RedisServer {
  /** One server, a unix socket, sentinels to ask, or nodes of a cluster. */
  readonly place:
    | { readonly kind: "tcp"; readonly host: string; readonly port: number }
    | { readonly kind: "unix"; readonly path: string }
    | ({ readonly kind: "sentinel" } & SentinelGroup)
    | { readonly kind: "cluster"; readonly nodes: readonly ClusterNode[] };
  readonly username: string | null;
  /** Null only without a username: a user without a password logs in with an empty one. */
  readonly password: string | null;
  readonly db: number;
  /** Null: no TLS. */
  readonly tls: TlsFiles | null;
  /** The whole query, escapes decoded. */
  readonly query: Readonly<Record<string, string>>;
}

/** The use of a URL, and the settings that complete it. */
export interface RedisUrlContext {
  readonly kind: "broker" | "results";
  /** `broker_use_ssl` or `redis_backend_use_ssl`. */
  readonly useSsl: boolean | Readonly<Record<string, unknown>>;
  /**
   * `broker_transport_options` or `result_backend_transport_options`; they contain the options of sentinels.
   */
  readonly transportOptions: Readonly<Record<string, unknown>>;
  /** Values from the settings for a result URL that lacks them. */
  readonly defaults?: {
    readonly host: string | null;
    readonly port: number | null;
    readonly username: string | null;
    readonly password: string | null;
  };
}

const REDIS_PORT = 6379;
/** Celery's result backend uses 6379 here too, where sentinels never listen. */
const SENTINEL_PORT = 26379;
/** A ";" separates URLs only if another URL follows; elsewhere it is part of a password. */
const BETWEEN_URLS = /;(?=\s*(?:[a-z][a-z0-9+.-]*:\/\/|;|$))/i;
const TLS_SCHEMES: ReadonlySet<string> = new Set(["rediss", "valkeys", "rediss-cluster"]);
const CLUSTER_SCHEMES: ReadonlySet<string> = new Set(["redis-cluster", "rediss-cluster", "rediscluster"]);
const SSL_AND_SCHEME_MISMATCH =
  "SSL connection parameters have been provided but the specified URL scheme is redis://. " +
  "A Redis SSL connection URL should use the scheme rediss://.";

/**
 * Reads `redis://`, `rediss://`, `redis+socket://`, `socket://`, `sentinel://` (also several, joined by `;`),
 * the `valkey` spellings, and `redis-cluster://`, `rediss-cluster://` and `rediscluster://` with one or more
 * nodes. If there are several URLs, login, database and query come from the first. Throws UsageError, with
 * the password masked.
 */
export function parseRedisUrl(given: string, context: RedisUrlContext): RedisServer {
  const isBroker = context.kind === "broker";
  const what = isBroker ? "broker URL" : "result backend URL";
  const fail = (why: string) => new UsageError(`Cannot read ${what} "${maskUrl(given)}": ${why}`);
  const urls = given.split(BETWEEN_URLS).filter((one) => one.trim() !== "").map((one) =>
    parseServerUrl(one, what)
  );
  const first = urls[0];
  if (first === undefined) throw fail("it is empty");
  const { scheme, query } = first;
  const { defaults } = context;
  const own: Readonly<Record<string, string>> = isBroker ? {} : query;
  const username = own["username"] || first.user || defaults?.username || null;
  const password = own["password"] || first.password || defaults?.password || (username === null ? null : "");
  const login = { username, password, query };
  const database = (text: string | undefined): number => {
    const digits = (text ?? "").replace(/^\/+|\/+$/g, "");
    if (/^\d{0,9}$/.test(digits)) return Number(digits);
    throw fail(`Database is int between 0 and limit - 1, not ${maskedPart(given, digits)}`);
  };
  if (scheme === "redis+socket" || scheme === "socket") {
    const path = `/${(first.path ?? "").replace(/^\/+/, "")}`;
    if (path === "/") throw fail("it names no socket");
    const db = database(own["db"] || query["virtual_host"]);
    return { place: { kind: "unix", path }, ...login, db, tls: null };
  }
  const host = defaults?.host || (isBroker ? "127.0.0.1" : "localhost");
  const port = defaults?.port || null;
  const db = database(query["db"] || first.path || "");
  const tls = tlsOf(scheme, query, context);
  if (CLUSTER_SCHEMES.has(scheme)) {
    if (urls.length > 1) throw fail("the nodes of a cluster are joined by commas");
    if (db !== 0) throw fail("a cluster has no database but 0");
    const given = first.hosts.length > 0 ? first.hosts : [{ host, port }];
    const nodes = given.map((node) => ({ host: node.host || host, port: node.port ?? port ?? REDIS_PORT }));
    return { place: { kind: "cluster", nodes }, ...login, db, tls };
  }
  if (scheme !== "sentinel") {
    const place = { kind: "tcp" as const, host: first.host ?? host, port: first.port ?? port ?? REDIS_PORT };
    return { place, ...login, db, tls };
  }
  if (urls.some((one) => one.scheme !== "sentinel")) throw fail("sentinels and other servers are mixed");
  const nodes = urls.flatMap(({ hosts }: ServerUrl) => hosts.length > 0 ? hosts : [{ host, port: null }])
    .map((node) => ({ host: node.host, port: node.port ?? port ?? SENTINEL_PORT }));
  const setting = isBroker ? "broker_transport_options" : "result_backend_transport_options";
  const group = sentinelGroup(nodes, { setting, given: context.transportOptions, query });
  return { place: { kind: "sentinel", ...group }, ...login, db, tls };
}

function tlsOf(
  scheme: string,
  query: Readonly<Record<string, string>>,
  context: RedisUrlContext,
): TlsFiles | null {
  const { kind, useSsl } = context;
  if (kind === "results" && !TLS_SCHEMES.has(scheme)) {
    const given = typeof useSsl === "object" ? { ...useSsl, ...query } : query;
    if (CLUSTER_SCHEMES.has(scheme)) return requestedTls({ isTlsScheme: false, useSsl, query });
    const isMismatch = scheme !== "sentinel" && Object.keys(given).some((key) => key.startsWith("ssl_"));
    if (isMismatch) throw new UsageError(SSL_AND_SCHEME_MISMATCH);
    if (useSsl === false) return null;
  }
  return requestedTls({ isTlsScheme: TLS_SCHEMES.has(scheme), useSsl, query });
}
