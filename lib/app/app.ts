/**
 * The App, which owns settings, tasks, routing, and the connections to broker and result store.
 *
 * The constructor does no I/O; the first send, wait or `open…` does. `close` (or `await using`) closes what
 * was opened.
 *
 * Source: celery 5.2.6 app/base.py Celery.
 */

import { activeTracing } from "../trace/mod.ts";
import { assert, currentWorld, refuseUnknown, UsageError, type World } from "../base/mod.ts";
import type { Backend } from "../backend/mod.ts";
import type { Connection, OutgoingMessage } from "../transport/mod.ts";
import type { EncodedMessage, ResultTuple } from "../wire/mod.ts";
import type { EndedTask } from "./call/outcome.ts";
import {
  refuseUnknownInSignature,
  setCurrentSender,
  Signature,
  signature,
  type SignatureLike,
} from "../canvas/mod.ts";
import { Amqp } from "./conf/amqp.ts";
import { optionsByName } from "./conf/call_options.ts";
import { AppBackend } from "./result/app_backend.ts";
import { canvasSender } from "./send/canvas_send.ts";
import { registerBuiltins } from "./builtins.ts";
import type { AppCore } from "./core.ts";
import { connectBroker, type ConnectBrokerOptions } from "./broker/connecting.ts";
import type { SchemaInputs, SchemaOutputs, TaskSchema } from "./call/schema.ts";
import type { Context } from "./run/context.ts";
import { GroupResult, resultFromTuple, ResultSet } from "./result/group_result.ts";
import { LamportClock } from "./call/lamport_clock.ts";
import { isSandboxed } from "./run/loops.ts";
import { rememberMaker } from "./made_in.ts";
import { addPeriodicTask, type PeriodicOptions } from "./periodic.ts";
import type { Publisher } from "./call/publisher.ts";
import { type Control, type RemoteCommandOptions, RemoteCommands, type RemoteHandler } from "./remote.ts";
import { BrokerPublisher } from "./broker/publisher_broker.ts";
import { AsyncResult } from "./result/results.ts";
import type { Schedule } from "./conf/schedules.ts";
import {
  checkPriority,
  type PreparedSend,
  SEND_TASK_OPTION_NAMES,
  type SendCall,
  type SendOptions,
  type SendTaskOptions,
} from "./call/send_options.ts";
import { type SecurityOptions, setupSecurity, wantsSecurity } from "./security.ts";
import { Producer, type SendManyItem } from "./send/producer.ts";
import { type Conf, createConf, type Settings } from "./conf/conf.ts";
import { AppSignal } from "./call/signals.ts";
import { type AnyTask, createTask, type Task, type TaskOptions } from "./task.ts";
import { TaskRegistry } from "./task_registry.ts";

/** Options of `app.signature`. */
export interface SignatureGiven extends SendTaskOptions {
  /** True: no previous result is passed to it. */
  immutable?: boolean;
  options?: SendOptions;
}

/**
 * Tasks that other workers register, by name, with the types of their arguments and results. Empty here.
 * `lovage types` writes `.lovage/types/remote.d.ts`, which fills it in, and calls by name are checked against
 * it.
 */
// deno-lint-ignore no-empty-interface -- filled in by users' projects
export interface RemoteTasks {}

/** The options of `sendTask` for a task of this name. */
export type OptionsOf<Name> = Name extends keyof RemoteTasks ?
    & Omit<SendTaskOptions, "args" | "kwargs">
    & Partial<Pick<RemoteTasks[Name], "args" & keyof RemoteTasks[Name]>>
    & Partial<Pick<RemoteTasks[Name], "kwargs" & keyof RemoteTasks[Name]>>
  : SendTaskOptions;

/** The result of a task of this name; `R` if nothing is known of it. */
export type ResultOf<Name, R> = Name extends keyof RemoteTasks
  ? RemoteTasks[Name] extends { result: infer Known } ? Known : R
  : R;

/** The interface of `app.events`. The event room declares its members (event/app_events.ts). */
// deno-lint-ignore no-empty-interface -- filled where the room is loaded
export interface EventsApi {}

/** Functions that make the parts of an App whose rooms lie above this one. */
export interface AppExtensions {
  control: ((app: App) => Control) | null;
  events: ((app: App) => EventsApi) | null;
}

/** Set when the program is put together: lib/door.ts. */
export const appExtensions: AppExtensions = { control: null, events: null };

declare module "./core.ts" {
  interface UserApp extends App {}
}

/**
 * An application: settings, tasks, and the connections to broker and result store. A user's module creates it
 * once; there is no global App.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * export const app = new App("shop", {
 *   broker_url: "redis://localhost",
 *   result_backend: "redis://localhost",
 * });
 * export const add = app.task("shop.add", (x: number, y: number) => x + y);
 *
 * if (import.meta.main) {
 *   await using _closing = app;
 *   const result = await add.delay(1, 2);
 *   console.log(await result.get({ timeout: 10 })); // 3, from a worker
 * }
 * ```
 */
