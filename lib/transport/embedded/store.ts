/**
 * The interface in which the memory and sqlite transports differ: where messages are stored and how other
 * connections are woken. All code above it serves both (virtual.ts, consumer.ts).
 *
 * A store has one member for each kind of data. All calls are synchronous and cheap; calls that write are
 * made inside `transact`. They throw OperatingErrors, with `isRetryable` if another process was writing.
 */

import { decodeEnvelope } from "../../wire/mod.ts";
import type { Binding, Exchange, Queue } from "../entity.ts";
import type { FailedLimits } from "../failed.ts";
import type { DeadLetter, Note, ParkedMessage } from "../message.ts";
import type { RoutingTable } from "../routing.ts";
import type { QueueStats } from "../transport.ts";

/** The store of one connection. A session holds messages and listens to queues; it ends with its process. */
export interface Store {
  readonly kind: "memory" | "sqlite";
  /** Whether other processes may die while they hold messages, so that sweeps and leases are needed. */
  readonly isShared: boolean;
  readonly topology: TopologyStore;
  readonly messages: MessageStore;
  readonly parked: ParkedStore;
  readonly dead: DeadStore;
  readonly failed: FailedStore;
  readonly fanouts: FanoutStore;
  readonly ledger: LedgerStore;
  readonly sessions: SessionStore;

  /** Runs `fn` as one transaction. */
  transact<T>(fn: () => T): T;
  /** Wakes the watchers of the topics, in this process and in others. Called outside of `transact`. */
  wake(topics: ReadonlySet<string>): void;
  /** Calls `onWake` whenever one of the topics is woken; replaces the topics of the last call. */
  watch(topics: ReadonlySet<string>, onWake: () => void): void;
  close(): void;
}

/** Exchanges, queues and bindings. */
export interface TopologyStore {
  declareExchange(exchange: Exchange): void;
  /** Declares queue, exchange and binding; returns how many messages wait. */
  declareQueue(queue: Queue): number;
  /** Deletes a queue, its bindings and its waiting messages. */
  deleteQueue(name: string): void;
  /** Returns the current exchanges and bindings. */
  routing(): RoutingTable;
  bindings(): Binding[];
}

/** A message that a consumer has fetched and not settled. */
export interface HeldMessage {
  readonly id: number;
  readonly queue: string;
  /** How often a process died while it held the message. */
  readonly attempts: number;
  readonly envelope: string;
}

/** A held message that is returned to its queue. */
export interface ReturnedMessage {
  readonly id: number;
  readonly envelope: string;
}

/** Messages that wait in queues, and those that a session holds. */
export interface MessageStore {
  /** Lists the names of all queues, in order. */
  names(): string[];
  /** Counts waiting messages; null if there is no such queue. */
  length(queue: string): number | null;
  /** Counts the messages of a queue that sessions hold. */
  heldOf(queue: string): number;
  purge(queue: string): number;
  isReady(queue: string): boolean;
  /** Adds a message at the tail of its step; creates the queue if there is none. */
  insert(queue: string, step: number, envelope: string): void;
  /**
   * Fetches up to `limit` messages for a session: lowest step first, then in the order of `queues`, then
   * oldest first.
   */
  fetch(session: number, queues: readonly string[], limit: number): HeldMessage[];
  /** Returns the next message of a queue without removing it. */
  peek(queue: string): string | null;
  /** Removes and returns up to `limit` messages. */
  pop(queue: string, limit: number): string[];
  /** Deletes held messages; ignores those that the session does not hold (any more). */
  settle(session: number, ids: readonly number[]): void;
  /** Puts held messages, in this order, at the head or the tail of their steps; returns their queues. */
  putBack(session: number, messages: readonly ReturnedMessage[], at: "head" | "tail"): string[];
  /** Records that the task of a held message has begun, so that its holder's death counts as an attempt. */
  begun(id: number): void;
  /** Reverts `begun`. */
  notBegun(id: number): void;
}

