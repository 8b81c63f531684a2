/**
 * The ledger on RabbitMQ: a lease is an exclusive queue, which the broker deletes with its connection; a
 * namespace is a queue of changes, and a change goes into it in one transaction with its message.
 *
 * The lease's holder publishes on the same connection. If the connection is lost, so are the lease and the
 * means to publish: a former holder cannot publish any more. A namespace belongs to its lease's holder, which
 * has read it and is the only one that writes it. From time to time all records are written as one change,
 * and older changes are dropped from the queue's head.
 *
 * Source: RabbitMQ "Queues: Exclusive", "Queue Length Limit", "Broker Semantics" (tx).
 */

import { type AmqpChannel, type AmqpConnection, isLowOnDisk } from "../../amqp/mod.ts";
import { errorText, ServerError, type World } from "../../base/mod.ts";
import { AmqpProperties, fromTypedJson, toJson } from "../../wire/mod.ts";
import { AmqpControl, withLogin } from "./control.ts";
import { bodyText, toAmqpBody, toAmqpProperties } from "./message.ts";
import { isReturned, LOW_ON_DISK, LOW_ON_DISK_MS } from "./publish.ts";
import type { LeaseState, Ledger, LedgerEntry, LedgerScope } from "../ledger.ts";
import type { OutgoingMessage } from "../message.ts";

/**
 * Reported as the time that another's lease has left. The broker cannot tell: the lease ends with its
 * connection.
 */
const ASK_AGAIN_MS = 5000;
/**
 * After so many changes all records are written. The queue holds twice as many changes, so always one with
 * all records.
 */
const CHANGES_PER_WHOLE = 100;
const CHANGES_MAX = 2 * CHANGES_PER_WHOLE + 50;
/**
 * A queue of records that was not used for so long expires (the broker's limit is 49.7 days); its holder uses
 * it once a day.
 */
const KEPT_MS = 49 * 86_400_000;
const RENEW_MS = 86_400_000;

/** A change as stored in the records' queue. `whole`: it has all records and replaces earlier changes. */
interface Change {
  readonly whole: boolean;
  readonly set: Readonly<Record<string, string | null>>;
}

/** Options of `AmqpLedger`. */
export interface AmqpLedgerOptions {
  /** The connection that publishes. */
  readonly main: AmqpConnection;
  /**
   * Resolves with a message that is not due as published to the delay exchange; any other message unchanged.
   */
  delayed(out: OutgoingMessage): Promise<OutgoingMessage>;
  /** Publishes returned messages outside of a transaction, which declares their missing queues again. */
  publish(batch: readonly OutgoingMessage[]): Promise<void>;
}

/** The ledger of one connection. It holds one lease at a time, and its records. */
export class AmqpLedger implements Ledger {
  #world: World;
  #options: AmqpLedgerOptions;
  #control: AmqpControl;
  #channel: AmqpChannel | null = null;
  #held: { name: string; token: number } | null = null;
  #records: Map<string, string> | null = null;
  #changes = 0;
  #renewedMs = 0;

  constructor(world: World, options: AmqpLedgerOptions) {
    this.#world = world;
    this.#options = options;
    this.#control = new AmqpControl(options.main);
  }