export class App implements AppCore, AsyncDisposable {
  /** The App's name, for logs and monitors. */
  readonly name: string;
  /** Clock, network and operating system as this App uses them. */
  readonly world: World;
  /** Settings. Assignments are checked. */
  readonly conf: Conf;
  /** The registered tasks, including Celery's own. */
  readonly tasks: TaskRegistry;
  /** Queues and routes. */
  readonly amqp: Amqp;
  /** The result store, opened on first use. `openBackend` returns the store itself. */
  readonly backend: AppBackend;
  /** Remote commands that modules have added. */
  readonly remoteCommands: RemoteCommands = new RemoteCommands();
  /** The logical clock of events and remote control. */
  readonly clock: LamportClock = new LamportClock();
  /** A unique id of this App in this process: the `reply_to` of its messages. */
  readonly oid: string;
  /** Sent once, before the settings are first used. */
  readonly onConfigure: AppSignal<App> = new AppSignal("onConfigure");
  /** Sent once, when the settings are complete: the place for `addPeriodicTask`. */
  readonly onAfterConfigure: AppSignal<App> = new AppSignal("onAfterConfigure");
  /** Sent once, when all modules have been loaded. */
  readonly onAfterFinalize: AppSignal<App> = new AppSignal("onAfterFinalize");

  /**
   * Set by a worker: takes over a message if a slot is about to be free for it and no other message is
   * waiting (transport/transport.ts Consumer.handOn). Returns null if the message must be published. Null:
   * publish all.
   */
  handOn: ((out: OutgoingMessage) => Promise<void> | null) | null = null;
  /**
   * Set by a worker, whose main isolate calls no user code: lets a slot call the functions for the end of a
   * task. Errors are logged there. Null: they are called here.
   */
  callElsewhere: ((message: EncodedMessage, ended: EndedTask) => void) | null = null;
  /** Set by a worker that counts messages: called with each batch that the broker has accepted. */
  onPublished: ((batch: readonly OutgoingMessage[]) => void) | null = null;
  readonly #producer: Producer;
  /** The default publisher: a broker connection of this App. */
  #ownPublisher: Publisher | null = null;
  /** Set by a worker or a slot, which also closes it. */
  #publisher: Publisher | null = null;
  #control: Control | null = null;
  #events: EventsApi | null = null;
  #isSecured = false;
  #configured = false;
  #finalized = false;

  /**
   * `settings` are the module's own; environment and command line override them.
   *
   * @throws {UsageError} for a name that is not text, an unknown setting, or a value of the wrong kind.
   */
  constructor(name: string, settings: Partial<Settings> = {}, options: { world?: World } = {}) {
    // Settings in the name's place would be lost without a word.
    if (typeof (name ?? "") !== "string") {
      throw new UsageError(
        'Cannot make an App: its name comes first, as in new App("shop", { broker_url: "…" })',
      );
    }
    this.name = name;
    this.world = options.world ?? currentWorld();
    this.conf = createConf(this.world, settings);
    this.tasks = new TaskRegistry();
    this.amqp = new Amqp(this);
    this.backend = new AppBackend(this);
    this.oid = this.world.random.id();
    this.#producer = new Producer(this);
    registerBuiltins(this, this.tasks);
    setCurrentSender(canvasSender(this));
    rememberMaker(this);
  }

  /**
   * Registers a task under exactly this name. With a `schema` the function receives the arguments as the
   * schema transforms them.
   *
   * @throws {UsageError} if another task has that name, and for an unknown or invalid option.
   */
  task<Args extends unknown[], R>(name: string, fn: (...args: Args) => R): Task<Args, Awaited<R>, R>;
  task<const S extends TaskSchema, R>(
    name: string,
    options: TaskOptions & { bind: true; schema: S },
    fn: (self: Context, ...args: SchemaOutputs<S>) => R,
  ): Task<SchemaInputs<S>, Awaited<R>, R>;
  task<const S extends TaskSchema, R>(
    name: string,
    options: TaskOptions & { bind?: false; schema: S },
    fn: (...args: SchemaOutputs<S>) => R,
  ): Task<SchemaInputs<S>, Awaited<R>, R>;
  task<Args extends unknown[], R>(
    name: string,
    options: TaskOptions & { bind: true; schema?: null },
    fn: (self: Context, ...args: Args) => R,
  ): Task<Args, Awaited<R>, R>;
  task<Args extends unknown[], R>(
    name: string,
    options: TaskOptions & { bind?: false; schema?: null },
    fn: (...args: Args) => R,
  ): Task<Args, Awaited<R>, R>;
  task(
    name: string,
    optionsOrFn: TaskOptions | ((...args: never[]) => unknown),
    fn?: unknown,
  ): AnyTask {
    const options = typeof optionsOrFn === "function" ? {} : optionsOrFn;
    const handler = (typeof optionsOrFn === "function" ? optionsOrFn : fn) as (...args: never[]) => unknown;
    if (typeof name !== "string" || name === "") throw new UsageError("A task needs a name");
    if (typeof handler !== "function") throw new UsageError(`Task "${name}" needs a function`);
    const task = createTask(this, name, options, handler);
    if (isSandboxed({ permissions: null, memoryLimit: null, ...options })) rememberMaker(this);
    this.tasks.register(task);
    return task;
  }

