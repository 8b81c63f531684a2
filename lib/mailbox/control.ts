/**
 * `app.control`: remote control over a connection of its own, which is opened by the first call and again
 * after it was lost.
 *
 * Source: celery 5.2.6 app/control.py Control (method by method the same arguments on the wire).
 */

import { namesOf, refuseUnknown } from "../base/mod.ts";
import type {
  App,
  CommandOptions,
  ConnectBrokerOptions,
  Control,
  Inspect,
  RemoteAnswer,
  RemoteOptions,
  Replies,
} from "../app/mod.ts";
import type { Connection } from "../transport/mod.ts";
import { AppInspect } from "./inspect.ts";
import { type Ask, Mailbox } from "./mailbox.ts";
import { loadMailboxSerializers, mailboxSettings } from "./places.ts";

/** Options of all commands, and those of single commands. */
const OPTION_NAMES = namesOf<
  RemoteOptions & CommandOptions & {
    arguments?: unknown;
    terminate?: unknown;
    signal?: unknown;
    exchange?: unknown;
    exchangeType?: unknown;
    routingKey?: unknown;
    queueOptions?: unknown;
    modules?: unknown;
    reload?: unknown;
  }
>({
  destination: true,
  pattern: true,
  matcher: true,
  timeout: true,
  limit: true,
  onReply: true,
  onSilent: true,
  abort: true,
  reply: true,
  arguments: true,
  terminate: true,
  signal: true,
  exchange: true,
  exchangeType: true,
  routingKey: true,
  queueOptions: true,
  modules: true,
  reload: true,
});

const LIMIT_NAMES = namesOf<{ soft?: unknown; hard?: unknown }>({ soft: true, hard: true });

type Connecting = Pick<ConnectBrokerOptions, "retry" | "signal" | "clientName">;

/** Remote control of one App's workers. */
export class AppControl implements Control {
  #app: App;
  #connecting: Connecting;
  #opening: Promise<Mailbox> | null = null;
  #connection: Connection | null = null;

  /** `connecting`: how to connect to the broker; by default as the settings say. */
  constructor(app: App, connecting: Connecting = {}) {
    this.#app = app;
    this.#connecting = connecting;
  }