  async lease(name: string, _owner: string, ms: number, _token: number): Promise<LeaseState> {
    if (this.#held?.name !== name) {
      if (this.#held) await this.release(this.#held.name, this.#held.token);
      try {
        await this.#control.run((channel) =>
          channel.call("queue.declare", { queue: leaseQueue(name), exclusive: true }, "take a lease")
        );
      } catch (error) {
        if (error instanceof ServerError && error.code === "405") {
          return { token: 0, leftMs: ASK_AGAIN_MS };
        }
        throw error;
      }
      this.#hold(name);
    }
    return { token: this.#held!.token, leftMs: ms };
  }

  queueOf(name: string): string {
    return leaseQueue(name);
  }

  async release(name: string, token: number): Promise<void> {
    if (this.#held?.name !== name || this.#held.token !== token) return;
    this.#held = null;
    this.#records = null;
    await this.#control.run((channel) =>
      channel.call("queue.delete", { queue: leaseQueue(name) }, "give a lease up")
    );
  }

  /** Reads the records of the held lease; empty without a lease. */
  async records(namespace: string): Promise<Map<string, string>> {
    if (!this.#held) return new Map();
    const queue = recordsQueue(namespace, this.#held.name);
    const channel = await this.#open();
    await this.#renew(queue);
    const records = new Map<string, string>();
    let tag: number | null = null;
    for (let message; (message = await channel.get(queue, false)) !== null;) {
      tag = message.call.args["delivery-tag"] as number;
      const change = readChange(message.body);
      if (change?.whole) records.clear();
      for (const [key, value] of Object.entries(change?.set ?? {})) {
        if (value === null) records.delete(key);
        else records.set(key, value);
      }
    }
    // Read and written again in one step: a beat that dies in between has changed nothing.
    if (tag !== null) {
      this.#write(channel, queue, { whole: true, set: Object.fromEntries(records) });
      channel.ack(tag, true);
      await channel.call("tx.commit", {}, "write records of the ledger");
    }
    this.#changes = 0;
    this.#records = records;
    return new Map(records);
  }

  async forget(namespace: string, keys: readonly string[]): Promise<void> {
    if (!this.#held || !this.#records || keys.length === 0) return;
    const channel = await this.#open();
    const set = Object.fromEntries(keys.map((key) => [key, null]));
    this.#write(channel, recordsQueue(namespace, this.#held.name), { whole: false, set });
    await channel.call("tx.commit", {}, "forget records");
    for (const key of keys) this.#records.delete(key);
  }

  async commit(under: LedgerScope, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null> {
    const held = this.#held;
    if (held === null || held.name !== under.lease || held.token !== under.token) return null;
    if (this.#records === null) await this.records(under.namespace);
    const records = this.#records!;
    const queue = recordsQueue(under.namespace, held.name);
    const set: Record<string, string> = {};
    const messages: OutgoingMessage[] = [];
    const found = entries.map(({ key, expected, value, message }) => {
      const there = records.get(key) ?? null;
      if (there !== null && there !== expected) return there;
      set[key] = value;
      if (message !== null) messages.push(message);
      return null;
    });
    if (Object.keys(set).length === 0) return found;
    const outgoing: OutgoingMessage[] = [];
    for (const message of messages) outgoing.push(await this.#options.delayed(message));
    if (this.#world.clock.wallMs() - this.#renewedMs > RENEW_MS) await this.#renew(queue);
    const isWhole = ++this.#changes >= CHANGES_PER_WHOLE;
    if (isWhole) this.#changes = 0;
    const change = { whole: isWhole, set: isWhole ? { ...Object.fromEntries(records), ...set } : set };
    let returned: OutgoingMessage[];
    try {
      returned = await withLogin(this.#options.main, () => this.#transact(outgoing, queue, change));
    } catch (error) {
      // Only the records tell whether the change was made: the next holder reads them, under a new token.
      this.#hold(held.name);
      throw error;
    }
    for (const [key, value] of Object.entries(set)) records.set(key, value);
    if (returned.length > 0) {
      await this.#options.publish(returned).catch((error: unknown) =>
        this.#world.log.error(errorText(error))
      );
    }
    return found;
  }

  /**
   * Publishes and writes a change in one transaction; resolves with the returned messages, which reach no
   * queue.
   */
  async #transact(
    outgoing: readonly OutgoingMessage[],
    queue: string,
    change: Change,
  ): Promise<OutgoingMessage[]> {
    const { main } = this.#options;
    for (;;) {
      const channel = await this.#open();
      // Messages that reach no queue are returned before the transaction is answered.
      const returned: OutgoingMessage[] = [];
      channel.onReturn = (received) => returned.push(...outgoing.filter((out) => isReturned(out, received)));
      try {
        for (const { exchange, routingKey, message, isMandatory = false } of outgoing) {
          channel.publish(
            { exchange, routingKey, mandatory: isMandatory },
            toAmqpProperties(message),
            toAmqpBody(message),
          );
        }
        this.#write(channel, queue, change);
        await channel.call("tx.commit", {}, "publish what is due");
        main.taken();
        return returned;
      } catch (error) {
        await channel.close();
        // The channel ended before the transaction, so nothing of it was done.
        if (!isLowOnDisk(error) || main.isLost) throw error;
        main.hold(LOW_ON_DISK, LOW_ON_DISK_MS);
      }
    }
  }

  /** Records that we hold the lease, under a new token. */
  #hold(name: string): void {
    const token = Math.max(Math.floor(this.#world.clock.wallMs()), (this.#held?.token ?? 0) + 1);
    this.#held = { name, token };
    this.#records = null;
  }

  /** Resolves with the channel of the transactions. */
  async #open(): Promise<AmqpChannel> {
    const { main } = this.#options;
    if (main.blockedReason !== null) await main.unblocked();
    if (this.#channel === null || this.#channel.isLost) {
      const channel = await main.openChannel();
      await channel.call("tx.select", {}, "begin transactions");
      this.#channel = channel;
    }
    return this.#channel;
  }

  /** Declares the records' queue, which restarts its expiry. */
  async #renew(queue: string): Promise<void> {
    await this.#control.run((channel) =>
      channel.call("queue.declare", {
        queue,
        durable: true,
        arguments: { "x-max-length": CHANGES_MAX, "x-expires": KEPT_MS },
      }, `declare queue "${queue}"`)
    );
    this.#renewedMs = this.#world.clock.wallMs();
  }

  #write(channel: AmqpChannel, queue: string, change: Change): void {
    const to = { exchange: "", routingKey: queue, mandatory: false };
    const properties = new AmqpProperties();
    properties.contentType = "application/json";
    properties.deliveryMode = 2;
    channel.publish(to, properties, toJson(change));
  }
}

function leaseQueue(name: string): string {
  return `lovage.lease.${name}`;
}

function recordsQueue(namespace: string, lease: string): string {
  // A lease's name usually begins with its namespace; the queue's name has it once.
  return `lovage.book.${lease.startsWith(namespace) ? lease : `${namespace}.${lease}`}`;
}

/** Parses a change; null for any other text, which is ignored. */
function readChange(body: Uint8Array | string): Change | null {
  try {
    const change = fromTypedJson(bodyText(body)) as Partial<Change> | null;
    if (typeof change?.set !== "object" || change.set === null) return null;
    return { whole: change.whole === true, set: change.set };
  } catch {
    return null;
  }
}