/** Messages that are not due yet. */
export interface ParkedStore {
  /** Parks a held message until `dueMs`; returns its queue, or null if the session does not hold it. */
  park(session: number, id: number, dueMs: number): string | null;
  /** Returns when the next parked message is due; null if there is none. */
  nextDueMs(): number | null;
  /** Moves due messages to the heads of their queues; returns those queues. */
  releaseDue(nowMs: number): string[];
  /** Lists parked messages, soonest due first. */
  list(limit: number): ParkedMessage[];
  /** Deletes a parked message by its id in `list`; returns false if it is no longer parked. */
  drop(id: string): boolean;
  /** Deletes the messages parked for a queue; returns how many. */
  purge(queue: string): number;
}

/** Dead letters. */
export interface DeadStore {
  /** Moves a held message to the dead letters; no effect if the session does not hold it. */
  add(session: number, id: number, reason: string, nowMs: number): void;
  count(): number;
  /** Newest first. */
  list(limit: number): DeadLetter[];
  /**
   * Moves a letter to the tail of a queue's step and resets its attempts; returns false if there is none of
   * that id.
   */
  revive(id: string, queue: string, step: number): boolean;
  drop(id: string): boolean;
}

/** Tasks that failed for good. */
export interface FailedStore {
  keep(tasks: readonly DeadLetter[], limits: FailedLimits, nowMs: number): void;
  count(): number;
  /** Newest first. */
  list(limit: number): DeadLetter[];
  /** Deletes a task; returns false if there is none of that id. */
  take(id: string): boolean;
}

/** A message of a fanout, as a subscriber reads it. `seq` always grows and is never used twice. */
export interface FanoutRow {
  readonly seq: number;
  readonly routingKey: string;
  readonly envelope: string;
}

/** Seconds that a fanout's messages are kept for subscribers that have not read them yet. */
export const FANOUT_TTL_SECONDS = 60;

/** Messages of fanouts, kept until every subscriber has had time to read them. */
export interface FanoutStore {
  /** Adds a message for the subscribers of a fanout; no effect if there is none. */
  insert(exchange: string, routingKey: string, envelope: string, nowMs: number): void;
  /** Returns the last `seq` in use, after which a new subscription begins. */
  lastSeq(): number;
  after(exchange: string, seq: number, limit: number): FanoutRow[];
}

/** The holder of a lease of the ledger, from `sinceMs` to `endsMs` (wall clock). `owner` "": nobody. */
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
  /** Writes a record; null deletes it. */
  writeRecord(namespace: string, key: string, value: string | null): void;
}

/** The result of a sweep. */
export interface Sweep {
  readonly restored: number;
  /** The queues that messages were restored to. */
  readonly queues: readonly string[];
}

/** Sessions, and the queues that they listen to. */
export interface SessionStore {
  open(name: string, leaseSeconds: number): number;
  /** Prolongs the lease; returns false if the session was declared dead. */
  renew(session: number, leaseSeconds: number): boolean;
  /**
   * Records that a session receives from a queue; `isSubscriber`: it gets its own copy of a fanout's
   * messages.
   */
  listen(session: number, queue: Queue, isSubscriber: boolean): void;
  /** Reverts `listen`; an `autoDelete` queue is deleted with its last listener. */
  unlisten(session: number, queueName: string): void;
  /** Counts the listeners of an exchange. */
  listeners(exchange: string): number;
  /** Ends a session that holds no messages. */
  close(session: number): void;
  /** Restores the messages of dead processes' sessions and deletes these. Called outside of `transact`. */
  sweep(nowMs: number): Sweep;
}

/** Returns the topic that is woken when a queue gets a message. */
export function queueTopic(name: string): string {
  return `q:${name}`;
}

/** Returns the topic that is woken when a fanout gets a message. */
export function fanoutTopic(name: string): string {
  return `x:${name}`;
}

/** Describes a queue; null if there is no queue of that name. */
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

/** Removes and returns the next message of a queue; null if the queue is empty. */
export function takeNote({ messages }: Store, queue: string): Note | null {
  const text = messages.peek(queue);
  if (text === null) return null;
  const { message, info } = decodeEnvelope(text);
  messages.pop(queue, 1);
  return { message, info };
}
