/**
 * Celery's view of a broker: the interface that memory, sqlite, redis and amqp implement.
 *
 * Two lanes. Connecting, declaring, purging and subscribing are ordinary async calls. A Consumer is the data
 * lane: deliveries arrive in batches through a callback, and `ack` and `reject` only append to the output
 * that is written at the end of the turn; neither makes a promise.
 *
 * Who holds a message: the queue, until it is fetched; from then the broker's record of unsettled messages, under
 * this consumer's lease, until `ack` or `reject` has reached the broker. A consumer whose process dies loses its lease,
 * and any other consumer's sweep puts the messages back at the head of their queues.
 */

import type { World } from "../base/mod.ts";
import type { Binding, Exchange, Queue } from "./entity.ts";
import type { FailedTasks } from "./failed.ts";
import type { Ledger } from "./ledger.ts";
import type { DeadLetter, Delivery, Note, OutgoingMessage, ParkedMessage, Undecodable } from "./message.ts";
import type { TransportKind } from "./url.ts";

/**
 * Callbacks by which a consumer reports to its owner. They are called synchronously on the data lane and must
 * not throw.
 */
export interface ConsumerEvents {
  /** Oldest first, at least one. The array and its deliveries belong to the receiver. */
  onDeliveries(batch: Delivery[]): void;
  onUndecodable(message: Undecodable): void;
  /**
   * The connection is lost; nothing more arrives. The broker keeps the unsettled messages and delivers them
   * again.
   */
  onLost(error: Error): void;
  /**
   * The connection was lost before the broker recorded a message delivered by `handOn`, and no slot has begun
   * it; the owner publishes it again. Called before `onLost`.
   */
  onStranded?(delivery: Delivery): void;
  /** How many messages of dead workers this consumer's sweep restored; for the log. */
  onRestored?(count: number): void;
}

/** Options of `Connection.consume`. */
export interface ConsumeOptions {
  readonly queues: readonly Queue[];
  /**
   * Returns how many more messages may be fetched now; read before each fetch. At 0, fetching waits for
   * `wake`. Infinity: no limit.
   */
  window(): number;
  /** The name of the lease's owner; unique per process start. */
  readonly owner: string;
  /** Seconds after the owner's death until other consumers may get its messages. */
  readonly leaseSeconds: number;
  /**
   * This process's consumer whose connection was lost. Its settlements that did not reach the broker are made now, and
   * the messages that it held unsettled are delivered again by this consumer, before all others and without counting an
   * attempt. A transport that cannot do that leaves both to the lease.
   */
  readonly predecessor?: Consumer | null;
}

