/**
 * `lovage migrate SOURCE DESTINATION`: copies task messages from one broker to another, or moves them.
 *
 * With `-a`, a message is acknowledged at the source once the destination has it. Without `-a`, the source
 * keeps all messages in place; it always keeps those that were not selected.
 *
 * Source: celery 5.2.6 bin/migrate.py, contrib/migrate.py (options, progress line).
 */

import { errorText, shownLine, UsageError, type World } from "../base/mod.ts";
import { type App, connectOptions } from "../app/mod.ts";
import { EXIT, listenSignals } from "../platform/mod.ts";
import {
  connect,
  type Connection,
  type Consumer,
  type Delivery,
  type OutgoingMessage,
  PublishError,
  type Queue,
} from "../transport/mod.ts";
import {
  bodyBytes,
  carriedHeaders,
  decodeEnvelope,
  encodeBody,
  type EncodedMessage,
  fromCarriedJson,
} from "../wire/mod.ts";
import { commaList, duration, whole } from "./arguments.ts";
import { command, type Options, type ValuesOf } from "./command.ts";
import { jsonLine } from "./output.ts";

/** Maximum number of messages fetched from the source and not yet published to the destination. */
const IN_FLIGHT_MAX = 500;
/** Interval between two checks of an idle source. */
const LOOK_MS = 50;

const OPTIONS = {
  limit: { short: "-n", value: "count", help: "maximum number of messages", read: whole(1) },
  timeout: {
    short: "-t",
    value: "seconds",
    help: "end after this time without a message; 1 by default",
    read: duration(0),
  },
  ackMessages: { short: "-a", help: "remove the messages from the source: move instead of copy" },
  tasks: { short: "-T", value: "names", help: "only these tasks, comma separated", read: commaList },
  queues: {
    short: "-Q",
    value: "names",
    help: "these queues, comma separated; old:new renames one",
    read: commaList,
  },
  forever: { short: "-F", help: "continue until stopped" },
  json: { short: "-j", help: "print JSON: the number of migrated messages" },
} as const satisfies Options;

type MigrateValues = ValuesOf<typeof OPTIONS>;

/** The command. */
export const migrate = command({
  arguments: [
    { name: "source", help: "the broker to take messages from", isRequired: true },
    { name: "destination", help: "the broker to publish them to", isRequired: true },
  ],
  options: OPTIONS,

  validate([source, destination]) {
    if (source === destination) throw new UsageError("Cannot migrate: source and destination are the same");
  },

  async run({ world, loadApp, args: [source, destination] }, options): Promise<number> {
    await using app = await loadApp();
    const connecting = connectOptions(app, { forWriting: true, clientName: "lovage-migrate" });
    await using from = await connect(world, source!, connecting);
    await using to = await connect(world, destination!, connecting);
    const stop = new AbortController();
    let signal: string | null = null;
    const unlisten = listenSignals(["SIGINT", "SIGTERM"], (name) => {
      signal ??= name;
      stop.abort();
    });
    try {
      const migration = new Migration(world, { from, to, options, names: queueNames(app, options) });
      const count = await migration.run(queuesOf(app, queueNames(app, options)), stop.signal);
      if (options.json) world.terminal.out(jsonLine({ migrated: count }));
      return signal === null ? EXIT.OK : signal === "SIGINT" ? 130 : 143;
    } finally {
      unlisten();
    }
  },
});

/** Returns the source queues and their names at the destination. */
function queueNames(app: App, { queues }: MigrateValues): Map<string, string> {
  const given = queues ?? app.amqp.queues.names();
  return new Map([...given].map((word) => {
    const at = word.indexOf(":");
    return at < 0 ? [word, word] : [word.slice(0, at), word.slice(at + 1)];
  }));
}

function queuesOf(app: App, names: ReadonlyMap<string, string>): Queue[] {
  return [...names.keys()].map((name) => app.amqp.queues.get(name));
}

interface MigrationParts {
  readonly from: Connection;
  readonly to: Connection;
  readonly options: MigrateValues;
  readonly names: ReadonlyMap<string, string>;
}

/** One run. */
class Migration {
  readonly #world: World;
  readonly #parts: MigrationParts;
  readonly #tasks: ReadonlySet<string>;
  #consumer: Consumer | null = null;
  #waiting: Delivery[] = [];
  #publishing: Promise<void> | null = null;
  #count = 0;
  #total = 0;
  #heardMs = 0;
  #failure: unknown = null;

  constructor(world: World, parts: MigrationParts) {
    this.#world = world;
    this.#parts = parts;
    this.#tasks = new Set(parts.options.tasks ?? []);
  }

