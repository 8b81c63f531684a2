/**
 * A result store on a cluster: each command goes to the master of its key's slot, over one connection to each node.
 *
 * Each result has a slot of its own, so results spread over the masters; a chord's keys share a slot. A
 * result is published in its slot's shard (Redis 7), so that it is not sent to every node. Redirections are
 * followed. If a connection is lost, all are; the next use asks the cluster for its nodes again.
 */

import { ConnectionLost, DialError, errorText, OperatingError, type World } from "../base/mod.ts";
import { type ClusterNode, readSlots, redirectionOf, ReplicaWait, type SlotOf, SLOTS } from "../redis/mod.ts";
import { type Reply, RespError } from "../wire/mod.ts";
import {
  type Argument,
  type Engine,
  errorsOf,
  type Listener,
  type NodeRedis,
  type NodeRedisEvents,
  type RedisClient,
  type ReplyOptions,
} from "./node_redis.ts";

/** Options of `ClusterRedis.open`. */
export interface ClusterParts {
  readonly world: World;
  readonly engine: Engine;
  readonly slotOf: SlotOf;
  /** Asked in order which node has which slots, until one knows. */
  readonly seeds: readonly ClusterNode[];
  /** Connects to a node. */
  dial(node: ClusterNode, events: NodeRedisEvents): Promise<NodeRedis>;
  /** Called when a node's connection has ended. */
  onEnd(error: unknown): void;
  /** Called when channels were moved to another node: messages may have been missed. */
  onMoved(channels: readonly string[]): void;
  /** How many replicas of a slot's master must have a result before it counts as stored; 0: none. */
  readonly waitReplicas: number;
}

/** The version from which shards have channels of their own. */
const SHARDED_MAJOR = 7;
const REDIRECTIONS_MAX = 8;
const TRY_AGAIN_MS = 50;
/** How long a command is tried again while its keys are being moved. */
const TRIED_MS = 30_000;

/** The connections to one cluster. */
export class ClusterRedis implements RedisClient {
  readonly #parts: ClusterParts;
  readonly #onEnd: (error: unknown) => void;
  /** The master of each slot, by its number. */
  #masters: (ClusterNode | null)[] = new Array(SLOTS).fill(null);
  #nodes = new Map<string, Promise<NodeRedis>>();
  #ready = new Map<string, NodeRedis>();
  #protocol: 2 | 3 = 2;
  #isSharded = false;
  /** The subscribed channels of shards, by slot. */
  #channels = new Map<number, Map<string, ShardChannel>>();
  /** The waits for replicas, by the name of their master. */
  #waits = new Map<string, ReplicaWait>();
  #isOpen = false;
  #isEnded = false;

  private constructor(parts: ClusterParts) {
    this.#parts = parts;
    this.#onEnd = parts.onEnd;
  }

  /**
   * Asks the seeds in order. Rejects with a DialError that has the answer of each, or with a final refusal.
   */
  static async open(parts: ClusterParts): Promise<ClusterRedis> {
    const cluster = new ClusterRedis(parts);
    const answers: string[] = [];
    let last: unknown = null;
    for (const seed of parts.seeds) {
      try {
        if (await cluster.#askSeed(seed)) {
          cluster.#isOpen = true;
          return cluster;
        }
        answers.push(`${nameOf(seed)}: it knows no slots`);
      } catch (error) {
        last = error;
        if (error instanceof OperatingError && !error.isRetryable && !(error instanceof DialError)) break;
        answers.push(`${nameOf(seed)}: ${errorText(error)}`);
      }
    }
    cluster.destroy();
    if (last instanceof OperatingError && !last.isRetryable) throw last;
    const why = `Cannot find the cluster through any of its nodes: ${answers.join("; ")}`;
    throw new DialError(why, { cause: last, isRetryable: true });
  }

  get isReady(): boolean {
    return !this.#isEnded;
  }

  get protocol(): 2 | 3 {
    return this.#protocol;
  }

  get publishCommand(): "PUBLISH" | "SPUBLISH" {
    return this.#isSharded ? "SPUBLISH" : "PUBLISH";
  }

