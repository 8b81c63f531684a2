/**
 * Celery's view of a broker: what memory, sqlite, redis and amqp all are.
 *
 * Two lanes. Connecting, declaring, purging and subscribing are ordinary async calls. A Consumer is the data lane:
 * deliveries arrive in batches through a callback, and `ack` and `reject` only append to what leaves at the end of the
 * turn; neither makes a promise.
 *
 * Who holds a message: the queue, until it is fetched; from then the broker's record of unsettled messages, under
 * this consumer's lease, until `ack` or `reject` has reached the broker. A consumer whose process dies loses its lease,
 * and any other consumer's sweep puts the messages back at the head of their queues.
 */

import type { World } from "../base/mod.ts";
import type { DeliveryInfo, EncodedMessage } from "../wire/mod.ts";
import type { Exchange, Queue } from "./entity.ts";
import type { Ledger } from "./ledger.ts";

/** One message on its way out. */
export interface OutgoingMessage {
  /** "" publishes to the queue named by `routingKey`. */
  readonly exchange: string;
  readonly routingKey: string;
  readonly message: EncodedMessage;
}

/** One message received and not yet settled. */
export interface Delivery {
  /** The consumer's own handle; opaque. */
  readonly tag: number | string;
  /** The queue it came from. */
  readonly queue: string;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  /**
   * The message as one text in kombu's JSON envelope: what a pool slot is given. Virtual transports hand on what they
   * received; amqp makes it when first read.
   */
  readonly envelope: string;
  /**
   * How often a process died with this message in hand (leases; 0 where the transport cannot tell): any first time,
   * and from then on each time that it had begun (`Consumer.begun`), so that what only waited beside a message that
   * kills is not taken for one.
   */
  readonly attempts: number;
}

/** A message that is no message: broken envelope, wrong base64. It is settled by whoever hears of it. */
export interface Undecodable {
  readonly tag: number | string;
  readonly queue: string;
  /** What arrived, at most 64 KiB of it as text for the log. */
  readonly text: string;
  /** One line: why. */
  readonly reason: string;
}

/** What a consumer tells its owner. Called synchronously from the data lane; none may throw. */
export interface ConsumerEvents {
  /** Oldest first, at least one. The array and its deliveries belong to the receiver. */
  onDeliveries(batch: Delivery[]): void;
  onUndecodable(message: Undecodable): void;
  /** The connection is gone; nothing more arrives. What was unsettled stays the broker's and comes back to someone. */
  onLost(error: Error): void;
  /**
   * The connection went before the broker had heard of a message that `claim` had taken in hand, and it may not have
   * been begun: it is to be published again. Called before `onLost`.
   */
  onStranded?(delivery: Delivery): void;
  /** Messages of dead workers that this consumer's sweep gave back (for the log). */
  onRestored?(count: number): void;
}

/** How to consume. */
export interface ConsumeOptions {
  readonly queues: readonly Queue[];
  /** How many more messages may be taken now; read before each fetch. 0 stops until `wake`. Infinity: no limit. */
  window(): number;
  /** Names the owner of the lease; unique per process start. */
  readonly owner: string;
  /** Seconds after the owner's death that its messages stay taken. */
  readonly leaseSeconds: number;
  /**
   * This process's consumer of a connection that was lost. What it had settled without the broker hearing of it is
   * settled now, and what it held unsettled comes again through this consumer, before anything else and without an
   * attempt counted. A transport that cannot leaves both to the lease.
   */
  readonly predecessor?: Consumer | null;
}

/** The data lane of one worker: its task queues. */
export interface Consumer {
  /** Begins to consume one more queue (declared before by the caller); no effect where it does already. */
  addQueue(queue: Queue): Promise<void>;
  /** Stops fetching from a queue; its unsettled messages stay ours. */
  cancelQueue(name: string): Promise<void>;
  readonly queues: readonly Queue[];
  /** Says that `window()` may have grown. Cheap; coalesced to one fetch a turn. */
  wake(): void;
  /**
   * Publishes a message into this consumer's own hands, where it would have come next in any case: nothing waits in
   * its queues and `window()` is open. It comes by `onDeliveries`, unsettled like any other, or, where something has
   * been published meanwhile, through its queue. `isAckedEarly`: it will be acked as soon as a slot begins it; then it
   * comes before this returns, in nobody's hands but ours until it is acked or, a moment later, recorded. Resolves when
   * the broker or its new owner has it; rejects as `Connection.publish` does. Null: not now, publish it. Absent where
   * the transport cannot.
   */
  claim?(out: OutgoingMessage, isAckedEarly: boolean): Promise<void> | null;
  /** Appends the settlement: done with. Each delivery is settled once; a second time is a programmer's error. */
  ack(tag: number | string): void;
  /**
   * Appends the settlement: not done. `requeue` puts it at the back of its queue, marked redelivered; `restore` at the
   * head; neither drops it (dead-letter exchanges of AMQP apply).
   */
  reject(tag: number | string, how: "drop" | "requeue" | "restore"): void;
  /**
   * Hands a message back to the broker until `dueMs` (wall clock), when any consumer gets it. True: taken, it is no
   * longer ours. False: this transport cannot, hold it yourself.
   */
  park(tag: number | string, dueMs: number): boolean;
  /**
   * Moves a message to the broker's dead letters with a reason of one line. True: taken. False: this transport has
   * none, settle it yourself.
   */
  bury(tag: number | string, reason: string): boolean;
  /** Says that the task of a delivery with `attempts` has begun; no effect where nobody counts them. */
  begun?(tag: number | string): void;
  /** Sets the broker's own prefetch where it has one (AMQP's basic.qos); no effect elsewhere. */
  setPrefetch(count: number): void;
  /** Stops fetching; deliveries already taken can still be settled. */
  pause(): Promise<void>;
  /** Fetches again. */
  resume(): void;
  /** How many deliveries are unsettled. */
  readonly unsettled: number;
  /**
   * Of a lost connection: whether a successor (`ConsumeOptions.predecessor`) would find something to settle or to take
   * over. What is taken over is handed on even while the successor is paused.
   */
  readonly leavesSomething?: boolean;
  /** Resolves when every settlement appended so far has reached the broker. */
  flush(): Promise<void>;
  /** Stops, settles what was appended, restores the rest to the heads of their queues; the number restored. */
  close(): Promise<number>;
}

