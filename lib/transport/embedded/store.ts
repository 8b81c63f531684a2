/**
 * What the memory and sqlite transports differ in: where messages lie and how others are woken. Everything above it
 * is the same for both (virtual.ts, consumer.ts).
 *
 * A store has one member for each family of what it keeps. All calls are synchronous and cheap; those that write are
 * made inside `transact`. They throw OperatingErrors; one with `isRetryable` if another process was writing.
 */

import { decodeEnvelope } from "../../wire/mod.ts";
import type { Binding, Exchange, Queue } from "../entity.ts";
import type { FailedLimits } from "../failed.ts";
import type { DeadLetter, Note, ParkedMessage } from "../message.ts";
import type { RoutingTable } from "../routing.ts";
import type { QueueStats } from "../transport.ts";

/** The store of one connection. A session is what holds messages and listens; it dies with its process. */
export interface Store {
  readonly kind: "memory" | "sqlite";
  /** Whether others may die with messages in hand, so that sweeping and renewing are of use. */
  readonly isShared: boolean;
  readonly topology: TopologyStore;
  readonly messages: MessageStore;
  readonly parked: ParkedStore;
  readonly dead: DeadStore;
  readonly failed: FailedStore;
  readonly fanouts: FanoutStore;
  readonly ledger: LedgerStore;
  readonly sessions: SessionStore;

  /** Runs `fn` as one unit that is written wholly or not at all. */
  transact<T>(fn: () => T): T;
  /** Wakes whoever watches one of the topics, in this process and in others. Outside `transact`. */
  wake(topics: ReadonlySet<string>): void;
  /** Calls `onWake` whenever one of the topics is woken; replaces the topics watched so far. */
  watch(topics: ReadonlySet<string>, onWake: () => void): void;
  close(): void;
}

/** Exchanges, queues and bindings. */
export interface TopologyStore {
  declareExchange(exchange: Exchange): void;
  /** Makes queue, exchange and binding; how many messages wait. */
  declareQueue(queue: Queue): number;
  /** Deletes a queue, its bindings and what waits in it. */
  deleteQueue(name: string): void;
  /** The exchanges and bindings as they are now. */
  routing(): RoutingTable;
  bindings(): Binding[];
}

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

/** Messages that wait in queues, and those that a session holds. */
export interface MessageStore {
  /** The queues that there are, by name. */
  names(): string[];
  /** How many messages wait, or null if there is no such queue. */
  length(queue: string): number | null;
  /** How many messages of a queue sessions hold. */
  heldOf(queue: string): number;
  purge(queue: string): number;
  isReady(queue: string): boolean;
  /** Adds a message at the tail of its step; makes the queue if there is none. */
  insert(queue: string, step: number, envelope: string): void;
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
  /** Records that the task of a held message has begun; its holder's death counts as an attempt then. */
  begun(id: number): void;
  /** Takes that back. */
  notBegun(id: number): void;
}

/** Messages that are not due yet. */
export interface ParkedStore {
  /** Parks a held message until `dueMs`; its queue, or null if the session does not hold it. */
  park(session: number, id: number, dueMs: number): string | null;
  /** When the next parked message is due, or null. */
  nextDueMs(): number | null;
  /** Puts parked messages that are due at the heads of their queues; those queues. */
  releaseDue(nowMs: number): string[];
  /** The soonest due first. */
  list(limit: number): ParkedMessage[];
  /** Deletes a parked message by its id in `list`; false if it is not parked any more. */
  drop(id: string): boolean;
  /** Deletes what is parked for a queue; how many. */
  purge(queue: string): number;
}

/** Dead letters. */
export interface DeadStore {
  /** Moves a held message here; no effect if the session does not hold it. */
  add(session: number, id: number, reason: string, nowMs: number): void;
  count(): number;
  /** Newest first. */
  list(limit: number): DeadLetter[];
  /** Puts one at the tail of a queue's step, its attempts forgotten; false if there is none of that id. */
  revive(id: string, queue: string, step: number): boolean;
  drop(id: string): boolean;
}

/** Tasks that failed for good. */
export interface FailedStore {
  keep(tasks: readonly DeadLetter[], limits: FailedLimits, nowMs: number): void;
  count(): number;
  /** Newest first. */
  list(limit: number): DeadLetter[];
  /** Deletes one; false if there is none of that id. */
  take(id: string): boolean;
}

/** A message of a fanout, as a subscriber reads it. `seq` grows without end and is never used twice. */
export interface FanoutRow {
  readonly seq: number;
  readonly routingKey: string;
  readonly envelope: string;
}

/** Seconds that a fanout's messages stay for subscribers who have not read them yet. */
export const FANOUT_TTL_SECONDS = 60;

/** Messages of fanouts, until every subscriber can have read them. */
export interface FanoutStore {
  /** Adds a message for the subscribers of a fanout; no effect if there is none. */
  insert(exchange: string, routingKey: string, envelope: string, nowMs: number): void;
  /** Where a subscription begins. */
  lastSeq(): number;
  after(exchange: string, seq: number, limit: number): FanoutRow[];
}

/** Who holds a lease of the ledger, from when until when (wall clock). `owner` "": nobody. */
export interface LeaseRow {
  readonly owner: string;
  readonly token: number;
  readonly sinceMs: number;
  readonly endsMs: number;
}

/** Leases, and records by namespace and key. */
export interface LedgerStore {
  readLease(name: string): LeaseRow | null;
  writeLease(name: string, lease: LeaseRow): void;
  records(namespace: string): Map<string, string>;
  readRecord(namespace: string, key: string): string | null;
  /** Null deletes it. */
  writeRecord(namespace: string, key: string, value: string | null): void;
}

/** What a sweep found. */
export interface Sweep {
  readonly restored: number;
  /** The queues that got messages. */
  readonly queues: readonly string[];
}

/** Sessions, and the queues that they listen to. */
export interface SessionStore {
  open(name: string, leaseSeconds: number): number;
  /** Prolongs the lease; false if the session was taken for dead. */
  renew(session: number, leaseSeconds: number): boolean;
  /** Records that a session receives from a queue; `isSubscriber`: its own copy of a fanout's messages. */
  listen(session: number, queue: Queue, isSubscriber: boolean): void;
  /** Takes that back; a queue that deletes itself goes with its last listener. */
  unlisten(session: number, queueName: string): void;
  /** How many listen to an exchange. */
  listeners(exchange: string): number;
  /** Ends a session that holds nothing. */
  close(session: number): void;
  /** Restores what sessions of dead processes hold and forgets them. Outside `transact`. */
  sweep(nowMs: number): Sweep;
}

/** The topic woken when a queue gets a message. */
export function queueTopic(name: string): string {
  return `q:${name}`;
}

/** The topic woken when a fanout gets a message. */
export function fanoutTopic(name: string): string {
  return `x:${name}`;
}

/** What waits in a queue; null if there is no queue of that name. */
export function statsOf({ messages }: Store, queue: string): QueueStats | null {
  const ready = messages.length(queue);
  if (ready === null) return null;
  return {
    ready,
    priorities: [],
    next: messages.peek(queue),
    unacked: messages.heldOf(queue),
    consumers: null,
  };
}

/** Takes the next message of a queue for good; null: it is empty. */
export function takeNote({ messages }: Store, queue: string): Note | null {
  const text = messages.peek(queue);
  if (text === null) return null;
  const { message, info } = decodeEnvelope(text);
  messages.pop(queue, 1);
  return { message, info };
}
