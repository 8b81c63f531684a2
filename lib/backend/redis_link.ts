/**
 * Connections to Redis through node-redis: dialled when needed, and never by a reconnect loop of the library.
 *
 * node-redis speaks the protocol, TLS and pub/sub; when to dial again and for how long is decided here and in
 * redis.ts, on the World's clock. With Redis 6 and later one connection carries commands and subscriptions (RESP3);
 * older servers get a second one for subscriptions, opened with the first.
 */

import { Buffer } from "node:buffer";
import {
  AccessRefused,
  type Address,
  ConnectionLost,
  DialError,
  errorText,
  OperatingError,
  ProtocolError,
  ServerError,
  UsageError,
  type World,
} from "../base/mod.ts";
import { nodeTlsOptions } from "../net/mod.ts";
import {
  addressAt,
  type ClusterNode,
  errorOfText,
  isMovedError,
  loadSlotOf,
  type RedisTarget,
  resolveTarget,
} from "../redis/mod.ts";
import type { ClusterRedis } from "./cluster_redis.ts";
import {
  type Argument,
  type Engine,
  loadEngine,
  NodeRedis,
  type NodeRedisEvents,
  type NodeRedisOptions,
  type RedisClient,
  type ReplyOptions,
} from "./node_redis.ts";
import type { RedisStoreOptions } from "./redis_options.ts";

/** Returns a document as an argument; bytes are not copied. */
export function argument(document: string | Uint8Array): Argument {
  return typeof document === "string"
    ? document
    : Buffer.from(document.buffer, document.byteOffset, document.byteLength);
}

/** Bulk strings as bytes: 36 is "$", the type's byte. */
export const AS_BYTES: ReplyOptions = { typeMapping: { 36: Buffer } };
/** Bulk strings as text. */
export const AS_TEXT: ReplyOptions = {};

/** A live connection. */
export interface RedisLink {
  readonly client: RedisClient;
  /** For subscriptions; with RESP3 the same connection. */
  readonly subscriber: RedisClient;
  /**
   * Whether the server processes the commands of both in order: false with two connections, and on a cluster.
   */
  readonly isInOrder: boolean;
}

/** Events of the live connection. */
export interface RedisLinksEvents {
  /** The connection was lost. Called once for each connection. */
  onLost(error: Error): void;
  /** Messages of these channels may have been missed. */
  onMissed(channels: readonly string[]): void;
}

/** Dials and keeps the one live connection. */
export class RedisLinks {
  readonly #world: World;
  readonly #options: RedisStoreOptions;
  readonly #events: RedisLinksEvents;
  #engine: Engine | null = null;
  #link: RedisLink | null = null;
  #opening: Promise<RedisLink> | null = null;
  #isClosed = false;
  #wasLive = false;
  #pendingClients = new Set<NodeRedis>();
  /** The nodes that a cluster has named, which are asked if those of the URL do not answer. */
  #known: readonly ClusterNode[] = [];

  constructor(world: World, options: RedisStoreOptions, events: RedisLinksEvents) {
    this.#world = world;
    this.#options = options;
    this.#events = events;
  }

  /** The live connection, or null. */
  get live(): RedisLink | null {
    return this.#link;
  }

