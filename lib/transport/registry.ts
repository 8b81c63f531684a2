/** Opens the transport of a URL; each transport is loaded only when it is needed. */

import {
  DialError,
  maskUrl,
  type OperatingError,
  ProtocolError,
  ServerError,
  trimmedUrl,
  unusableByClient,
  UsageError,
  type World,
} from "../base/mod.ts";
import type { Connect, Connection, ConnectOptions } from "./transport.ts";
import { type TransportKind, transportOf } from "./url.ts";

/**
 * Opens a connection to the broker of `url`, by its scheme: memory, sqlite, redis (rediss, redis+socket,
 * socket, sentinel, valkey) or amqp (amqps, pyamqp). Rejects with UsageError for a scheme that is unknown or
 * not available in this World, else as `Connect` says.
 */
export const connect: Connect = async (
  world: World,
  given: string,
  options: ConnectOptions,
): Promise<Connection> => {
  const url = trimmedUrl(given);
  options.signal?.throwIfAborted();
  const kind = transportOf(url);
  if (world.isClientOnly) mustReachWorkers(url, kind);
  const open = await load(kind);
  try {
    return await open(world, url, options);
  } catch (error) {
    if (error instanceof DialError) throw withSchemeOf(url, error);
    if (error instanceof ProtocolError) {
      throw failedLogin(url, error, `${WRONG_PROTOCOL[transportOf(url)]} (${clause(error)})`);
    }
    if (error instanceof ServerError) {
      // The database's own message names its path.
      if (transportOf(url) !== "sqlite") throw failedLogin(url, error, clause(error));
      throw new DialError(error.message, { cause: error, isRetryable: error.isRetryable });
    }
    throw error;
  }
};

/**
 * Throws UsageError for a broker that the client-only library cannot use: one in its own memory, or one that
 * its runtime lacks.
 */
function mustReachWorkers(url: string, kind: TransportKind): void {
  const why = unusableByClient(kind);
  if (why === null) return;
  throw new UsageError(
    `Cannot use broker "${maskUrl(url)}": ${why}; set broker_url to that of a Redis or RabbitMQ`,
  );
}

/** Returns the error of a failed dial with the scheme that the user wrote instead of the socket's. */
function withSchemeOf(url: string, error: DialError): DialError {
  const scheme = /^\s*([\w+.-]+)/.exec(url)?.[1] ?? "tcp";
  const message = error.message.replace(/^Cannot connect to (?:tcp|tls):/, `Cannot connect to ${scheme}:`);
  return new DialError(message, { cause: error, isRetryable: error.isRetryable });
}

/** The reason given for a server that does not speak the protocol. */
const WRONG_PROTOCOL: Readonly<Record<TransportKind, string>> = {
  amqp: "the server does not speak AMQP 0-9-1",
  redis: "the server does not speak Redis's protocol",
  sqlite: "it is not a database of Lovage",
  memory: "it cannot be read",
};

/** Returns the error for a server that was reached but cannot be used. It is retryable if its cause is. */
function failedLogin(url: string, cause: OperatingError, why: string): DialError {
  return new DialError(`Cannot connect to ${maskUrl(url)}: ${why}`, {
    cause,
    isRetryable: cause.isRetryable,
  });
}

/** Returns an error's message as a clause of another sentence. */
function clause({ message }: Error): string {
  return message.replace(/^Cannot (?:speak AMQP 0-9-1|log in): /, "").replace(/^Cannot/, "cannot");
}

async function load(kind: TransportKind): Promise<Connect> {
  switch (kind) {
    case "memory":
      return (await import("./embedded/memory/store.ts")).connectMemory;
    case "sqlite":
      return (await import("./embedded/sqlite/store.ts")).connectSqlite;
    case "redis":
      return (await import("./redis/redis.ts")).connectRedis;
    case "amqp":
      return (await import("./amqp/amqp.ts")).connectAmqp;
  }
}
