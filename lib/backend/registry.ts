/** Opens the result store of a URL. Each store is loaded when it is first opened. */

import { maskUrl, nearest, trimmedUrl, unusableByClient, UsageError, type World } from "../base/mod.ts";
import type { Backend, BackendOptions } from "./backend.ts";
import { DisabledBackend } from "./disabled.ts";

const SCHEMES = [
  "disabled",
  "memory",
  "redis",
  "rediss",
  "redis+socket",
  "socket",
  "sentinel",
  "valkey",
  "valkeys",
  "redis-cluster",
  "rediss-cluster",
  "rediscluster",
  "sqlite",
  "rpc",
  "cache+memory",
];

/**
 * Opens a result store. `url` null, "" or `disabled` stores nothing; `redis` alone means the host, port, database and
 * password of the `redis_*` settings.
 *
 * Resolves before a server is reached. Rejects with UsageError for a URL without a store, or with one that is
 * not available in this World, and with OperatingError if a local file cannot be opened.
 */
export async function openBackend(
  world: World,
  url: string | null,
  options: BackendOptions,
): Promise<Backend> {
  const given = trimmedUrl(url ?? "") || "disabled";
  const scheme = (/^([a-z0-9+._-]+)(?::|$)/i.exec(given)?.[1] ?? "").toLowerCase();
  // A bare "redis" takes its database from the settings; a URL has it in its path.
  const bare = given === "redis" ? `redis:///${String(options.redis["redis_db"] ?? 0)}` : `${given}://`;
  const full = given.includes(":") ? given : bare;
  if (world.isClientOnly) mustReachWorkers(given, scheme);
  switch (scheme) {
    case "disabled":
      return new DisabledBackend();
    case "memory":
    case "cache+memory":
      return await (await import("./memory.ts")).MemoryBackend.open(world, full, options);
    case "sqlite":
      return await (await import("./sqlite.ts")).SqliteBackend.open(world, full, options);
    case "redis":
    case "rediss":
    case "redis+socket":
    case "socket":
    case "sentinel":
    case "valkey":
    case "valkeys":
    case "redis-cluster":
    case "rediss-cluster":
    case "rediscluster":
      return await (await import("./redis.ts")).RedisBackend.open(world, full, options);
    case "rpc":
      return await (await import("./rpc.ts")).RpcBackend.open(world, options);
  }
  const near = nearest(scheme, SCHEMES);
  throw new UsageError(
    `Cannot use result backend "${shown(given)}": ${
      scheme === "" ? "it is not a URL" : `unknown kind "${scheme}"`
    }` +
      (near === null ? `; known are ${SCHEMES.slice(0, -1).join(", ")}` : `; did you mean "${near}"?`),
  );
}

/**
 * Throws UsageError for a store that the client-only library cannot use: one in its own memory, or one that
 * its runtime lacks.
 */
function mustReachWorkers(given: string, scheme: string): void {
  const why = unusableByClient(scheme === "cache+memory" ? "memory" : scheme);
  if (why === null) return;
  throw new UsageError(
    `Cannot use result backend "${
      maskUrl(given)
    }": ${why}; set result_backend to a Redis, or to rpc:// with RabbitMQ`,
  );
}

/** Masks passwords. Text that is not a URL may still have a password before its @. */
function shown(given: string): string {
  return given.includes("://") ? maskUrl(given) : given.replace(/^.*@/s, "**@");
}