  /**
   * Resolves with the live connection; dials if there is none, once at a time. Rejects with an operating
   * error.
   */
  open(): Promise<RedisLink> {
    if (this.#link) return Promise.resolve(this.#link);
    if (this.#isClosed) return Promise.reject(new OperatingError("The result store is closed"));
    this.#opening ??= this.#dial().finally(() => void (this.#opening = null));
    return this.#opening;
  }

  /**
   * Runs an operation on a connection of its own, which is closed afterwards. Rejects as `open` does, or as
   * `run`.
   */
  async apart<T>(run: (client: RedisClient) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new OperatingError("The result store is closed");
    const client = await this.#connect(3);
    try {
      return await run(client);
    } finally {
      client.destroy();
    }
  }

  /**
   * Drops the live connection, so that the next `open` dials. `why`: for example that the server became a
   * replica.
   */
  drop(why: string): void {
    const link = this.#link;
    if (link) this.#lose(link.client, new ConnectionLost(why, { isRetryable: true }));
  }

  /** Closes. Idempotent. */
  close(): void {
    this.#isClosed = true;
    const link = this.#link;
    this.#link = null;
    link?.client.destroy();
    if (link && link.subscriber !== link.client) link.subscriber.destroy();
    for (const client of this.#pendingClients) client.destroy();
  }

  /**
   * Converts an error of node-redis to one of ours. Drops the connection if the server is no longer the
   * master.
   */
  explain(error: unknown): Error {
    if (error instanceof OperatingError) return error;
    if (this.#engine && error instanceof this.#engine.ErrorReply) {
      const said = serverError(error);
      if (said instanceof ServerError && isMovedError(said)) this.drop("The server is no longer the master");
      if (this.#options.credentials === null || !/\bNOAUTH\b/.test(said.message)) return said;
      // Rotating credentials have expired; the next connection asks for new ones.
      this.drop(said.message);
      return new ConnectionLost(said.message, { cause: said, isRetryable: true });
    }
    return new ConnectionLost(`Connection to ${this.#options.shownUrl} lost: ${reasonOf(error)}`, {
      cause: error,
      isRetryable: true,
    });
  }

  async #dial(): Promise<RedisLink> {
    const client = await this.#connect(3);
    const isInOrder = client.protocol === 3 && this.#options.server.place.kind !== "cluster";
    if (client.protocol === 3) return this.#adopt({ client, subscriber: client, isInOrder });
    const subscriber = await this.#connect(2).catch((error) => {
      client.destroy();
      throw error;
    });
    return this.#adopt({ client, subscriber, isInOrder });
  }

  #adopt(link: RedisLink): RedisLink {
    if (this.#isClosed || !link.client.isReady || !link.subscriber.isReady) {
      link.client.destroy();
      link.subscriber.destroy();
      throw new ConnectionLost(`Connection to ${this.#options.shownUrl} lost`, { isRetryable: true });
    }
    this.#link = link;
    this.#wasLive = true;
    return link;
  }

