/**
 * What the worker asks of an App: an interface as narrow as its use, which `App` (app/app.ts) satisfies.
 *
 * It keeps the worker testable with an App of a test's own, and shows what the two rooms owe each other.
 */

import type {
  App,
  EndedTask,
  FinishedPart,
  LamportClock,
  ParentOutcome,
  Publisher,
  Settings,
} from "../app/mod.ts";
import type { Backend } from "../backend/mod.ts";
import type { PoolFactory } from "../pool/mod.ts";
import type { DispatcherOptions, EventDispatcher, EventReader } from "../event/mod.ts";
import type { MailboxSettings } from "../mailbox/mod.ts";
import type { Connection, OutgoingMessage, Queue, TransportKind } from "../transport/mod.ts";
import type { EncodedMessage, ResultMeta, WireSignature } from "../wire/mod.ts";

/** A registered task, as the worker sees it: its name and its resolved rules, never its function. */
export interface WorkerTask {
  /** Its parameters by name; with `takesObject` the last one is an object that takes what is left of the kwargs. */
  readonly parameters: { readonly names: readonly string[]; readonly takesObject: boolean };
  readonly name: string;
  readonly options: WorkerTaskOptions;
}

/** The rules the parent needs. Durations are seconds. */
export interface WorkerTaskOptions {
  readonly acksLate: boolean;
  readonly acksOnFailure: boolean;
  readonly acksOnTimeout: boolean;
  readonly rejectOnWorkerLost: boolean;
  readonly trackStarted: boolean;
  readonly ignoreResult: boolean;
  readonly sendEvents: boolean;
  readonly rateLimit: string | number | null;
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /** What a sandboxed task may, and how much memory; none of the two: it has no sandbox. */
  readonly permissions?: unknown;
  readonly memoryLimit?: number | null;
}

/** Queues by name, and the selection a worker consumes from. */
export interface WorkerQueues {
  readonly consumeFrom: ReadonlyMap<string, Queue>;
  /** Consumes from these only (`-Q`); throws UsageError for one that may not be made. */
  select(names: readonly string[]): void;
  /** Does not consume from these (`-X`). */
  deselect(names: readonly string[]): void;
  /** Adds one to consume from. */
  selectAdd(queue: Queue): Queue;
  /** A queue by name or alias, made if it is missing and that is allowed. */
  get(name: string): Queue;
}

/** The settings the worker reads. */
export type WorkerConf = Readonly<
  Pick<
    Settings,
    | "accept_content"
    | "broker_channel_error_retry"
    | "broker_connection_retry"
    | "broker_connection_retry_on_startup"
    | "broker_connection_max_retries"
    | "broker_url"
    | "delivery"
    | "event_serializer"
    | "failed_keep"
    | "imports"
    | "include"
    | "lease"
    | "result_backend"
    | "result_serializer"
    | "task_max_attempts"
    | "task_serializer"
    | "task_soft_time_limit"
    | "task_time_limit"
    | "worker_cancel_long_running_tasks_on_connection_loss"
    | "worker_concurrency"
    | "worker_deduplicate_successful_tasks"
    | "worker_direct"
    | "worker_disable_prefetch"
    | "worker_disable_rate_limits"
    | "worker_enable_prefetch_count_reduction"
    | "worker_enable_soft_shutdown_on_idle"
    | "worker_eta_task_limit"
    | "worker_max_memory_per_child"
    | "worker_max_tasks_per_child"
    | "worker_pool"
    | "worker_prefetch_multiplier"
    | "worker_redirect_stdouts"
    | "worker_redirect_stdouts_level"
    | "worker_proc_alive_timeout"
    | "worker_send_task_events"
    | "worker_soft_shutdown_timeout"
    | "worker_state_db"
  >
>;

/** What the worker asks of an App. */
export interface WorkerApp {
  readonly name: string;
  readonly conf: WorkerConf & {
    /** True where something other than the default was given. */
    isSet(name: string): boolean;
    /** Settings that came from these sources, plain. */
    given(
      sources: readonly ("module" | "config" | "environment" | "command line")[],
    ): Record<string, unknown>;
  };
  readonly tasks: Iterable<[string, WorkerTask]>;
  readonly amqp: { readonly queues: WorkerQueues };
  readonly publisher: Publisher;
  /** What the worker puts there: see App.handOn. */
  handOn: ((out: OutgoingMessage) => Promise<void> | null) | null;
  /** What the worker puts there: see App.callElsewhere. */
  callElsewhere: ((message: EncodedMessage, ended: EndedTask) => void) | null;
  /** The same: see App.onPublished. */
  onPublished: ((batch: readonly OutgoingMessage[]) => void) | null;
  /** The logical clock of events and remote control. */
  readonly clock: LamportClock;
  openBackend(): Promise<Backend>;
  connectBroker(options: {
    forWriting: boolean;
    signal?: AbortSignal;
    isStartup?: boolean;
    isReconnect?: boolean;
    heartbeat?: boolean;
    onAttempt?(error: Error, delaySeconds: number, attempt: number, max: number | null, url: string): void;
  }): Promise<Connection>;
  finalize(): void;
}

/** What the app does for the worker outside the data lane. See support.ts. */
export interface WorkerSupport {
  /**
   * Ends a task in the parent: builds its result document and, for failures, publishes its errbacks. Never rejects.
   */
  failTask(message: EncodedMessage, error: Error, kind: "failure" | "revoked"): Promise<ParentOutcome>;
  /**
   * Counts finished chord members and, if one was the last, publishes the body or fails it. Rejects with an
   * operating error after the store's own retries. `onDone` is called for each that is done with.
   */
  completeChords(
    backend: Backend,
    parts: readonly FinishedPart[],
    onDone?: (part: FinishedPart) => void,
  ): Promise<void>;
  /** Sends and counts what the first run of a task may not have, whose success is stored. */
  finishDoneBefore(backend: Backend, message: EncodedMessage, meta: ResultMeta): Promise<void>;
  /** Sends this worker's events. */
  dispatcher(options: DispatcherOptions): EventDispatcher;
  /** Reads other workers' events. */
  eventReader(): EventReader;
  /** The queue that they come through. `ttlSeconds`: how long one waits; null for ever. */
  eventQueue(
    transport: TransportKind,
    options: { routingKey: string; ttlSeconds?: number | null },
  ): Queue;
  /** How mailboxes are named and shaped. */
  readonly mailbox: MailboxSettings;
  /** Publishes a signature of any kind. Rejects as `applyAsync` does. */
  sendSignature(wire: WireSignature): Promise<void>;
  /** Runs tasks in the worker's own isolate, on the worker's own app. */
  readonly solo: PoolFactory;
  /** The whole App, for the panel of remote control. */
  readonly app: App;
  /** What a pool's slot needs to load the app again. Paths are absolute. */
  readonly source: { readonly app: string | null; readonly include: readonly string[] };
}