  /** That of the connection that has been idle longest. */
  get movedMs(): number {
    let least = Infinity;
    for (const node of this.#ready.values()) least = Math.min(least, node.movedMs);
    return least === Infinity ? 0 : least;
  }

  get openBytes(): number {
    let bytes = 0;
    for (const node of this.#ready.values()) bytes += node.openBytes;
    return bytes;
  }

  /** Every master that the cluster has named. */
  get nodes(): ClusterNode[] {
    const byName = new Map<string, ClusterNode>();
    // All slots of a range share one object.
    for (const node of new Set(this.#masters)) if (node !== null) byName.set(nameOf(node), node);
    return [...byName.values()];
  }

  sendCommand(args: readonly Argument[], options?: ReplyOptions): Promise<unknown> {
    const name = args[0];
    if (name === "MGET") {
      return Promise.all(args.slice(1).map((key) => this.#send(key, ["GET", key], options)));
    }
    return this.#send(keyOf(args), args, options);
  }

  async sendEach(commands: readonly (readonly Argument[])[]): Promise<unknown[]> {
    const done = errorsOf(commands.length, (n) => this.sendCommand(commands[n]!));
    if (this.#waits.size === 0) return await done;
    const masterOf = (args: readonly Argument[]) => this.#masters[this.#parts.slotOf(String(keyOf(args)))];
    const waits = new Map<ClusterNode, Promise<unknown>>();
    const waited = (master: ClusterNode) => {
      let wait = waits.get(master);
      if (wait === undefined) {
        waits.set(
          master,
          wait = this.#waitAt(master).then(() => null, (error) => error),
        );
      }
      return wait;
    };
    // The waits are sent after the commands, in the same write.
    for (const args of commands) {
      const master = masterOf(args);
      if (master) waited(master);
    }
    const errors = await done;
    for (let n = 0; n < errors.length; n++) {
      // A master's reply does not count if the master is lost before its replicas have the data. A redirected
      // command waits at its new master.
      const master = masterOf(commands[n]!);
      if (errors[n] === null && master) errors[n] = await waited(master);
    }
    return errors;
  }

  async subscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void> {
    try {
      if (!this.#isSharded) {
        await this.#eachNode(channels, (node, some) => node.subscribe(some, listener, asBytes));
        return;
      }
      await Promise.all(
        channels.map((name) => this.#subscribeShard(name, { listener, asBytes, node: null })),
      );
    } catch (error) {
      // Messages would be missed, so everything is subscribed again over new connections.
      this.#fail(error);
      throw error;
    }
  }

  async unsubscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void> {
    if (!this.#isSharded) {
      await this.#eachNode(channels, (node, some) => node.unsubscribe(some, listener, asBytes));
      return;
    }
    await Promise.all(channels.map((name) => {
      const slot = this.#parts.slotOf(name);
      const ofSlot = this.#channels.get(slot);
      const channel = ofSlot?.get(name);
      ofSlot?.delete(name);
      if (ofSlot?.size === 0) this.#channels.delete(slot);
      return channel?.node?.unsubscribeShard(name, listener, asBytes);
    }));
  }

  async transaction(commands: readonly (readonly Argument[])[]): Promise<unknown[]> {
    const key = String(commands[0]![1]);
    const node = await this.#nodeOf(this.#parts.slotOf(key));
    return await this.#followed(key, node, (to) => to.transaction(commands));
  }

  async replicated(keys: readonly string[]): Promise<void> {
    if (this.#waits.size === 0) return;
    const masters = new Set(keys.map((key) => this.#masters[this.#parts.slotOf(key)] ?? null));
    await Promise.all([...masters].map((master) => master === null ? null : this.#waitAt(master)));
  }

  destroy(): void {
    this.#isEnded = true;
    for (const node of this.#nodes.values()) node.then((connection) => connection.destroy(), () => {});
    for (const node of this.#ready.values()) node.destroy();
  }

  /** Reads the slots from one node; resolves with false if it knows none. Rejects as the dial does. */
  async #askSeed(seed: ClusterNode): Promise<boolean> {
    const connection = await this.#dial(seed);
    this.#protocol = connection.protocol;
    this.#isSharded = connection.isAtLeast(SHARDED_MAJOR) && connection.protocol === 3;
    const ranges = readSlots(await connection.sendCommand(["CLUSTER", "SLOTS"]) as Reply, seed);
    for (const { from, to, master, replicas } of ranges) {
      this.#masters.fill(master, from, to + 1);
      const count = Math.min(this.#parts.waitReplicas, replicas.length);
      if (count > 0) this.#waits.set(nameOf(master), new ReplicaWait(this.#parts.world.clock, count));
    }
    return ranges.length > 0;
  }

  #dial(node: ClusterNode): Promise<NodeRedis> {
    const name = nameOf(node);
    let dialled = this.#nodes.get(name);
    if (dialled === undefined) {
      dialled = this.#parts.dial(node, {
        onEnd: (error) => this.#lose(name, error),
        onShardEnd: (channel) => this.#onMovedSlot(this.#parts.slotOf(channel)),
      }).then((connection) => {
        if (this.#isEnded) {
          connection.destroy();
          throw new ConnectionLost("The connection was closed", { isRetryable: true });
        }
        this.#ready.set(name, connection);
        return connection;
      });
      this.#nodes.set(name, dialled);
      dialled.catch((error) => this.#lose(name, error));
    }
    return dialled;
  }

  /** Handles a node's connection that ended or could not be made: its slots may be at another node by now. */
  #lose(name: string, error: unknown): void {
    if (this.#isEnded || !this.#nodes.has(name)) return;
    this.#nodes.delete(name);
    this.#ready.delete(name);
    // If a seed cannot be asked, the next one is.
    if (this.#isOpen) this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#isEnded) return;
    this.destroy();
    this.#onEnd(error);
  }

  /** Waits until a master's replicas have what was sent to it. Rejects if it is lost meanwhile. */
  async #waitAt(master: ClusterNode): Promise<void> {
    const wait = this.#waits.get(nameOf(master));
    if (wait === undefined) return;
    await (this.#ready.get(nameOf(master)) ?? await this.#dial(master)).waitFor(wait);
  }

  #nodeOf(slot: number): Promise<NodeRedis> {
    const master = this.#masters[slot];
    if (master) return this.#dial(master);
    return Promise.reject(
      new ConnectionLost(`The cluster has no master for slot ${slot}`, { isRetryable: true }),
    );
  }

  #send(key: Argument, args: readonly Argument[], options?: ReplyOptions): Promise<unknown> {
    const text = typeof key === "string" ? key : key.toString("utf8");
    const master = this.#masters[this.#parts.slotOf(text)];
    const ready = master ? this.#ready.get(nameOf(master)) : undefined;
    const run = (node: NodeRedis, isAsking: boolean) =>
      isAsking ? node.sendAsking(args, options) : node.sendCommand(args, options);
    if (ready === undefined) {
      return this.#nodeOf(this.#parts.slotOf(text)).then((node) => this.#followed(text, node, run));
    }
    return ready.sendCommand(args, options).catch((error) => this.#redirected(text, { error, run }));
  }

  /** Runs an operation on a node, and follows its redirections. */
  async #followed<T>(key: string, node: NodeRedis, run: Run<T>): Promise<T> {
    try {
      return await run(node, false);
    } catch (error) {
      return await this.#redirected(key, { error, run });
    }
  }

  async #redirected<T>(key: string, { error: first, run }: { error: unknown; run: Run<T> }): Promise<T> {
    const { clock } = this.#parts.world;
    const slot = this.#parts.slotOf(key);
    const untilMs = clock.monoMs() + TRIED_MS;
    let error = first;
    for (let hop = 0; hop < REDIRECTIONS_MAX && clock.monoMs() < untilMs;) {
      const reply = error instanceof this.#parts.engine.ErrorReply ? new RespError(errorText(error)) : null;
      const asked = this.#masters[slot]?.host ?? "";
      const to = reply === null ? null : redirectionOf(reply, asked);
      if (reply === null || (to === null && reply.code !== "TRYAGAIN")) throw error;
      if (to === null) await clock.sleep(TRY_AGAIN_MS);
      else hop++;
      const master = this.#masters[slot];
      if (reply.code === "MOVED" && to !== null && (master == null || nameOf(master) !== nameOf(to))) {
        this.#masters[slot] = to;
        this.#onMovedSlot(slot);
      }
      try {
        return await run(await (to === null ? this.#nodeOf(slot) : this.#dial(to)), reply.code === "ASK");
      } catch (next) {
        error = next;
      }
    }
    throw error;
  }

  async #subscribeShard(name: string, channel: ShardChannel): Promise<void> {
    const slot = this.#parts.slotOf(name);
    const ofSlot = this.#channels.get(slot);
    if (ofSlot === undefined) this.#channels.set(slot, new Map([[name, channel]]));
    else ofSlot.set(name, channel);
    await this.#followed(name, await this.#nodeOf(slot), async (node) => {
      channel.node = node;
      await node.subscribeShard(name, channel.listener, channel.asBytes);
    });
  }

  /** Subscribes to a slot's channels at its new master. */
  #onMovedSlot(slot: number): void {
    const channels = [...this.#channels.get(slot) ?? []];
    if (channels.length === 0) return;
    Promise.all(channels.map(async ([name, channel]) => {
      channel.node?.unsubscribeShard(name, channel.listener, channel.asBytes).catch(() => {});
      channel.node = null;
      await this.#subscribeShard(name, { ...channel, node: null });
    })).then(() => this.#parts.onMoved(channels.map(([name]) => name)), (error) => this.#fail(error));
  }

  async #eachNode(
    channels: readonly string[],
    run: (node: NodeRedis, some: readonly string[]) => Promise<unknown>,
  ): Promise<void> {
    const byNode = Map.groupBy(channels, (channel) => this.#masters[this.#parts.slotOf(channel)] ?? null);
    await Promise.all([...byNode].map(async ([, some]) => {
      await run(await this.#nodeOf(this.#parts.slotOf(some[0]!)), some);
    }));
  }
}

/** A channel of a shard. `node`: where it is subscribed. */
interface ShardChannel {
  readonly listener: Listener;
  readonly asBytes: boolean;
  node: NodeRedis | null;
}

/** Returns the key that decides to which node a command goes. */
function keyOf(args: readonly Argument[]): Argument {
  return args[args[0] === "EVAL" ? 3 : 1]!;
}

type Run<T> = (node: NodeRedis, isAsking: boolean) => Promise<T>;

function nameOf({ host, port }: ClusterNode): string {
  return `${host}:${port}`;
}
