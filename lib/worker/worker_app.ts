/**
 * What the worker needs of an App: an interface of only what it uses, which `App` (app/app.ts) implements. It
 * lets tests run a worker with an App of their own.
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

/** A registered task as the worker sees it: name and resolved options, never its function. */
export interface WorkerTask {
  /** Parameter names; with `takesObject` the last one is an object that takes the remaining kwargs. */
  readonly parameters: { readonly names: readonly string[]; readonly takesObject: boolean };
  readonly name: string;
  readonly options: WorkerTaskOptions;
}

/** The options that the worker needs. Durations are seconds. */
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
  /** Permissions and memory of a sandboxed task. If neither is set, the task has no sandbox. */
  readonly permissions?: unknown;
  readonly memoryLimit?: number | null;
}

/** Queues by name, and those that a worker consumes from. */
export interface WorkerQueues {
  readonly consumeFrom: ReadonlyMap<string, Queue>;
  /**
   * Consumes from these only (`-Q`). Throws UsageError for a queue that is not configured and may not be
   * created.
   */
  select(names: readonly string[]): void;
  /** Excludes these (`-X`). */
  deselect(names: readonly string[]): void;
  /** Adds a queue to consume from. */
  selectAdd(queue: Queue): Queue;
  /** Returns a queue by name or alias; creates it if it is missing and that is allowed. */
  get(name: string): Queue;
}

/** The settings that the worker reads. */
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

/** The parts of an App that the worker uses. */
export interface WorkerApp {
  readonly name: string;
  readonly conf: WorkerConf & {
    /** True if a value other than the default was given. */
    isSet(name: string): boolean;
    /** Returns settings that came from these sources, as plain data. */
    given(
      sources: readonly ("module" | "config" | "environment" | "command line")[],
    ): Record<string, unknown>;
  };
  readonly tasks: Iterable<[string, WorkerTask]>;
  readonly amqp: { readonly queues: WorkerQueues };
  readonly publisher: Publisher;
  /** Set by the worker: see App.handOn. */
  handOn: ((out: OutgoingMessage) => Promise<void> | null) | null;
  /** Set by the worker: see App.callElsewhere. */
  callElsewhere: ((message: EncodedMessage, ended: EndedTask) => void) | null;
  /** Set by the worker: see App.onPublished. */
  onPublished: ((batch: readonly OutgoingMessage[]) => void) | null;
  /** The logical clock of events and remote control. */
  readonly clock: LamportClock;
  /** Opens the result store once. Rejects with UsageError, or with the store's error if it cannot be reached. */
  openBackend(): Promise<Backend>;
  /** Connects to the broker, with the retries of the settings. Rejects as App.connectBroker. */
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

/** What the app does for the worker outside the data lane; see support.ts. */
export interface WorkerSupport {
  /**
   * Ends a task in the worker: builds its result document and, for failures, publishes its errbacks. Never
   * rejects.
   */
  failTask(message: EncodedMessage, error: Error, kind: "failure" | "revoked"): Promise<ParentOutcome>;
  /**
   * Counts finished chord members and, if one was the last, publishes the body or fails it. Rejects with an
   * operating error after the store's own retries. `onDone` is called for each member when it is counted.
   */
  completeChords(
    backend: Backend,
    parts: readonly FinishedPart[],
    onDone?: (part: FinishedPart) => void,
  ): Promise<void>;
  /**
   * Sends and counts, for a task whose success is stored, what its first run may not have sent and counted.
   * Rejects as the store and `applyAsync` do.
   */
  finishDoneBefore(backend: Backend, message: EncodedMessage, meta: ResultMeta): Promise<void>;
  /** Makes the sender of this worker's events. */
  dispatcher(options: DispatcherOptions): EventDispatcher;
  /** Makes the reader of other workers' events. */
  eventReader(): EventReader;
  /** Returns the queue for such events. `ttlSeconds`: how long an event waits there; null: for ever. */
  eventQueue(
    transport: TransportKind,
    options: { routingKey: string; ttlSeconds?: number | null },
  ): Queue;
  /** Names and options of mailboxes. */
  readonly mailbox: MailboxSettings;
  /** Publishes a signature of any kind. Rejects as `applyAsync` does. */
  sendSignature(wire: WireSignature): Promise<void>;
  /** Runs tasks in the worker's own isolate, on the worker's own app. */
  readonly solo: PoolFactory;
  /** The whole App, for the control panel. */
  readonly app: App;
  /** What a slot needs to load the app again. Paths are absolute. */
  readonly source: { readonly app: string | null; readonly include: readonly string[] };
}