/** The data lane of one worker: its task queues. */
export interface Consumer {
  /**
   * Consumes one more queue, which the caller has declared; no effect if it is consumed already. Like every promise
   * of a consumer, it rejects with ConnectionLost once the connection is gone.
   */
  addQueue(queue: Queue): Promise<void>;
  /** Stops fetching from a queue; this consumer keeps its unsettled messages. */
  cancelQueue(name: string): Promise<void>;
  readonly queues: readonly Queue[];
  /** Fetches again if `window()` has grown. Cheap: calls of one turn make one fetch. */
  wake(): void;
  /**
   * Delivers a message straight to this consumer, if it would be the next one fetched anyway: its queues are
   * empty and `window()` is open. It arrives through `onDeliveries`, unsettled like any other; if something
   * else was published meanwhile, it goes through its queue. `isAckedEarly`: the message is acked as soon as
   * a slot begins it. Then it arrives before this call returns, and only this process holds it until it is
   * acked or recorded a moment later. Resolves when the broker, or the consumer that gets it instead, has the
   * message; rejects as `Connection.publish` does. Returns null if it cannot be handed on now; the caller
   * then publishes it. Absent if the transport cannot do this.
   */
  handOn?(out: OutgoingMessage, isAckedEarly: boolean): Promise<void> | null;
  /** Appends an acknowledgement. Each delivery is settled once; a second settlement is a programmer error. */
  ack(tag: number | string): void;
  /**
   * Appends a rejection. `requeue` puts the message at the back of its queue, marked redelivered; `restore` puts it at
   * the head; `drop` deletes it (dead-letter exchanges of AMQP apply).
   */
  reject(tag: number | string, how: "drop" | "requeue" | "restore"): void;
  /**
   * Parks a message at the broker until `dueMs` (wall clock); then any consumer may get it. Returns false if
   * this transport cannot park; then the caller keeps the message.
   */
  park(tag: number | string, dueMs: number): boolean;
  /**
   * Moves a message to the broker's dead letters with a reason of one line. Returns false if this transport
   * has no dead letters; then the caller settles the message.
   */
  deadLetter(tag: number | string, reason: string): boolean;
  /** Records that the task of a delivery with `attempts` has begun; absent if the transport does not count them. */
  begun?(tag: number | string): void;
  /** Sets the broker's own prefetch (AMQP's basic.qos); no effect if it has none. */
  setPrefetch(count: number): void;
  /** Stops fetching; deliveries already taken can still be settled. */
  pause(): Promise<void>;
  /** Fetches again. */
  resume(): void;
  /** How many deliveries are unsettled. */
  readonly unsettled: number;
  /**
   * After the connection was lost: whether a successor (`ConsumeOptions.predecessor`) would have settlements to make or
   * messages to take over. Messages taken over are delivered even while the successor is paused.
   */
  readonly hasHandover?: boolean;
  /** Resolves when every settlement appended so far has reached the broker. */
  flush(): Promise<void>;
  /**
   * Stops fetching, sends the settlements appended so far and restores the other messages to the heads of their queues.
   * Resolves with the number restored. Rejects as the calls of the connection do.
   */
  close(): Promise<number>;
}

/** A running subscription. */
export interface Subscription {
  close(): Promise<void>;
}

/** The dead letters of one broker. `retry` and `drop` take a letter that this connection's `list` gave. */
export interface DeadLetters {
  /** Counts the dead letters. */
  count(): Promise<number>;
  /** Lists the newest first, at most `limit` of them. */
  list(limit: number): Promise<DeadLetter[]>;
  /**
   * Moves a letter to the back of a queue, with its attempts reset, in one step. False: the letter is gone.
   */
  retry(letter: DeadLetter, queueName: string): Promise<boolean>;
  /** Deletes a letter for good. False: the letter is gone. */
  drop(letter: DeadLetter): Promise<boolean>;
}

/** The state of one queue. */
export interface QueueStats {
  /** Waiting messages of all priorities. */
  readonly ready: number;
  /**
   * Waiting messages by priority, in order of fetching; empty if the broker does not keep priorities apart.
   */
  readonly priorities: readonly { readonly priority: number; readonly ready: number }[];
  /**
   * The message that is fetched next, as kombu's JSON envelope; null if there is none or the broker does not
   * show it.
   */
  readonly next: string | null;
  /** Messages that consumers hold unacknowledged; null: the broker does not count them. */
  readonly unacked: number | null;
  /** Consumers; null: the broker does not count them. */
  readonly consumers: number | null;
}

/**
 * One open connection to a broker. `close` (and `await using`) ends everything opened through it.
 *
 * Every call rejects with ConnectionLost once the connection is gone, and with AccessRefused or ServerError
 * if the broker refuses the request. Errors with `isRetryable` may be temporary.
 */
