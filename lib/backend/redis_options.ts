/**
 * The address of a Redis result store and the options of its connections: its URL and the `redis_*` settings.
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend.__init__, _params_from_url.
 */

import { maskUrl, trimmedUrl, type World } from "../base/mod.ts";
import { Credentials } from "../net/mod.ts";
import { OptionReader, parseRedisUrl, type RedisServer } from "../redis/mod.ts";
import type { BackendOptions } from "./backend.ts";

/** The options of a connection. */
export interface RedisStoreOptions {
  /** The URL with its password masked. */
  readonly shownUrl: string;
  readonly server: RedisServer;
  /** Milliseconds without an answer after which the connection counts as dead; null: never. */
  readonly socketTimeoutMs: number | null;
  readonly connectTimeoutMs: number;
  /** TCP keepalive probes. */
  readonly keepAlive: boolean;
  /**
   * Milliseconds between the pings of an idle connection, if that is less than half of `socketTimeoutMs`;
   * null: not set.
   */
  readonly healthCheckMs: number | null;
  readonly clientName: string | null;
  /** Credentials that rotate; null: those of the URL. */
  readonly credentials: Credentials | null;
  /** How many replicas must have a result before it counts as stored; 0: none. */
  readonly waitReplicas: number;
}

const SETTING = "result_backend_transport_options";
const CONNECT_TIMEOUT_MS = 5000;
const SOCKET_TIMEOUT_S = 120;

/**
 * Reads a URL of the schemes that `parseRedisUrl` knows. Query parameters override the URL, the URL overrides the
 * settings. Throws UsageError.
 */
export function redisStoreOptions(world: World, given: string, options: BackendOptions): RedisStoreOptions {
  const url = trimmedUrl(given);
  const set = options.redis;
  const server = parseRedisUrl(url, {
    kind: "results",
    useSsl: useSsl(set["redis_backend_use_ssl"]),
    transportOptions: options.transportOptions,
    defaults: {
      host: text(set["redis_host"]),
      port: number(set["redis_port"], null),
      username: text(set["redis_username"]),
      password: text(set["redis_password"]),
    },
  });
  const value = (inQuery: string, setting: string): unknown => server.query[inQuery] ?? set[setting];
  const timeoutS = number(value("socket_timeout", "redis_socket_timeout"), SOCKET_TIMEOUT_S);
  const connectS = number(value("socket_connect_timeout", "redis_socket_connect_timeout"), null);
  const healthS = number(value("health_check_interval", "redis_backend_health_check_interval"), null);
  return {
    shownUrl: maskUrl(url),
    server,
    socketTimeoutMs: timeoutS ? timeoutS * 1000 : null,
    connectTimeoutMs: connectS ? connectS * 1000 : CONNECT_TIMEOUT_MS,
    keepAlive: truth(value("socket_keepalive", "redis_socket_keepalive")),
    healthCheckMs: healthS ? healthS * 1000 : null,
    clientName: text(value("client_name", "redis_client_name")),
    credentials: Credentials.of(world, SETTING, options.transportOptions),
    waitReplicas: new OptionReader(SETTING, options.transportOptions)
      .number("wait_replicas", server.place.kind === "cluster" ? 1 : 0),
  };
}

function useSsl(value: unknown): boolean | Record<string, unknown> {
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  return value !== undefined && value !== null && value !== false;
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
