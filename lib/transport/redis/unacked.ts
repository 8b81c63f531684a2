/**
 * The messages that a consumer holds, and how they are settled: the acks of a turn leave as one HDEL and one
 * ZREM.
 *
 * HDEL goes first. If the connection breaks between the two, a row of the index is left without its message,
 * and every sweep, ours and Python's, drops such a row. The other order could leave a message that no sweep
 * ever finds.
 */

import { assert, type Clock, type Log, SeqMap } from "../../base/mod.ts";
import {
  isMovedError,
  type RedisConnection,
  type ReplySink,
  type Script,
  sendScript,
  toOperatingError,
} from "../../redis/mod.ts";
import {
  type EncodedArgs,
  markedIfEnvelope,
  numberedArgs,
  type Reply,
  type RespArg,
  RespError,
} from "../../wire/mod.ts";
import type { RedisKeys } from "./keys.ts";
import { DEAD_LETTER, GIVE_BACK, PARK } from "./scripts.ts";

/** What all parts of one consumer share. */
export interface ConsumerBase {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly log: Log;
  readonly clock: Clock;
  /** The lease's id; tags are `<id>:<number>`. */
  readonly id: string;
  /** False: nothing is recorded (`ack_emulation` off). */
  readonly isRecording: boolean;
  /** True: a failover may replace the server by one that lacks the latest writes. */
  readonly isCluster: boolean;
}

/** A message that this consumer holds. */
export interface Held {
  readonly queue: string;
  readonly envelope: string;
  readonly priority: number;
  /** Whether it was delivered to the consumer's owner. */
  readonly isDelivered: boolean;
}

/** How a held message that is not recorded yet is recorded. */
export interface Unrecorded {
  /** Appends its record. */
  record(): void;
  /** The connection was lost before the message was recorded: only this process has it. */
  onLost(): void;
}

/**
 * A settlement that has been sent. Until its reply has come it is not known whether the server has made it.
 * Settlements go by tag and are idempotent, so they may be sent again.
 */
export class Settlement implements ReplySink {
  /** The acknowledged tags; null if it is not an ack. */
  readonly tags: EncodedArgs | null;
  /** The script of a settlement that is not an ack. */
  readonly script: Script | null;
  readonly args: readonly RespArg[];
  /** Replies that have not come yet: an ack is two commands. */
  #left: number;
  #onDone: (settlement: Settlement, reply: Reply, isLast: boolean) => void;

  constructor(
    what: { tags?: EncodedArgs; script?: Script; args?: readonly RespArg[] },
    onDone: (settlement: Settlement, reply: Reply, isLast: boolean) => void,
  ) {
    this.tags = what.tags ?? null;
    this.script = what.script ?? null;
    this.args = what.args ?? [];
    this.#left = this.tags === null ? 1 : 2;
    this.#onDone = onDone;
  }

  onReply(reply: Reply): void {
    this.#onDone(this, reply, --this.#left === 0);
  }

  /** Stays open: the next connection sends it again. */
  onLost(): void {}
}

/** Milliseconds that a message may go unrecorded: long enough for a slot to begin it, which acknowledges it. */
const UNRECORDED_MS = 2;
/** How many tags one command carries at most. */
const TAGS_MAX = 500;
/** How many envelopes one script carries at most. */
const ENVELOPES_MAX = 100;

/** The unsettled messages of one consumer. */
export class Unacked {
  #base: ConsumerBase;
  #prefix: string;
  #held = new SeqMap<Held>();
  #acked: number[] = [];
  #unrecorded = new Map<number, Unrecorded>();
  #isRecordArmed = false;
  /** Settlements sent and not yet confirmed. */
  #open = new Set<Settlement>();
  #onGivenBack: () => void;

  /**
   * `onGivenBack` is called when this connection has put messages back into a list, which tracking does not
   * report.
   */
  constructor(base: ConsumerBase, onGivenBack: () => void) {
    this.#base = base;
    this.#prefix = `${base.id}:`;
    this.#onGivenBack = onGivenBack;
  }

  /** How many are unsettled. */
  get size(): number {
    return this.#held.size;
  }