export interface Connection extends AsyncDisposable {
  readonly transport: TransportKind;
  /** The URL with its password masked by `**`. */
  readonly url: string;
  /** Resolves when the connection has ended: with the cause, or with null after `close`. Never rejects. */
  readonly lost: Promise<Error | null>;
  /** Declares exchange, queue and binding; idempotent. Resolves with the number of waiting messages. */
  declare(queue: Queue): Promise<number>;
  /** Declares an exchange without a queue. */
  declareExchange(exchange: Exchange): Promise<void>;
  /**
   * Publishes a batch in order; resolves when the broker has it (with confirms if asked for). After a rejection none,
   * some or all of the batch was taken; a PublishError says which part was not.
   */
  publish(batch: readonly OutgoingMessage[]): Promise<void>;
  /** Starts the data lane. One per connection. */
  consume(options: ConsumeOptions, events: ConsumerEvents): Promise<Consumer>;
  /**
   * Receives messages that need no settlement: its own copy of every message of a fanout exchange, else the
   * queue's messages. The queue is declared, and deleted on close if it is `autoDelete`. Without `noAck`,
   * messages that were not received before the connection was lost reach the next subscription, possibly a
   * second time.
   */
  subscribe(queue: Queue, onNote: (note: Note) => void): Promise<Subscription>;
  /** Deletes the messages that wait in a queue or are parked for it. Resolves with the number deleted. */
  purge(queueName: string): Promise<number>;
  /** Counts the messages that wait in a queue; null if there is no queue of that name. */
  queueLength(queueName: string): Promise<number | null>;
  /** Describes a queue for display; null if there is no queue of that name. */
  queueStats(queueName: string): Promise<QueueStats | null>;
  /**
   * Lists the queues on the broker, whoever made them, including those of remote control and events. It may
   * scan everything that the broker stores, so it is for occasional use by people. Absent if the broker
   * cannot list queues.
   */
  queueNames?(): Promise<string[]>;
  /** Removes one message from a queue and returns it; null if the queue is empty. For `migrate` and tests. */
  take(queueName: string): Promise<Note | null>;
  deleteQueue(queueName: string): Promise<void>;
  /** Lists the bindings that Celery made on the broker (AMQP: those that this connection declared). */
  bindings(): Promise<Binding[]>;
  /** Leases, and records that change in one step with a publish; absent if the broker cannot do that. */
  readonly ledger?: Ledger;
  /** Counts the subscribers that a fanout reaches right now; null if the broker cannot tell. */
  listeners(exchangeName: string): Promise<number | null>;
  /** Absent if the transport keeps no dead letters of ours. */
  readonly deadLetters?: DeadLetters;
  /** The tasks that failed for good, as workers keep them. */
  readonly failedTasks?: FailedTasks;
  /**
   * Lists the messages parked at the broker, soonest due first, at most `limit`. Absent if the transport
   * cannot park.
   */
  parked?(limit: number): Promise<ParkedMessage[]>;
  /**
   * Deletes parked messages by their ids; resolves with how many were still parked. Absent if `parked` is.
   */
  dropParked?(ids: readonly string[]): Promise<number>;
  /** Drops the connection with a cause, as if the network had failed: nothing is settled or restored. */
  fail?(error: Error): void;
  close(): Promise<void>;
}

/** Options of a connection, from the `broker_*` settings. */
export interface ConnectOptions {
  /** Milliseconds for connecting and for logging in. */
  readonly timeoutMs: number;
  /** Celery's `broker_transport_options`, as given. */
  readonly transportOptions: Readonly<Record<string, unknown>>;
  /** Celery's `broker_use_ssl`, as given. */
  readonly useSsl: boolean | Readonly<Record<string, unknown>>;
  /** AMQP: seconds, 0 off. */
  readonly heartbeatSeconds: number;
  readonly loginMethod: string | null;
  /** AMQP: `broker_native_delayed_delivery_queue_type`; default "quorum". */
  readonly delayQueueType?: "classic" | "quorum";
  /** AMQP: `broker_native_delayed_delivery_queue_prefix`; default "". */
  readonly delayQueuePrefix?: string;
  /** AMQP: `worker_detect_quorum_queues`; default true. */
  readonly detectQuorumQueues?: boolean;
  /** Shown to the server if the protocol has a place for it. */
  readonly clientName: string;
  readonly signal?: AbortSignal;
}

/**
 * Opens one connection to one URL. Rejects with DialError, AccessRefused or ServerError (base/errors.ts). The
 * caller retries, and fails over to other URLs (app/broker/connecting.ts).
 */
export type Connect = (world: World, url: string, options: ConnectOptions) => Promise<Connection>;
