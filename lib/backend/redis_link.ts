/**
 * Connections to Redis through node-redis: dialled when first needed, never by a loop of the library's own.
 *
 * node-redis speaks the protocol, TLS and pub/sub; when to dial again and for how long is decided here and in
 * redis.ts, on the World's clock. With Redis 6 and later one connection carries commands and subscriptions (RESP3);
 * older servers get a second one for subscriptions, opened with the first.
 */

import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import {
  AccessRefused,
  ConnectionLost,
  DialError,
  errorText,
  OperatingError,
  ServerError,
  type World,
} from "../base/mod.ts";
import {
  type Argument,
  type Engine,
  loadEngine,
  NodeRedis,
  type NodeRedisOptions,
  type ReplyOptions,
} from "./node_redis.ts";
import type { HostPort, RedisPlace } from "./redis_url.ts";

/** A document as an argument; bytes are not copied. */
export function argument(document: string | Uint8Array): Argument {
  return typeof document === "string"
    ? document
    : Buffer.from(document.buffer, document.byteOffset, document.byteLength);
}

/** Bulk strings as bytes: 36 is "$", the type's byte. */
export const AS_BYTES: ReplyOptions = { typeMapping: { 36: Buffer } };
/** Bulk strings as text. */
export const AS_TEXT: ReplyOptions = {};

/** Server errors after which the same command may succeed. */
const PASSING = new Set([
  "LOADING",
  "BUSY",
  "OOM",
  "READONLY",
  "MASTERDOWN",
  "CLUSTERDOWN",
  "TRYAGAIN",
  "MISCONF",
  "NOREPLICAS",
]);
const REFUSING = new Set(["WRONGPASS", "NOAUTH", "NOPERM"]);

/** A live connection. */
export interface RedisLink {
  readonly client: NodeRedis;
  /** The same one with RESP3. */
  readonly subscriber: NodeRedis;
}

/** Dials and keeps the one live connection. */
export class RedisLinks {
  readonly #world: World;
  readonly #place: RedisPlace;
  readonly #onLost: (error: Error) => void;
  #engine: Engine | null = null;
  #link: RedisLink | null = null;
  #opening: Promise<RedisLink> | null = null;
  #resp: 2 | 3 = 3;
  #isClosed = false;
  #pendingClients = new Set<NodeRedis>();

  /** `onLost` hears once of each live connection that ends by itself. */
  constructor(world: World, place: RedisPlace, onLost: (error: Error) => void) {
    this.#world = world;
    this.#place = place;
    this.#onLost = onLost;
  }

  /** The live connection, or null. */
  get live(): RedisLink | null {
    return this.#link;
  }

  /** The live connection, dialled where there is none. Rejects with an operating error; one dial at a time. */
  open(): Promise<RedisLink> {
    if (this.#link) return Promise.resolve(this.#link);
    if (this.#isClosed) return Promise.reject(new OperatingError("The result store is closed"));
    this.#opening ??= this.#dial().finally(() => void (this.#opening = null));
    return this.#opening;
  }

  /** Ends the live connection, so that the next `open` dials: `why`, as that the server turned into a replica. */
  drop(why: string): void {
    const link = this.#link;
    if (link) this.#lose(link.client, new ConnectionLost(why, { isRetryable: true }));
  }

  /** Closes. Twice is once. */
  close(): void {
    this.#isClosed = true;
    const link = this.#link;
    this.#link = null;
    link?.client.destroy();
    if (link && link.subscriber !== link.client) link.subscriber.destroy();
    for (const client of this.#pendingClients) client.destroy();
  }

  /** Any error of node-redis as one of ours. */
  explain(error: unknown): Error {
    if (error instanceof OperatingError) return error;
    if (this.#engine && error instanceof this.#engine.ErrorReply) return serverError(error);
    return new ConnectionLost(`Connection to ${this.#place.shownUrl} lost: ${reasonOf(error)}`, {
      cause: error,
      isRetryable: true,
    });
  }

  async #dial(): Promise<RedisLink> {
    this.#engine ??= await loadEngine();
    const place = this.#place;
    const address = place.masterName === null ? place.hosts[0] ?? null : await this.#askSentinels();
    for (;;) {
      try {
        const client = await this.#connect(address, this.#resp);
        const subscriber = this.#resp === 3 ? client : await this.#connect(address, 2).catch((error) => {
          client.destroy();
          throw error;
        });
        return this.#adopt({ client, subscriber });
      } catch (error) {
        // Redis before 6, and some proxies, do not know HELLO.
        if (
          this.#resp === 3 &&
          /unknown command|NOPROTO|wrong number of arguments for 'hello'/i.test(errorText(error))
        ) {
          this.#resp = 2;
          continue;
        }
        throw this.#explainDial(error, address);
      }
    }
  }

  #adopt(link: RedisLink): RedisLink {
    if (this.#isClosed || !link.client.isReady || !link.subscriber.isReady) {
      link.client.destroy();
      link.subscriber.destroy();
      throw new ConnectionLost(`Connection to ${this.#place.shownUrl} lost`, { isRetryable: true });
    }
    this.#link = link;
    return link;
  }