  /**
   * Makes a signature of a task by name; the task need not be registered here. Send options are given next to
   * `args` and `kwargs`, or in `options`. If the argument is the data of a signature, returns that signature.
   *
   * @throws {UsageError} for an unknown option, and for data that does not describe a signature.
   */
  signature<R = unknown>(
    name: string | SignatureLike,
    given: SignatureGiven = {},
  ): Signature<R, AsyncResult<R>> {
    if (typeof name !== "string") return signature<R>(name, { app: canvasSender(this) });
    const { args, kwargs, immutable, options, ...rest } = given;
    for (const one of [rest, options ?? {}]) refuseUnknownInSignature(one as Record<string, unknown>, name);
    return new Signature<R, AsyncResult<R>>(name, {
      args: args ?? null,
      kwargs: kwargs ?? null,
      options: { ...rest, ...options } as Record<string, unknown>,
      immutable: immutable ?? false,
      app: canvasSender(this),
    });
  }

  /**
   * Sends a task by name. If the task is registered here, its options apply, overridden by those of the call.
   * Resolves when the broker has confirmed the message.
   *
   * @throws {UsageError} for a wrong option.
   * @throws {EncodeError} for an argument that cannot be serialized.
   * @throws {OperatingError} if the broker did not accept the message after the retries of
   * `task_publish_retry_policy`.
   */
  sendTask<R = unknown, const Name extends string = string>(
    name: Name,
    given?: OptionsOf<Name>,
  ): Promise<AsyncResult<ResultOf<Name, R>>> {
    const options = (given ?? {}) as SendTaskOptions;
    try {
      refuseUnknown(options, SEND_TASK_OPTION_NAMES, `task "${name}"`);
      checkPriority(name, options.priority);
      const merged = optionsByName(this.tasks.get(name), options);
      return this.#producer.send(name, options.args ?? [], options.kwargs ?? {}, merged) as Promise<
        AsyncResult<ResultOf<Name, R>>
      >;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Like `sendTask`, with arguments and merged options. `Task.applyAsync` and the canvas send through it. */
  send(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: SendOptions | null,
  ): Promise<AsyncResult> {
    return this.#producer.send(name, args, kwargs, options);
  }

  /**
   * Sends many calls, pipelined: a chunk is encoded while the previous one is under way. The results are in
   * the order of the calls. Rejects like `sendTask`; then some calls may have been sent.
   */
  sendMany(calls: Iterable<SendManyItem>): Promise<AsyncResult[]> {
    return this.#producer.sendMany(calls);
  }

  /**
   * Loads and opens what `prepareSend` needs for such a call; nearly always resolves at once. Rejects with
   * `EncodeError` for an unknown serializer, and with the error of a result store over rpc.
   */
  async readyToSend(options: SendOptions | null = null): Promise<void> {
    await this.#producer.ready(options);
  }

  /**
   * Makes the message of a call and sends nothing, for code that publishes several calls at once (groups,
   * chords). Throws `EncodeError` and `UsageError`.
   */
  prepareSend(call: SendCall): PreparedSend {
    return this.#producer.prepare(call);
  }

  /** Publishes prepared calls in order, in one batch. Rejects with the broker's error. */
  publishPrepared(batch: readonly PreparedSend[], options: SendOptions | null = null): Promise<void> {
    return this.#producer.publish(batch, options);
  }

  /** Sends the events and signals for prepared calls that were published by other means. */
  announcePublished(batch: readonly PreparedSend[]): Promise<void> {
    return this.#producer.announce(batch);
  }

  /** Returns the result of a task by id. Reads the store only when a method of the result does. */
  AsyncResult<R = unknown>(id: string): AsyncResult<R> {
    return new AsyncResult<R>(id, this);
  }

  /** Group results: `app.GroupResult.restore(id)` and `app.GroupResult.create(id, results)`. */
  get GroupResult(): {
    create(id: string, results: AsyncResult[]): GroupResult;
    restore(id: string): Promise<GroupResult | null>;
  } {
    return {
      create: (id, results) => new GroupResult(id, results, this),
      restore: (id) => GroupResult.restore(id, this),
    };
  }

  /** Returns several results as one. */
  ResultSet(results: AsyncResult[]): ResultSet {
    return new ResultSet(results, this);
  }

  /**
   * Makes a result from its JSON form (`asTuple`).
   *
   * @throws {UsageError} for a value that is not a result.
   */
  resultFromTuple(tuple: ResultTuple): AsyncResult | GroupResult {
    return resultFromTuple(tuple, this);
  }

  /**
   * Adds an entry to `beat_schedule` and returns its key. Source: celery app/base.py add_periodic_task.
   *
   * @throws {UsageError} for an unknown option, and for a value that is not a signature.
   */
  addPeriodicTask(schedule: Schedule, signature: SignatureLike, options: PeriodicOptions = {}): string {
    return addPeriodicTask(this, schedule, signature, options);
  }

  /** Opens the result store on the first call, and resolves with it. Rejects with the store's error. */
  openBackend(): Promise<Backend> {
    return this.backend.open();
  }

  /**
   * Connects to the first broker in the list that answers, with the retries of `broker_connection_…`. The
   * caller closes the connection. Rejects with the last broker's error, or with the signal's reason.
   */
  connectBroker(options: ConnectBrokerOptions): Promise<Connection> {
    return connectBroker(this, options);
  }

  /**
   * The destination of messages: a broker connection of this App, opened by the first message, unless a
   * publisher was set.
   */
  get publisher(): Publisher {
    return this.#publisher ?? (this.#ownPublisher ??= new BrokerPublisher(this));
  }

  /**
   * Pool slots and workers set a publisher, and close it themselves. Messages that a module sent while it was
   * loaded have used the App's own connection.
   */
  set publisher(publisher: Publisher) {
    this.#publisher = publisher;
  }

  /** Remote control of workers. */
  get control(): Control {
    assert(appExtensions.control, "the mailbox room is loaded");
    return this.#control ??= appExtensions.control(this);
  }

  /**
   * Adds a remote command that changes something. Every worker of this App answers to it; `lovage control`
   * and `app.control.broadcast` call it.
   *
   * @throws {UsageError} for a command without a name or function, and for an unknown option.
   */
  controlCommand(name: string, run: RemoteHandler): void;
  controlCommand(name: string, options: RemoteCommandOptions, run: RemoteHandler): void;
  controlCommand(
    name: string,
    optionsOrRun: RemoteCommandOptions | RemoteHandler,
    run?: RemoteHandler,
  ): void {
    this.remoteCommands.add("control", name, optionsOrRun, run);
  }

  /**
   * Adds a remote command that only reads: `lovage inspect` and `app.control.inspect().ask` call it.
   *
   * @throws {UsageError} for a command without a name or function, and for an unknown option.
   */
  inspectCommand(name: string, run: RemoteHandler): void;
  inspectCommand(name: string, options: RemoteCommandOptions, run: RemoteHandler): void;
  inspectCommand(
    name: string,
    optionsOrRun: RemoteCommandOptions | RemoteHandler,
    run?: RemoteHandler,
  ): void {
    this.remoteCommands.add("inspect", name, optionsOrRun, run);
  }

  /** Events: receivers, and the state of the cluster. */
  get events(): EventsApi {
    assert(appExtensions.events, "the event room is loaded");
    return this.#events ??= appExtensions.events(this);
  }

  /**
   * Signs messages, and accepts only signed ones: the `auth` serializer, with the keys of the `security_…`
   * settings or of `options`. Commands call it themselves if the settings are complete.
   *
   * @throws {UsageError} unless `task_serializer` is "auth" and `accept_content` ["auth"], and if a setting
   * is missing.
   */
  setupSecurity(options: SecurityOptions = {}): void {
    setupSecurity(this, options);
    this.#isSecured = true;
  }

  /** Marks the settings as complete: sends `onConfigure` and `onAfterConfigure` on the first call. */
  configure(): void {
    if (this.#configured) return;
    this.#configured = true;
    if (!this.#isSecured && wantsSecurity(this)) this.setupSecurity();
    this.onConfigure.send(this, {}, this.world.log);
    this.onAfterConfigure.send(this, {}, this.world.log);
  }

  /** Marks all modules as loaded: sends `onAfterFinalize` on the first call. */
  finalize(): void {
    this.configure();
    if (this.#finalized) return;
    this.#finalized = true;
    this.onAfterFinalize.send(this, {}, this.world.log);
  }

  /**
   * Closes what this App opened, after waiting for messages under way. Idempotent; a later send opens it
   * again.
   */
  async close(): Promise<void> {
    const publisher = this.#ownPublisher;
    this.#ownPublisher = null;
    await this.#control?.close();
    await publisher?.close();
    await this.backend.close();
    await activeTracing()?.flush();
  }

  /** Same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
