/**
 * What the memory and sqlite transports differ in: where messages lie and how others are woken. Everything above it
 * is one and the same (virtual.ts, virtual_consumer.ts).
 *
 * All calls are synchronous and cheap; those that write are made inside `transact`.
 */

import type { OperatingError } from "../base/mod.ts";
import type { Exchange, Queue } from "./entity.ts";
import type { RoutingTable } from "./routing.ts";
import type { Binding, DeadLetter, ParkedMessage } from "./transport.ts";

/** A message taken by a consumer and not settled. */
export interface HeldMessage {
  readonly id: number;
  readonly queue: string;
  /** How often its holder died. */
  readonly attempts: number;
  readonly envelope: string;
}

/** A held message on its way back. */
export interface ReturnedMessage {
  readonly id: number;
  readonly envelope: string;
}

/** A message of a fanout, as a subscriber reads it. `seq` grows without end and is never used twice. */
export interface FanoutRow {
  readonly seq: number;
  readonly routingKey: string;
  readonly envelope: string;
}

/** What a sweep found. */
export interface Sweep {
  readonly restored: number;
  /** The queues that got messages. */
  readonly queues: readonly string[];
}

/** Who holds a lease of the ledger, from when until when (wall clock). `owner` "": nobody. */
export interface LeaseRow {
  readonly owner: string;
  readonly token: number;
  readonly sinceMs: number;
  readonly endsMs: number;
}

/** What went wrong in a store. `isBusy`: another process writes, the same call will succeed soon. */
export interface StoreFailure {
  readonly isBusy: boolean;
  readonly error: OperatingError;
}

/** Seconds that a fanout's messages stay for subscribers who have not read them yet. */
export const FANOUT_TTL_SECONDS = 60;
/** The store of one connection. A session is what holds messages and listens; it dies with its process. */
export interface Store {
  readonly kind: "memory" | "sqlite";
  /** Whether others may die with messages in hand, so that sweeping and renewing are of use. */
  readonly isShared: boolean;

  /** Runs `fn` as one unit that is written wholly or not at all. */
  transact<T>(fn: () => T): T;
  /** What an error thrown by any call means. */
  failure(error: unknown): StoreFailure;

  declareExchange(exchange: Exchange): void;
  /** Makes queue, exchange and binding; how many messages wait. */
  declareQueue(queue: Queue): number;
  /** Deletes a queue, its bindings and what waits in it. */
  deleteQueue(name: string): void;
  /** The exchanges and bindings as they are now. */
  routing(): RoutingTable;
  bindings(): Binding[];
  /** How many messages wait, or null where there is no such queue. */
  length(name: string): number | null;
  purge(name: string): number;

  /** Adds a message at the tail of its step; makes the queue where there is none. */
  insert(queue: string, step: number, envelope: string): void;
  isReady(queue: string): boolean;
  /**
   * Takes up to `limit` messages for a session: lowest step first, in a step the queues in the order given, in a
   * queue oldest first.
   */
  fetch(session: number, queues: readonly string[], limit: number): HeldMessage[];
  /** The next message of a queue, left where it is. */
  peek(queue: string): string | null;
  /** Takes up to `limit` messages for good. */
  pop(queue: string, limit: number): string[];
  /** Deletes held messages; those that the session does not hold (any more) are left alone. */
  settle(session: number, ids: readonly number[]): void;
  /** Puts held messages, in this order, at the head or the tail of their steps; the queues they went to. */
  putBack(session: number, messages: readonly ReturnedMessage[], at: "head" | "tail"): string[];
  /** Sets a held message aside until `dueMs`; its queue, or null where the session does not hold it. */
  park(session: number, id: number, dueMs: number): string | null;
  /** When the next parked message is due, or null. */
  nextDueMs(): number | null;
  /** Puts parked messages that are due at the heads of their queues; those queues. */
  releaseDue(nowMs: number): string[];
  /** Records that the task of a held message has begun; its holder's death counts as an attempt then. */
  begun(id: number): void;
  /** The parked messages, soonest due first. */
  parked(limit: number): ParkedMessage[];
  bury(session: number, id: number, reason: string, nowMs: number): void;
  deadCount(): number;
  /** Newest first. */
  deadLetters(limit: number): DeadLetter[];
  /** Puts a dead letter at the tail of a queue's step, its attempts forgotten; false where there is none of that id. */
  revive(id: string, queue: string, step: number): boolean;
  dropDead(id: string): boolean;

  /** Adds a message for the subscribers of a fanout; nothing where there is none. */
  insertFanout(exchange: string, routingKey: string, envelope: string, nowMs: number): void;
  /** Where a subscription begins. */
  lastSeq(): number;
  fanoutAfter(exchange: string, seq: number, limit: number): FanoutRow[];
  /** How many listen to an exchange. */
  listeners(exchange: string): number;

  readLease(name: string): LeaseRow | null;
  writeLease(name: string, lease: LeaseRow): void;
  /** The records of a book of the ledger. */
  records(book: string): Map<string, string>;
  readRecord(book: string, key: string): string | null;
  /** Null deletes it. */
  writeRecord(book: string, key: string, value: string | null): void;

  openSession(name: string, leaseSeconds: number): number;
  /** Prolongs the lease; false where the session was taken for dead. */
  renewSession(session: number, leaseSeconds: number): boolean;
  /** Records that a session receives from a queue; `isSubscriber`: its own copy of a fanout's messages. */
  listen(session: number, queue: Queue, isSubscriber: boolean): void;
  /** Takes that back; a queue that deletes itself goes with its last listener. */
  unlisten(session: number, queueName: string): void;
  /** Ends a session that holds nothing. */
  closeSession(session: number): void;
  /** Restores what sessions of dead processes hold and forgets them. Outside `transact`. */
  sweep(nowMs: number): Sweep;

  /** Wakes whoever watches one of the topics, in this process and in others. Outside `transact`. */
  wake(topics: ReadonlySet<string>): void;
  /** Calls `onWake` whenever one of the topics is woken; replaces the topics watched so far. */
  watch(topics: ReadonlySet<string>, onWake: () => void): void;
  close(): void;
}

/** The topic woken when a queue gets a message. */
export function queueTopic(name: string): string {
  return `q:${name}`;
}

/** The topic woken when a fanout gets a message. */
export function fanoutTopic(name: string): string {
  return `x:${name}`;
}