  inspect(options: RemoteOptions = {}): Inspect {
    return new AppInspect((command, args) => this.#ask(command, args, options));
  }

  async broadcast(
    command: string,
    options: CommandOptions & { arguments?: Record<string, unknown> } = {},
  ): Promise<Replies> {
    return await this.#command(command, options.arguments ?? {}, options);
  }

  ping(options: RemoteOptions = {}): Promise<Replies<RemoteAnswer>> {
    return this.#ask("ping", {}, options) as Promise<Replies<RemoteAnswer>>;
  }

  revoke(
    ids: string | readonly string[],
    options: CommandOptions & { terminate?: boolean; signal?: string } = {},
  ): Promise<Replies> {
    const { terminate = false, signal = "SIGTERM" } = options;
    return this.#command("revoke", { task_id: ids, terminate, signal }, options);
  }

  revokeByStampedHeaders(
    headers: Record<string, unknown>,
    options: CommandOptions & { terminate?: boolean; signal?: string } = {},
  ): Promise<Replies> {
    const { terminate = false, signal = "SIGTERM" } = options;
    return this.#command("revoke_by_stamped_headers", { headers, terminate, signal }, options);
  }

  terminate(
    ids: string | readonly string[],
    options: CommandOptions & { signal?: string } = {},
  ): Promise<Replies> {
    return this.revoke(ids, { ...options, terminate: true });
  }

  rateLimit(taskName: string, rate: string | number, options: CommandOptions = {}): Promise<Replies> {
    return this.#command("rate_limit", { task_name: taskName, rate_limit: rate }, options);
  }

  async timeLimit(
    taskName: string,
    limits: { soft?: number | null; hard?: number | null },
    options: CommandOptions = {},
  ): Promise<Replies> {
    refuseUnknown(limits, LIMIT_NAMES, "timeLimit");
    const { soft = null, hard = null } = limits;
    return await this.#command("time_limit", { task_name: taskName, hard, soft }, options);
  }

  addConsumer(
    queue: string,
    options: CommandOptions & {
      exchange?: string;
      exchangeType?: string;
      routingKey?: string;
      queueOptions?: Record<string, unknown>;
    } = {},
  ): Promise<Replies> {
    const { exchange, exchangeType = "direct", routingKey, queueOptions = {} } = options;
    return this.#command("add_consumer", {
      queue,
      exchange: exchange ?? null,
      routing_key: routingKey ?? null,
      exchange_type: exchangeType,
      ...queueOptions,
    }, options);
  }

  cancelConsumer(queue: string, options: CommandOptions = {}): Promise<Replies> {
    return this.#command("cancel_consumer", { queue }, options);
  }

  enableEvents(options: CommandOptions = {}): Promise<Replies> {
    return this.#command("enable_events", {}, options);
  }

  disableEvents(options: CommandOptions = {}): Promise<Replies> {
    return this.#command("disable_events", {}, options);
  }

  heartbeat(options: CommandOptions = {}): Promise<Replies> {
    return this.#command("heartbeat", {}, options);
  }

  poolGrow(n = 1, options: CommandOptions = {}): Promise<Replies> {
    return this.#command("pool_grow", { n }, options);
  }

  poolShrink(n = 1, options: CommandOptions = {}): Promise<Replies> {
    return this.#command("pool_shrink", { n }, options);
  }

  poolRestart(
    options: CommandOptions & { modules?: readonly string[]; reload?: boolean } = {},
  ): Promise<Replies> {
    const { modules = [], reload = false } = options;
    return this.#command("pool_restart", { modules, reload }, options);
  }

  autoscale(max: number, min: number, options: CommandOptions = {}): Promise<Replies> {
    return this.#command("autoscale", { max, min }, options);
  }

  shutdown(options: CommandOptions = {}): Promise<Replies> {
    return this.#command("shutdown", {}, options);
  }

  async election(id: string, topic: string, action: unknown = null): Promise<void> {
    await this.#command("election", { id, topic, action }, {});
  }

  async purge(): Promise<number> {
    const { connection } = await this.#open();
    let count = 0;
    for (const name of this.#app.amqp.queues.consumeFrom.keys()) count += await connection.purge(name);
    return count;
  }

  async close(): Promise<void> {
    const opening = this.#opening;
    this.#opening = null;
    // If it never opened, its caller has the error.
    const mailbox = await opening?.catch(() => null);
    await mailbox?.close();
    const connection = this.#connection;
    this.#connection = null;
    await connection?.close();
  }

  async #command(command: string, args: Record<string, unknown>, options: CommandOptions): Promise<Replies> {
    refuseUnknown(options, OPTION_NAMES, `command "${command}"`);
    if (options.reply) return await this.#ask(command, args, options);
    const { mailbox } = await this.#open();
    await mailbox.send(askOf(command, args, options));
    return {};
  }

  async #ask(command: string, args: Record<string, unknown>, options: RemoteOptions): Promise<Replies> {
    refuseUnknown(options, OPTION_NAMES, `command "${command}"`);
    const { mailbox } = await this.#open();
    const { replies, silent } = await mailbox.ask(askOf(command, args, options));
    if (silent.count > 0) options.onSilent?.(silent);
    const byNode: Replies = {};
    for (const [node, reply] of replies) {
      if (node in byNode) {
        this.#app.world.log.warning(duplicateNode([node]));
      }
      byNode[node] = reply;
    }
    return byNode;
  }

  async #open(): Promise<{ mailbox: Mailbox; connection: Connection }> {
    const mailbox = await (this.#opening ??= this.#connect());
    return { mailbox, connection: this.#connection! };
  }

  async #connect(): Promise<Mailbox> {
    const app = this.#app;
    try {
      await loadMailboxSerializers(app.conf);
      const connection = await app.connectBroker({ ...this.#connecting, forWriting: true });
      this.#connection = connection;
      void connection.lost.then(() => {
        if (this.#connection !== connection) return;
        this.#connection = null;
        this.#opening = null;
      });
      return new Mailbox(app.world, connection, {
        settings: mailboxSettings(app.conf),
        clock: app.clock,
      });
    } catch (error) {
      this.#opening = null;
      throw error;
    }
  }
}

/** Returns the warning about nodes that share a name. Source: celery 5.2.6 app/control.py W_DUPNODE. */
export function duplicateNode(names: readonly string[]): string {
  return `Received multiple replies from node ${names.length === 1 ? "name" : "names"}: ${
    names.join(", ")
  }. ` +
    "Please make sure you give each node a unique nodename using the worker's `-n` option.";
}

function askOf(command: string, args: Record<string, unknown>, options: RemoteOptions): Ask {
  const { destination, pattern, matcher, timeout, limit, onReply, abort } = options;
  return {
    command,
    arguments: args,
    destination: destination === undefined
      ? null
      : typeof destination === "string"
      ? [destination]
      : destination,
    pattern: pattern ?? null,
    matcher: matcher ?? null,
    timeoutMs: (timeout ?? 1) * 1000,
    limit: limit ?? null,
    ...(onReply ? { onReply } : {}),
    ...(abort ? { abort } : {}),
  };
}
