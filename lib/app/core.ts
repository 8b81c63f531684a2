/**
 * The interfaces of an App and its tasks for the parts of the app room. The classes that implement them
 * (app.ts, task.ts, result/app_backend.ts) lie above the code that uses them, so that imports lead one way
 * only.
 */

import type { Backend } from "../backend/mod.ts";
import type { CanvasResult } from "../canvas/mod.ts";
import type { OutgoingMessage } from "../transport/mod.ts";
import type { EncodedMessage, ResultMeta, ResultTuple } from "../wire/mod.ts";
import type { Parameters } from "./call/calling.ts";
import type { LamportClock } from "./call/lamport_clock.ts";
import type { EndedTask } from "./call/outcome.ts";
import type { Publisher } from "./call/publisher.ts";
import type { PreparedSend, SendCall, SendOptions } from "./call/send_options.ts";
import type { Amqp } from "./conf/amqp.ts";
import type { Configured } from "./conf/conf.ts";
import type { ResolvedTaskOptions, TaskOptions } from "./conf/task_options.ts";

/** An App, as its parts see it. The class `App` documents the members. */
export interface AppCore extends Configured {
  readonly name: string;
  readonly tasks: Tasks;
  readonly amqp: Amqp;
  readonly backend: ResultStore;
  readonly clock: LamportClock;
  readonly oid: string;
  readonly publisher: Publisher;
  readonly control: { revoke(ids: string | readonly string[], options?: RevokeOptions): Promise<unknown> };
  readonly handOn: ((out: OutgoingMessage) => Promise<void> | null) | null;
  readonly callElsewhere: ((message: EncodedMessage, ended: EndedTask) => void) | null;
  readonly onPublished: ((batch: readonly OutgoingMessage[]) => void) | null;
  openBackend(): Promise<Backend>;
  send(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: SendOptions | null,
  ): Promise<CanvasResult>;
  prepareSend(call: SendCall): PreparedSend;
  publishPrepared(batch: readonly PreparedSend[]): Promise<void>;
  resultFromTuple(tuple: ResultTuple): CanvasResult;
}

/**
 * The App as users see it in `self.app`, `task.app` and `result.app`. app.ts declares it to be the class
 * `App`, which no file below app.ts may import.
 */
// deno-lint-ignore no-empty-interface -- app.ts fills it in
export interface UserApp {}

/** The tasks of an App, by name. */
export interface Tasks extends Iterable<[string, RunnableTask]> {
  get(name: string): RunnableTask | undefined;
  /** Returns the task. Throws UsageError, which names the nearest task, if there is none. */
  need(name: string): RunnableTask;
  /** Names of the user's own tasks, sorted. */
  names(): string[];
}

/** A task, as senders and runners see it. `Task` (task.ts) is the typed view for users. */
export interface RunnableTask {
  readonly app: AppCore;
  readonly name: string;
  readonly fn: (...args: never[]) => unknown;
  readonly parameters: Parameters;
  readonly label: string;
  readonly isBuiltin: boolean;
  readonly given: TaskOptions;
  readonly options: ResolvedTaskOptions;
  readonly sendOptions: SendOptions;
  applyAsync(
    args?: readonly unknown[] | null,
    kwargs?: Readonly<Record<string, unknown>> | null,
    options?: SendOptions | null,
  ): Promise<CanvasResult>;
  apply(
    args?: readonly unknown[] | null,
    kwargs?: Readonly<Record<string, unknown>> | null,
    options?: SendOptions | null,
  ): Promise<CanvasResult>;
  checkArguments(args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): void;
}

/** Options of revoking a result. `signal` is a name such as "SIGTERM". */
export interface RevokeOptions {
  terminate?: boolean;
  signal?: string;
}

/** The result store of an App, which is opened on first use. */
export interface ResultStore {
  /** The store, if it is open. */
  readonly opened: Backend | null;
  /** The wait for the result of the call that was sent last. */
  readonly ahead: {
    /**
     * Call it when a call is being sent. Resolves when the result is there; null if only the publish reports
     * success.
     */
    sending(taskId: string, backend: Backend | null): Promise<void> | null;
    /** Returns the final state of a task, if the wait has seen it. */
    take(taskId: string): ResultMeta | null;
  };
  /**
   * Opens the store for a sender. With rpc, the queue of its results exists when this resolves. Rejects with
   * the store's error.
   */
  openToSend(): Promise<void>;
  /** Returns the stored state of a task, or null (PENDING). Rejects with the store's error. */
  getTaskMeta(taskId: string): Promise<ResultMeta | null>;
  /** Deletes a result. Rejects with the store's error. */
  forget(taskId: string): Promise<void>;
  /** Deletes expired results. Rejects with the store's error. */
  cleanup(): Promise<void>;
  /**
   * Passes every stored change of these ids to `onMeta` until that returns true. Rejects with `TimeoutError`
   * after `timeoutSeconds` (null: never), with the store's error, with the signal's reason, or with the error
   * of a `check`.
   */
  watchUntil(
    ids: readonly string[],
    options: WatchOptions,
    onMeta: (meta: ResultMeta) => boolean,
  ): Promise<void>;
}

/** Options of `watchUntil`. */
export interface WatchOptions {
  readonly timeoutSeconds?: number | null | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly check?: WaitCheck | undefined;
}

/** An extra check made periodically while waiting for a result. */
export interface WaitCheck {
  /**
   * Milliseconds before the first check. The interval grows by half each time, up to one second as in
   * Celery's clients.
   */
  readonly afterMs: number;
  /** Returns the error that ends the wait, or null. If it rejects, the wait goes on. */
  error(): Promise<Error | null>;
}