  #lose(client: RedisClient, error: unknown): void {
    const link = this.#link;
    if (!link || link.client !== client && link.subscriber !== client) return;
    this.#link = null;
    link.client.destroy();
    if (link.subscriber !== link.client) link.subscriber.destroy();
    this.#events.onLost(this.explain(error));
  }

  /** Opens a connection to the server's current address. Rejects with an operating error. */
  async #connect(resp: 2 | 3): Promise<RedisClient> {
    const target = await this.#resolve();
    if (this.#options.server.place.kind === "cluster") return await this.#connectCluster(target, resp);
    let client: NodeRedis | null = null;
    return client = await this.#logIn(target, resp, {
      onEnd: (error) => {
        if (client !== null) this.#lose(client, error);
      },
      onShardEnd(): void {},
    });
  }

  async #connectCluster(target: RedisTarget, resp: 2 | 3): Promise<RedisClient> {
    const { place } = this.#options.server;
    const nodes = place.kind === "cluster" ? place.nodes : [];
    let client: ClusterRedis | null = null;
    const { ClusterRedis: Cluster } = await import("./cluster_redis.ts");
    client = await Cluster.open({
      world: this.#world,
      engine: this.#engine ??= await loadEngine(),
      slotOf: await loadSlotOf(),
      seeds: [...nodes, ...this.#known],
      dial: (node, onEnd) =>
        this.#logIn({ ...target, address: addressAt(target.address, node) }, resp, onEnd),
      onEnd: (error) => {
        if (client !== null) this.#lose(client, error);
      },
      onMoved: (channels) => {
        if (client !== null && this.#link?.client === client) this.#events.onMissed(channels);
      },
      waitReplicas: this.#options.waitReplicas,
    });
    this.#known = client.nodes;
    return client;
  }

  /** Connects to one server with current credentials, and renews them before they expire. */
  async #logIn(target: RedisTarget, resp: 2 | 3, events: NodeRedisEvents): Promise<NodeRedis> {
    const { credentials } = this.#options;
    if (credentials === null) return await this.#dialAs(target, resp, events);
    return await credentials.logIn(async (login) => {
      const username = login.username ?? target.username;
      const client = await this.#dialAs({ ...target, username, password: login.password }, resp, events);
      // A subscriber with RESP2 may not send AUTH.
      if (resp === 2) return client;
      client.keep(credentials.keepFresh(login, async ({ username, password }) => {
        await client.sendCommand(["AUTH", username ?? target.username ?? "default", password]);
      }));
      return client;
    });
  }

  async #dialAs(target: RedisTarget, resp: 2 | 3, events: NodeRedisEvents): Promise<NodeRedis> {
    const engine = this.#engine ??= await loadEngine();
    const { connectTimeoutMs } = this.#options;
    let lastError: unknown = null;
    const client: NodeRedis = new NodeRedis(
      this.#world.clock,
      engine,
      this.#optionsOf(target, resp),
      {
        onEnd(error) {
          lastError = error ?? lastError;
          events.onEnd(lastError ?? "the connection was closed");
        },
        onShardEnd: (channel) => events.onShardEnd(channel),
      },
    );
    this.#pendingClients.add(client);
    const { clock } = this.#world;
    const disarm = clock.arm(clock.monoMs() + connectTimeoutMs, () => {
      lastError = new Error(`no answer within ${connectTimeoutMs} ms`);
      client.destroy();
    });
    try {
      await client.connect();
      return client;
    } catch (error) {
      client.destroy();
      throw this.#explainDial(lastError ?? error, target);
    } finally {
      disarm();
      this.#pendingClients.delete(client);
    }
  }

  async #resolve(): Promise<RedisTarget> {
    const { server, shownUrl, connectTimeoutMs } = this.#options;
    try {
      return await resolveTarget(this.#world, server, { timeoutMs: connectTimeoutMs });
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      // A certificate file that is being replaced can be read again soon.
      const why = `Cannot connect to the result store at ${shownUrl}: ${error.message}`;
      throw new DialError(why, { cause: error, isRetryable: true });
    }
  }

  #optionsOf(target: RedisTarget, resp: 2 | 3): NodeRedisOptions {
    const { keepAlive, connectTimeoutMs, healthCheckMs, socketTimeoutMs, clientName } = this.#options;
    const { address, username, password, db } = target;
    const pingMs = Math.min(healthCheckMs ?? Infinity, (socketTimeoutMs ?? Infinity) / 2);
    return {
      socket: { connectTimeout: connectTimeoutMs, keepAlive, ...socketOptions(address) },
      resp,
      credentials: { username, password, db, clientName },
      pingMs: Number.isFinite(pingMs) ? pingMs : null,
      waitReplicas: this.#options.server.place.kind === "cluster" ? 0 : this.#options.waitReplicas,
      timeoutMs: socketTimeoutMs,
    };
  }

  #explainDial(error: unknown, { address }: RedisTarget): Error {
    const where = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
    const isForeign = isUnreadable(error);
    const why = `Cannot connect to the result store at ${where}: ${
      isForeign ? "the server does not speak Redis's protocol" : reasonOf(error)
    }`;
    // A store that has accepted us before may do so again, for example once a change of its password is
    // complete.
    const isFinal = isForeign || error instanceof AccessRefused ||
      error instanceof OperatingError && !error.isRetryable;
    const options = { cause: error, isRetryable: this.#wasLive || !isFinal };
    return error instanceof AccessRefused ? new AccessRefused(why, options) : new DialError(why, options);
  }
}

function serverError(error: Error): OperatingError {
  const text = errorText(error);
  const said = errorOfText(text, `The result store answered: ${text}`, error);
  return said instanceof AccessRefused
    ? new AccessRefused(`The result store refused access: ${text}`, { cause: error })
    : said;
}

/** Whether the library could not read its input: its parser says so, or overflows the stack. */
function isUnreadable(error: unknown): boolean {
  return error instanceof ProtocolError || error instanceof RangeError || error instanceof TypeError ||
    /^Unknown RESP type/.test(errorText(error));
}

/** Returns an error's text. Node reports several addresses tried as an AggregateError without a text. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return errorText(error);
}

function socketOptions(address: Address): Record<string, unknown> {
  if (address.kind === "unix") return { path: address.path };
  const { host, port, tls } = address;
  if (tls === null) return { host, port };
  const isName = !/^[\d.]+$|:/.test(host);
  return { host, port, tls: true, ...nodeTlsOptions(tls), ...(isName ? { servername: host } : {}) };
}