  /**
   * Runs until the end. Resolves to the number of messages migrated; rejects with an error of either broker.
   */
  async run(queues: readonly Queue[], stop: AbortSignal): Promise<number> {
    const { from, to, options, names } = this.#parts;
    const { clock, host } = this.#world;
    for (const queue of queues) {
      this.#total += await from.declare(queue);
      await to.declare(renamed(queue, names.get(queue.name)!));
    }
    this.#heardMs = clock.monoMs();
    this.#consumer = await from.consume({
      queues,
      window: () => Math.min(IN_FLIGHT_MAX, this.#left) - this.#waiting.length,
      owner: `migrate:${host.hostname}:${host.pid}`,
      leaseSeconds: 30,
    }, {
      onDeliveries: (batch) => this.#onDeliveries(batch),
      onUndecodable: ({ queue, reason }) =>
        this.#world.log.warning(`A message of ${queue} stays where it is: ${reason}`),
      onLost: (error) => this.#failure ??= error,
    });
    const quietMs = (options.timeout ?? 1) * 1000;
    try {
      while (!stop.aborted && this.#failure === null && this.#count < (options.limit ?? Infinity)) {
        const isIdle = this.#waiting.length === 0 && this.#publishing === null;
        const silentMs = clock.monoMs() - this.#heardMs;
        if (!options.forever && isIdle && silentMs >= LOOK_MS) {
          if (silentMs >= quietMs || await this.#isEmpty(queues)) break;
        }
        await clock.sleep(LOOK_MS, stop).catch(() => {});
      }
      await this.#publishing;
      if (!stop.aborted && this.#failure === null) await this.#publishParked();
      await this.#consumer.flush();
    } finally {
      // Unacknowledged messages return to their place.
      await this.#consumer.close().catch((error: unknown) => this.#failure ??= error);
    }
    if (this.#failure !== null) throw this.#failure;
    return this.#count;
  }

  get #left(): number {
    return (this.#parts.options.limit ?? Infinity) - this.#count;
  }

  async #isEmpty(queues: readonly Queue[]): Promise<boolean> {
    for (const queue of queues) {
      if (((await this.#parts.from.queueLength(queue.name)) ?? 0) > 0) return false;
    }
    return true;
  }

  /** Publishes tasks that workers parked until they are due; the destination's workers park them again. */
  async #publishParked(): Promise<void> {
    const { from, to, options, names } = this.#parts;
    const limit = Number.isFinite(this.#left) ? this.#left : Number.MAX_SAFE_INTEGER;
    const wanted = (await from.parked?.(limit) ?? []).filter(({ queue }) => names.has(queue));
    this.#total += wanted.length;
    for (const { id, envelope } of wanted) {
      const { message, info } = decodeEnvelope(envelope, fromCarriedJson);
      if (this.#tasks.size > 0 && !this.#tasks.has(nameOf({ message }))) continue;
      await to.publish([this.#outgoing(message, info)]);
      if (options.ackMessages) await from.dropParked?.([id]);
      this.#deliver(message);
    }
  }

  #outgoing(message: EncodedMessage, info: { exchange: string; routingKey: string }): OutgoingMessage {
    const { to, names } = this.#parts;
    return {
      exchange: names.get(info.exchange) ?? info.exchange,
      routingKey: names.get(info.routingKey) ?? info.routingKey,
      message: recoded(message, to),
      isMandatory: true,
    };
  }

  /** Counts and reports a migrated message. */
  #deliver(message: EncodedMessage): void {
    this.#count++;
    if (this.#parts.options.json) return;
    const total = Math.max(this.#total, this.#count);
    const id = String(message.headers["id"] ?? "?");
    const task = shownLine(`${nameOf({ message })}[${id}]`);
    this.#world.terminal.out(`Migrating task ${this.#count}/${total}: ${task}\n`);
  }

  #onDeliveries(batch: Delivery[]): void {
    this.#heardMs = this.#world.clock.monoMs();
    for (const delivery of batch) {
      // Other messages stay unacknowledged, and so at the source.
      if (this.#tasks.size > 0 && !this.#tasks.has(nameOf(delivery))) continue;
      this.#waiting.push(delivery);
    }
    this.#publishing ??= this.#publish();
  }

  async #publish(): Promise<void> {
    const { to, options } = this.#parts;
    try {
      while (this.#waiting.length > 0 && this.#left > 0) {
        const part = this.#waiting.splice(0, Math.min(IN_FLIGHT_MAX, this.#left));
        const batch = part.map(({ message, info, envelope }) =>
          this.#outgoing({ ...message, headers: carriedHeaders(envelope) }, info)
        );
        let failure: PublishError | null = null;
        await to.publish(batch).catch((error: unknown) => {
          if (!(error instanceof PublishError)) throw error;
          failure = error;
        });
        const unpublished = new Set<unknown>((failure as PublishError | null)?.unpublished);
        for (const [n, delivery] of part.entries()) {
          if (unpublished.has(batch[n])) continue;
          if (options.ackMessages) this.#consumer!.ack(delivery.tag);
          this.#deliver(delivery.message);
        }
        if (failure !== null) throw failure;
        this.#consumer!.wake();
      }
      // Messages beyond the limit return with the other unacknowledged ones.
      this.#waiting = [];
    } catch (error) {
      this.#failure ??= error;
      this.#world.log.error(`Cannot publish to the destination: ${errorText(error)}`);
    } finally {
      this.#publishing = null;
    }
  }
}

function nameOf({ message }: { readonly message: EncodedMessage }): string {
  const name = message.headers["task"];
  return typeof name === "string" ? name : "?";
}

function renamed(queue: Queue, name: string): Queue {
  if (name === queue.name) return queue;
  const { exchange } = queue;
  return {
    ...queue,
    name,
    routingKey: queue.routingKey === queue.name ? name : queue.routingKey,
    exchange: exchange.name === queue.name ? { ...exchange, name } : exchange,
  };
}

/** Encodes the message for the other broker: base64 in an envelope, or bytes. */
function recoded(message: EncodedMessage, to: Connection): EncodedMessage {
  const bodyEncoding = to.transport === "amqp" ? "none" : "base64";
  if (message.bodyEncoding === bodyEncoding) return message;
  return { ...message, body: encodeBody(bodyBytes(message), bodyEncoding), bodyEncoding };
}