  #lose(client: NodeRedis, error: unknown): void {
    const link = this.#link;
    if (!link || link.client !== client && link.subscriber !== client) return;
    this.#link = null;
    link.client.destroy();
    if (link.subscriber !== link.client) link.subscriber.destroy();
    this.#onLost(this.explain(error));
  }

  async #connect(address: HostPort | null, resp: 2 | 3, sentinel = false): Promise<NodeRedis> {
    const options = await this.#options(address, resp, sentinel);
    let lastError: unknown = null;
    const client: NodeRedis = new NodeRedis(this.#world.clock, this.#engine!, options, (error) => {
      lastError = error ?? lastError;
      this.#lose(client, lastError ?? "the connection was closed");
    });
    this.#pendingClients.add(client);
    const { clock } = this.#world;
    const disarm = clock.arm(clock.monoMs() + this.#place.connectTimeoutMs, () => {
      lastError = new Error(`no answer within ${this.#place.connectTimeoutMs} ms`);
      client.destroy();
    });
    try {
      await client.connect();
      return client;
    } catch (error) {
      client.destroy();
      throw lastError ?? error;
    } finally {
      disarm();
      this.#pendingClients.delete(client);
    }
  }

  async #options(address: HostPort | null, resp: 2 | 3, sentinel: boolean): Promise<NodeRedisOptions> {
    const place = this.#place;
    const socket: Record<string, unknown> = {
      connectTimeout: place.connectTimeoutMs,
      ...(place.socketTimeoutMs === null ? {} : { socketTimeout: place.socketTimeoutMs }),
      keepAlive: place.keepAlive,
      ...(address ? { host: address.host, port: address.port } : { path: place.socketPath }),
      ...(place.tls && address ? await tlsOptions(place.tls, address.host) : {}),
    };
    const pingMs = Math.min(place.healthCheckMs ?? Infinity, (place.socketTimeoutMs ?? Infinity) / 2);
    return {
      socket,
      resp,
      username: sentinel ? place.sentinelUsername : place.username,
      password: sentinel ? place.sentinelPassword : place.password,
      database: sentinel ? 0 : place.database,
      name: place.clientName,
      pingMs: Number.isFinite(pingMs) ? pingMs : null,
    };
  }

  /** The master's address from the first sentinel that knows it. */
  async #askSentinels(): Promise<HostPort> {
    const name = this.#place.masterName!;
    let last: unknown = null;
    for (const host of this.#place.hosts) {
      try {
        const client = await this.#connect(host, 2, true);
        try {
          const reply = await client.sendCommand(["SENTINEL", "get-master-addr-by-name", name]);
          if (Array.isArray(reply)) return { host: String(reply[0]), port: Number(reply[1]) };
          last = `no master named "${name}"`;
        } finally {
          client.destroy();
        }
      } catch (error) {
        last = error;
      }
    }
    throw new DialError(`Cannot find the master "${name}" by ${this.#place.shownUrl}: ${reasonOf(last)}`, {
      cause: last,
      isRetryable: true,
    });
  }

  #explainDial(error: unknown, address: HostPort | null): Error {
    if (error instanceof OperatingError) return error;
    if (this.#engine && error instanceof this.#engine.ErrorReply) return serverError(error);
    const where = address ? `${address.host}:${address.port}` : this.#place.socketPath;
    return new DialError(`Cannot connect to the result store at ${where}: ${reasonOf(error)}`, {
      cause: error,
      isRetryable: true,
    });
  }
}

function serverError(error: Error): Error {
  const message = errorText(error);
  const code = /^[A-Z]+/.exec(message)?.[0] ?? "ERR";
  if (REFUSING.has(code) || /invalid password|no password is set|without any password/i.test(message)) {
    return new AccessRefused(`The result store refused access: ${message}`, { cause: error });
  }
  return new ServerError(`The result store answered: ${message}`, {
    code,
    cause: error,
    isRetryable: PASSING.has(code) || /max number of clients/i.test(message),
  });
}

/** Node tells of several addresses tried by an AggregateError without a text. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return errorText(error);
}

async function tlsOptions(
  tls: NonNullable<RedisPlace["tls"]>,
  host: string,
): Promise<Record<string, unknown>> {
  const read = (path: string | null) => path === null ? undefined : readFile(path, "utf8");
  const [ca, cert, key] = await Promise.all([read(tls.caPath), read(tls.certPath), read(tls.keyPath)]);
  return {
    tls: true,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    rejectUnauthorized: tls.verify !== "none",
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    ...(tls.checkHostname ? {} : { checkServerIdentity: () => undefined }),
  };
}
