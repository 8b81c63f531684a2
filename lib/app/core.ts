/**
 * What the parts of the app room know of an App and of its tasks. The classes that fill these interfaces in (app.ts,
 * task.ts, result/app_backend.ts) stand above all who take them, so that imports lead one way only.
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

/** An App, as its parts see it. What each member does is said where the class `App` has it. */
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
 * The App as users have it in `self.app`, `task.app` and `result.app`: the class itself, which app.ts says, since
 * nothing below it may import it.
 */
// deno-lint-ignore no-empty-interface -- app.ts fills it in
export interface UserApp {}

/** The tasks of an App, by name. */
export interface Tasks extends Iterable<[string, RunnableTask]> {
  get(name: string): RunnableTask | undefined;
  /** The task; throws UsageError that names the nearest one. */
  need(name: string): RunnableTask;
  /** Names of the user's own tasks, sorted. */
  names(): string[];
}

/** A task as whoever sends or runs it sees it; `Task` (task.ts) is the user's view, with types. */
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

/** What a result may be revoked with. `signal` is a name such as "SIGTERM". */
export interface RevokeOptions {
  terminate?: boolean;
  signal?: string;
}

/** The result store of an App, opened by its first use. */
export interface ResultStore {
  /** The store, if it is open already. */
  readonly opened: Backend | null;
  /** The wait for the result of the call sent last. */
  readonly ahead: {
    /** A call is being sent. Resolves when its result is there; null: the publish alone tells. */
    sending(taskId: string, backend: Backend | null): Promise<void> | null;
    /** The final state of a task, if the wait has seen it. */
    take(taskId: string): ResultMeta | null;
  };
  /** Opens the store of a sender: with rpc, the queue that its results come to is there when this resolves. */
  openToSend(): Promise<void>;
  /** What is stored of a task; null: nothing (PENDING). */
  getTaskMeta(taskId: string): Promise<ResultMeta | null>;
  /** Forgets a result. */
  forget(taskId: string): Promise<void>;
  /** Deletes what has expired. */
  cleanup(): Promise<void>;
  /**
   * Hears of every stored change of these ids until `onMeta` returns true. Rejects with `TimeoutError` after
   * `timeoutSeconds` (null: never), with the store's error, with the signal's reason, with the error of a `look`.
   */
  watchUntil(
    ids: readonly string[],
    options: WatchOptions,
    onMeta: (meta: ResultMeta) => boolean,
  ): Promise<void>;
}

/** How `watchUntil` waits. */
export interface WatchOptions {
  readonly timeoutSeconds?: number | null | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly look?: Look | undefined;
}

/** An extra check made periodically while waiting for a result. */
export interface Look {
  /** The first time; then half as long again each time, up to the second that Celery's clients take. */
  readonly afterMs: number;
  /** What ends the wait, or null. */
  error(): Promise<Error | null>;
}
