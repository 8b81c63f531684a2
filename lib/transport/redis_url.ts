/**
 * Redis URLs: which server, which database, which login, with TLS and sentinels.
 *
 * Source: protocol.md 2.5; kombu 5.2.4 transport/redis.py Channel._connparams, SentinelChannel.
 */

import { type Address, maskUrl, type TlsOptions, UsageError, type World } from "../base/mod.ts";
import { readTlsOptions, tlsFilesOf } from "../net/mod.ts";
import { findMaster, type RedisTarget } from "../redis/mod.ts";
import type { RedisOptions } from "./redis_options.ts";
import { type BrokerUrl, parseBrokerUrl } from "./url.ts";

/** A Redis URL, read. */
export interface RedisUrl {
  /** One server, a unix socket, or sentinels to ask. */
  readonly place:
    | { readonly kind: "tcp"; readonly host: string; readonly port: number }
    | { readonly kind: "unix"; readonly path: string }
    | { readonly kind: "sentinel"; readonly nodes: readonly { host: string; port: number }[] };
  readonly username: string | null;
  readonly password: string | null;
  readonly db: number;
  /** TLS settings of the URL; null: none. */
  readonly tls: Readonly<Record<string, unknown>> | null;
}

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;

/**
 * Reads `redis://`, `rediss://`, `redis+socket://`, `socket://`, `sentinel://` (also several, joined by `;`) and the
 * `valkey` spellings. Throws UsageError, with the password masked.
 */
export function parseRedisUrl(url: string): RedisUrl {
  const urls = url.split(";").filter((one) => one.trim() !== "").map((one) => parseBrokerUrl(one.trim()));
  const first = urls[0];
  if (first === undefined) throw new UsageError("Cannot read an empty broker URL");
  const { scheme, user, query } = first;
  const password = first.password === "" ? null : first.password;
  const login = { username: password === null ? null : user, password };
  const tls = scheme === "rediss" || scheme === "valkeys" || query["ssl_cert_reqs"] !== undefined
    ? query
    : null;
  switch (scheme) {
    case "redis+socket":
    case "socket": {
      const path = `/${(first.path ?? "").replace(/^\/+/, "")}`;
      if (path === "/") throw new UsageError(`Cannot read broker URL "${maskUrl(url)}": it names no socket`);
      const db = database(query["virtual_host"] ?? query["db"] ?? null, url);
      return { place: { kind: "unix", path }, ...login, db, tls: null };
    }
    case "sentinel": {
      const nodes = urls.flatMap((one) => sentinelNodes(one, url));
      const withDatabase = urls.find((one) => one.path);
      return {
        place: { kind: "sentinel", nodes },
        ...login,
        db: database(withDatabase?.path ?? null, url),
        tls,
      };
    }
    default: {
      const place = { kind: "tcp" as const, host: first.host ?? "127.0.0.1", port: first.port ?? REDIS_PORT };
      return { place, ...login, db: database(first.path ?? query["db"] ?? null, url), tls };
    }
  }
}

/**
 * The server to connect to: certificates read, sentinels asked. Rejects with UsageError or DialError.
 * `useSsl` is Celery's `broker_use_ssl`.
 */
export async function resolveRedis(
  world: World,
  parsed: RedisUrl,
  options: RedisOptions,
  more: { useSsl: boolean | Readonly<Record<string, unknown>>; signal?: AbortSignal },
): Promise<RedisTarget> {
  const { username, password, db, place } = parsed;
  if (place.kind === "unix") return { address: place, username, password, db };
  const tls = await tlsOf(parsed, more.useSsl);
  if (place.kind === "tcp") {
    return { address: { kind: "tcp", host: place.host, port: place.port, tls }, username, password, db };
  }
  const { masterName } = options;
  if (masterName === null) {
    throw new UsageError('Cannot use sentinel://: broker_transport_options["master_name"] is needed');
  }
  const master = await findMaster(world, {
    sentinels: place.nodes.map(({ host, port }): Address => ({ kind: "tcp", host, port, tls })),
    masterName,
    username: options.sentinelUsername,
    password: options.sentinelPassword,
    minOtherSentinels: options.minOtherSentinels,
  }, { timeoutMs: options.connectTimeoutMs, ...(more.signal ? { signal: more.signal } : {}) });
  return { address: { kind: "tcp", ...master, tls }, username, password, db };
}

async function tlsOf(
  parsed: RedisUrl,
  useSsl: boolean | Readonly<Record<string, unknown>>,
): Promise<TlsOptions | null> {
  const isAsked = typeof useSsl === "object" ? true : useSsl;
  if (!isAsked && parsed.tls === null) return null;
  // The URL is the nearer word: what it says wins over the setting.
  const settings = typeof useSsl === "object" ? { ...useSsl, ...parsed.tls } : parsed.tls ?? true;
  return await readTlsOptions(tlsFilesOf(settings));
}

function sentinelNodes(one: BrokerUrl, url: string): { host: string; port: number }[] {
  if (one.scheme !== "sentinel") {
    throw new UsageError(`Cannot read broker URL "${maskUrl(url)}": sentinels and other servers are mixed`);
  }
  const nodes = one.hosts.length > 0 ? one.hosts : [{ host: "127.0.0.1", port: null }];
  return nodes.map(({ host, port }) => ({ host, port: port ?? SENTINEL_PORT }));
}

function database(text: string | null, url: string): number {
  const digits = (text ?? "").replace(/^\/+|\/+$/g, "");
  if (digits === "") return 0;
  if (!/^\d{1,9}$/.test(digits)) {
    throw new UsageError(
      `Cannot read broker URL "${maskUrl(url)}": the database is a number from 0, not "${digits}"`,
    );
  }
  return Number(digits);
}
