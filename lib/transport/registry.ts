/** Which transport serves a URL; each is loaded only when it is asked for. */

import type { World } from "../base/mod.ts";
import type { Connect, Connection, ConnectOptions } from "./transport.ts";
import { transportOf } from "./url.ts";

/**
 * Opens a connection to the broker of `url`, by its scheme: memory, sqlite, redis (rediss, redis+socket, socket,
 * sentinel, valkey) or amqp (amqps, pyamqp). Rejects with UsageError for an unknown scheme, else as `Connect` says.
 */
export const connect: Connect = async (
  world: World,
  url: string,
  options: ConnectOptions,
): Promise<Connection> => {
  options.signal?.throwIfAborted();
  const open = await load(url);
  return await open(world, url, options);
};

async function load(url: string): Promise<Connect> {
  switch (transportOf(url)) {
    case "memory":
      return (await import("./memory.ts")).connectMemory;
    case "sqlite":
      return (await import("./sqlite.ts")).connectSqlite;
    case "redis":
      return (await import("./redis.ts")).connectRedis;
    case "amqp":
      return (await import("./amqp.ts")).connectAmqp;
  }
}