/** A message received without acknowledgement: remote control, replies, events. */
export interface Note {
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
}

/** A running subscription without acknowledgements. */
export interface Subscription {
  close(): Promise<void>;
}

/** A binding as `list bindings` shows it. */
export interface Binding {
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
}

/** A message that nobody could handle, or whose workers died too often, as the broker keeps it. */
export interface DeadLetter {
  /** Names it among the broker's dead letters; one word. */
  readonly id: string;
  /** The queue it was taken from; null where that is not known any more. */
  readonly queue: string | null;
  /** One line: why it is here. */
  readonly reason: string;
  /** When it came here, wall clock. */
  readonly atMs: number;
  /** What arrived, as text; kombu's JSON envelope unless that is what was wrong with it. */
  readonly envelope: string;
}

/** The dead letters of one broker. Each of its letters is one of this connection's `list`. */
export interface DeadLetters {
  /** How many there are. */
  count(): Promise<number>;
  /** The newest first, at most `limit` of them. */
  list(limit: number): Promise<DeadLetter[]>;
  /** Puts one at the back of a queue, its attempts forgotten, in one step. False: somebody else has dealt with it. */
  retry(letter: DeadLetter, queueName: string): Promise<boolean>;
  /** Deletes one for good. False: somebody else has dealt with it. */
  drop(letter: DeadLetter): Promise<boolean>;
}

/** How many dead letters a broker keeps; past it the oldest go. */
export const DEAD_LETTERS_MAX = 10_000;

/** A message that is not due yet and that no worker holds. */
export interface ParkedMessage {
  readonly queue: string;
  /** When it is due, wall clock. */
  readonly dueMs: number;
  /** Kombu's JSON envelope. */
  readonly envelope: string;
}

/** One open connection to a broker. `close` (and `await using`) ends everything opened through it. */
export interface Connection extends AsyncDisposable {
  readonly transport: TransportKind;
  /** The URL with its password masked by `**`. */
  readonly url: string;
  /** Resolves when the connection is gone: with the cause, or with null after `close`. Never rejects. */
  readonly lost: Promise<Error | null>;
  /** Declares exchange, queue and binding; resolves with the number of messages that wait. Again is no error. */
  declare(queue: Queue): Promise<number>;
  /** Declares an exchange alone. */
  declareExchange(exchange: Exchange): Promise<void>;
  /**
   * Publishes a batch in order; resolves when the broker has it (with confirms where asked for), rejects with what
   * went wrong; then none, some or all of the batch was taken.
   */
  publish(batch: readonly OutgoingMessage[]): Promise<void>;
  /** Starts the data lane. One per connection. */
  consume(options: ConsumeOptions, events: ConsumerEvents): Promise<Consumer>;
  /**
   * Receives without acknowledging from a queue: for a fanout exchange its own copy of every message, else the
   * queue's. The queue is declared, and deleted on close where it is `autoDelete`.
   */
  subscribe(queue: Queue, onNote: (note: Note) => void): Promise<Subscription>;
  /** Deletes what waits in a queue; the number deleted. */
  purge(queueName: string): Promise<number>;
  /** How many messages wait in a queue; null where there is none of that name. */
  queueLength(queueName: string): Promise<number | null>;
  /** Takes one message for good, or null; for `migrate` and tests. */
  take(queueName: string): Promise<Note | null>;
  deleteQueue(queueName: string): Promise<void>;
  /** Every binding of the broker that Celery made (AMQP: those this connection declared). */
  bindings(): Promise<Binding[]>;
  /** Leases, and records that change together with what is published; brokers that cannot leave it out. */
  readonly ledger?: Ledger;
  /** How many subscribers a fanout reaches right now, or null where the broker cannot tell. */
  listeners(exchangeName: string): Promise<number | null>;
  /** Absent where the transport keeps no dead letters of ours (AMQP has exchanges of its own for them). */
  readonly deadLetters?: DeadLetters;
  /** The messages parked at the broker, soonest due first, at most `limit`; absent where nothing is ever parked. */
  parked?(limit: number): Promise<ParkedMessage[]>;
  /** Gives the connection up with a cause, as if the network had: nothing is settled or given back. */
  fail?(error: Error): void;
  close(): Promise<void>;
}

/** The kinds there are. */
export type TransportKind = "memory" | "sqlite" | "redis" | "amqp";

/** What a connection may be told; from `broker_transport_options` and its neighbours. */
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
  /** AMQP: `worker_detect_quorum_queues`; default true. */
  readonly detectQuorumQueues?: boolean;
  /** Shown to the server where it has a place for it. */
  readonly clientName: string;
  readonly signal?: AbortSignal;
}

/**
 * Opens one connection to one URL. Rejects with DialError, AccessRefused or ServerError (base/errors.ts).
 * Retrying and failing over to other URLs is the caller's (app/connecting.ts).
 */
export type Connect = (world: World, url: string, options: ConnectOptions) => Promise<Connection>;
