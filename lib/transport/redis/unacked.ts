/**
 * What a consumer holds and how it is settled: acks collected during a turn leave as one HDEL and one ZREM.
 *
 * HDEL goes first. If the connection breaks between the two, a row of the index is left whose message is gone: every
 * sweep, ours and Python's, finds nothing for it and drops it. The other order could leave a message that no sweep
 * would ever look at.
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

/** What every part of one consumer works with. */
export interface ConsumerBase {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly log: Log;
  readonly clock: Clock;
  /** The lease's id; tags are `<id>:<number>`. */
  readonly id: string;
  /** False: nothing is recorded (`ack_emulation` off). */
  readonly isRecording: boolean;
  /** True: the server may be replaced by one that has not heard of the last moment (a cluster's failover). */
  readonly isCluster: boolean;
}

/** A message in our hands. */
export interface Held {
  readonly queue: string;
  readonly envelope: string;
  readonly priority: number;
  /** Whether the owner of the consumer has seen it. */
  readonly isDelivered: boolean;
}

/** A message in our hands that is not recorded yet. */
export interface Unrecorded {
  /** Appends its record. */
  record(): void;
  /** The connection went before it was recorded: nobody but us has it. */
  onLost(): void;
}

/**
 * A settlement that has been sent. Until its reply has come nobody knows whether the server did it; done twice it is
 * done once, since all of them go by the tag.
 */
export class Settlement implements ReplySink {
  /** The tags that are done with; null for another settlement. */
  readonly tags: EncodedArgs | null;
  /** What else is done, where it is not an ack. */
  readonly script: Script | null;
  readonly args: readonly RespArg[];
  /** Replies that have not come: an ack is two commands. */
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
  /** Sent, and not known to be done. */
  #open = new Set<Settlement>();
  #onGivenBack: () => void;

  /** `onGivenBack` is called when messages went back to a list by our own hand, which tracking does not report. */
  constructor(base: ConsumerBase, onGivenBack: () => void) {
    this.#base = base;
    this.#prefix = `${base.id}:`;
    this.#onGivenBack = onGivenBack;
  }

  /** How many are unsettled. */
  get size(): number {
    return this.#held.size;
  }

  /** Whether one is unsettled. */
  has(number: number): boolean {
    return this.#held.has(number);
  }

  /** The numbers of all that are unsettled, in order of arrival. */
  numbers(): number[] {
    return this.#held.keys();
  }

  /** Whether something was sent whose reply has not come. */
  get hasOpenSettlements(): boolean {
    return this.#open.size > 0;
  }

  /** The settlements that the server may not have heard of, in their order. */
  openSettlements(): Settlement[] {
    const written = [...this.#open];
    if (this.#acked.length === 0) return written;
    return [...written, new Settlement({ tags: numberedArgs(this.#prefix, this.#acked) }, () => {})];
  }

  /** Takes a message in hand. Data lane: per message. */
  hold(number: number, held: Held): void {
    this.#held.set(number, held);
  }

  /**
   * Takes in hand what nobody else has. It is recorded in UNRECORDED_MS, and before anything but an ack is done with
   * it; acked sooner, the server never hears of it.
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

  /** The server refused the record: it is tried again with the next one, or before the message is settled. */
  stayUnrecorded(number: number, unrecorded: Unrecorded): void {
    this.#unrecorded.set(number, unrecorded);
  }

  /** Records what is not. */
  recordAll(): void {
    for (const number of [...this.#unrecorded.keys()]) this.#record(number);
  }

  /** The connection is gone, and with it the way to record anything. */
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

  /** Appends the settlement: done with. Data lane: per message. */
  ack(number: number): void {
    assert(this.#held.delete(number), "a delivery is settled once");
    if (!this.#base.isRecording) return;
    if (this.#unrecorded.size > 0 && this.#unrecorded.delete(number)) return;
    this.#acked.push(number);
    if (this.#acked.length === 1) this.#base.connection.touch();
  }

  /** Gives one back: to the head of its queue (`restore`) or the back, marked as redelivered. */
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

  /** Parks one until `dueMs` (wall clock), which is also what sweeps go by, under the name `parkedTag`. */
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

  /** Moves one to the dead letters as `document` makes it. */
  deadLetter(number: number, document: (held: Held) => string): void {
    const held = this.#take(number);
    const { keys } = this.#base;
    const args = [keys.unacked, keys.unackedIndex, keys.dead, this.#prefix + number, document(held)];
    this.#run(DEAD_LETTER, args);
  }

  /** Appends what was acked since the last time. Called right before each write. */
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
   * Gives everything back to the heads of its queues, oldest to be taken first. What the owner never saw goes back
   * unmarked. Resolves with how many were still ours; with fewer where the connection went.
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

  // One function for all settlements.
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
    // The record stays with the broker: on a server that takes no writes from us nothing can be settled, and a new
    // connection may find the one that does.
    if (isMovedError(reply)) this.#base.connection.fail(error);
    else this.#base.log.error(error.message);
  }
}

/** Appends the acks of some tags: the record first (see the head of this file). `last` hears the second reply. */
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

/** Consecutive messages of one list together, so that order is kept and commands are few. */
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