  /** Whether a message is unsettled. */
  has(number: number): boolean {
    return this.#held.has(number);
  }

  /** Returns the numbers of the unsettled messages, in order of arrival. */
  numbers(): number[] {
    return this.#held.keys();
  }

  /** Whether a settlement waits for its reply. */
  get hasOpenSettlements(): boolean {
    return this.#open.size > 0;
  }

  /** Returns the settlements that may not have reached the server, in their order. */
  openSettlements(): Settlement[] {
    const written = [...this.#open];
    if (this.#acked.length === 0) return written;
    return [...written, new Settlement({ tags: numberedArgs(this.#prefix, this.#acked) }, () => {})];
  }

  /** Holds a message. Data lane: per message. */
  hold(number: number, held: Held): void {
    this.#held.set(number, held);
  }

  /**
   * Holds a message that the server does not have. It is recorded after UNRECORDED_MS, or before a settlement
   * that is not an ack. If it is acked sooner, the server never gets it.
   */
  holdUnrecorded(number: number, held: Held, unrecorded: Unrecorded): void {
    this.#held.set(number, held);
    this.#unrecorded.set(number, unrecorded);
    if (this.#isRecordArmed) return;
    this.#isRecordArmed = true;
    const { clock } = this.#base;
    clock.arm(clock.monoMs() + UNRECORDED_MS, () => {
      this.#isRecordArmed = false;
      this.recordAll();
    });
  }

  /**
   * Keeps a message unrecorded after the server refused the record, which is sent again with the next one or
   * before the message is settled.
   */
  stayUnrecorded(number: number, unrecorded: Unrecorded): void {
    this.#unrecorded.set(number, unrecorded);
  }

  /** Records the messages that are not recorded yet. */
  recordAll(): void {
    for (const number of [...this.#unrecorded.keys()]) this.#record(number);
  }

  /** Called when the connection is lost: notifies the unrecorded messages. */
  lose(): void {
    const lost = [...this.#unrecorded.values()];
    this.#unrecorded.clear();
    for (const one of lost) one.onLost();
  }

  #record(number: number): void {
    const unrecorded = this.#unrecorded.get(number);
    this.#unrecorded.delete(number);
    unrecorded?.record();
  }

  /** Acknowledges a message. Data lane: per message. */
  ack(number: number): void {
    assert(this.#held.delete(number), "a delivery is settled once");
    if (!this.#base.isRecording) return;
    if (this.#unrecorded.size > 0 && this.#unrecorded.delete(number)) return;
    this.#acked.push(number);
    if (this.#acked.length === 1) this.#base.connection.touch();
  }

  /** Puts a message back at the head (`restore`) or the back of its queue, marked as redelivered. */
  giveBack(number: number, where: "head" | "back"): void {
    const held = this.#take(number);
    const { connection, keys, isRecording } = this.#base;
    const list = keys.listFor(held.queue, held.priority);
    const push = where === "head" ? "RPUSH" : "LPUSH";
    const envelope = markedIfEnvelope(held.envelope);
    if (!isRecording) {
      connection.send([push, list, envelope], {
        onReply: (reply) => {
          this.#check(reply);
          this.#onGivenBack();
        },
        onLost: () => {},
      });
      return;
    }
    const args = [keys.unacked, keys.unackedIndex, list, push, this.#prefix + number, envelope];
    this.#run(GIVE_BACK, args);
  }

  /**
   * Parks a message until `dueMs` (wall clock) under the tag `parkedTag`. `dueMs` is also its score for
   * sweeps.
   */
  park(number: number, parkedTag: string, dueMs: number): void {
    this.#take(number);
    const { keys } = this.#base;
    const args = [
      keys.unacked,
      keys.unackedIndex,
      keys.parked,
      this.#prefix + number,
      parkedTag,
      dueMs / 1000,
      dueMs / 1000,
    ];
    this.#run(PARK, args);
  }

  /** Moves a message to the dead letters, as the document that `document` returns. */
  deadLetter(number: number, document: (held: Held) => string): void {
    const held = this.#take(number);
    const { keys } = this.#base;
    const args = [keys.unacked, keys.unackedIndex, keys.dead, this.#prefix + number, document(held)];
    this.#run(DEAD_LETTER, args);
  }

  /** Appends the acks made since the last call. Called right before each write. */
  writeAcks(): void {
    const acked = this.#acked;
    if (acked.length === 0) return;
    const { connection, keys } = this.#base;
    for (let from = 0; from < acked.length; from += TAGS_MAX) {
      const tags = numberedArgs(this.#prefix, acked.slice(from, from + TAGS_MAX));
      const settlement = new Settlement({ tags }, this.#onDone);
      this.#open.add(settlement);
      sendAcks(connection, keys, tags, settlement, settlement);
    }
    acked.length = 0;
  }

  /**
   * Restores all messages to the heads of their queues, so that the oldest is fetched first. Messages that
   * were never delivered are not marked as redelivered. Resolves with how many were restored, which is fewer
   * if the connection is lost.
   */
  async restoreAll(): Promise<number> {
    this.recordAll();
    const held = this.#held.keys().reverse().map((key): [number, Held] => [key, this.#held.get(key)!]);
    this.#held.clear();
    let restored = 0;
    for (const { list, items } of runsByList(held, this.#base.keys)) {
      restored += await this.#restore(list, items);
    }
    return restored;
  }

  #restore(list: string, items: [number, Held][]): Promise<number> {
    const { connection, keys, isRecording } = this.#base;
    const args: RespArg[] = isRecording ? [keys.unacked, keys.unackedIndex, list, "RPUSH"] : ["RPUSH", list];
    for (const [number, { envelope, isDelivered }] of items) {
      if (isRecording) args.push(this.#prefix + number);
      args.push(isDelivered ? markedIfEnvelope(envelope) : envelope);
    }
    return new Promise((resolve) => {
      const sink: ReplySink = {
        onReply: (reply) => {
          this.#check(reply);
          resolve(typeof reply === "number" ? isRecording ? reply : items.length : 0);
        },
        onLost: () => resolve(0),
      };
      if (isRecording) sendScript(connection, GIVE_BACK, 3, args, sink);
      else connection.send(args, sink);
    });
  }

  #run(script: Script, args: readonly RespArg[]): void {
    const settlement = new Settlement({ script, args }, this.#onDone);
    this.#open.add(settlement);
    sendScript(this.#base.connection, script, 3, args, settlement);
  }

  // A field, so that all settlements share one function.
  #onDone = (settlement: Settlement, reply: Reply, isLast: boolean): void => {
    if (isLast) this.#open.delete(settlement);
    this.#check(reply);
    if (settlement.script === GIVE_BACK) this.#onGivenBack();
  };

  #take(number: number): Held {
    const held = this.#held.get(number);
    assert(held !== undefined, "a delivery is settled once");
    this.#held.delete(number);
    this.#record(number);
    return held;
  }

  #check(reply: Reply): void {
    if (!(reply instanceof RespError)) return;
    const error = toOperatingError(reply, "settle messages");
    // The record stays at the broker. On a server that accepts no writes nothing can be settled; a new
    // connection may find the one that does.
    if (isMovedError(reply)) this.#base.connection.fail(error);
    else this.#base.log.error(error.message);
  }
}

/**
 * Appends the acks of some tags, the record first (see the head of this file). `first` and `last` get the
 * replies.
 */
export function sendAcks(
  connection: RedisConnection,
  keys: RedisKeys,
  tags: EncodedArgs,
  first: ReplySink,
  last: ReplySink,
): void {
  connection.send(["HDEL", keys.unacked, tags], first);
  connection.send(["ZREM", keys.unackedIndex, tags], last);
}

/** Groups consecutive messages of one list, which keeps the order and makes few commands. */
function runsByList(held: [number, Held][], keys: RedisKeys): { list: string; items: [number, Held][] }[] {
  const runs: { list: string; items: [number, Held][] }[] = [];
  for (const item of held) {
    const list = keys.listFor(item[1].queue, item[1].priority);
    const last = runs.at(-1);
    if (last !== undefined && last.list === list && last.items.length < ENVELOPES_MAX) last.items.push(item);
    else runs.push({ list, items: [item] });
  }
  return runs;
}
