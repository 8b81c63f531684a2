/**
 * The App: one value that owns configuration, tasks, routing, and the way to the broker and the result store.
 *
 * Constructing does no I/O; the first send, wait or `open…` does. `close` (or `await using`) ends what was
 * opened.
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

/** What `app.signature` takes. */
export interface SignatureGiven extends SendTaskOptions {
  /** It takes no result of what comes before it. */
  immutable?: boolean;
  options?: SendOptions;
}

/**
 * Tasks that other workers register, by name: what a call of one takes and comes to. Empty here;
 * `.lovage/types/remote.d.ts`, which `lovage types` writes, fills it in, and calls by name are checked against it.
 */
// deno-lint-ignore no-empty-interface -- filled in by users' projects
export interface RemoteTasks {}

/** What `sendTask` takes for a task of this name. */
export type OptionsOf<Name> = Name extends keyof RemoteTasks ?
    & Omit<SendTaskOptions, "args" | "kwargs">
    & Partial<Pick<RemoteTasks[Name], "args" & keyof RemoteTasks[Name]>>
    & Partial<Pick<RemoteTasks[Name], "kwargs" & keyof RemoteTasks[Name]>>
  : SendTaskOptions;

/** What a task of this name comes to; `R` where nothing is known of it. */
export type ResultOf<Name, R> = Name extends keyof RemoteTasks
  ? RemoteTasks[Name] extends { result: infer Known } ? Known : R
  : R;

/** What `app.events` offers: its members are declared by the event room (event/app_events.ts). */
// deno-lint-ignore no-empty-interface -- filled where the room is loaded
export interface EventsApi {}

/** How the parts of an App are made that live in rooms above this one. */
export interface AppExtensions {
  control: ((app: App) => Control) | null;
  events: ((app: App) => EventsApi) | null;
}

/** Filled in where the program is put together: lib/mod.ts. */
export const appExtensions: AppExtensions = { control: null, events: null };

declare module "./core.ts" {
  interface UserApp extends App {}
}

/** An app. Created once by the user's module; there is no global one. */
export class App implements AppCore, AsyncDisposable {
  readonly name: string;
  readonly world: World;
  /** Settings; assigning validates. */
  readonly conf: Conf;
  readonly tasks: TaskRegistry;
  /** Queues and routes. */
  readonly amqp: Amqp;
  /** The result store, opened by its first use; `openBackend` gives the store itself. */
  readonly backend: AppBackend;
  /** Remote commands that the modules have added. */
  readonly remoteCommands: RemoteCommands = new RemoteCommands();
  /** The logical clock of events and remote control. */
  readonly clock: LamportClock = new LamportClock();
  /** Unique per App and process; `reply_to` of its messages. */
  readonly oid: string;
  /** Sent once, before the first use of the configuration. */
  readonly onConfigure: AppSignal<App> = new AppSignal("onConfigure");
  /** Sent once, when the configuration is complete: the place for `addPeriodicTask`. */
  readonly onAfterConfigure: AppSignal<App> = new AppSignal("onAfterConfigure");
  /** Sent once, when all modules are loaded. */
  readonly onAfterFinalize: AppSignal<App> = new AppSignal("onAfterFinalize");

  /**
   * Set by a worker: takes a message into its own hands where a slot is about to be free for it and nothing waits
   * (transport/transport.ts Consumer.handOn); null: publish it.
   */
  handOn: ((out: OutgoingMessage) => Promise<void> | null) | null = null;
  /**
   * Set by a worker, whose own isolate calls nothing of the user's: has a slot call what is to hear of the end of a
   * task. What goes wrong there is logged. Null: it is called here.
   */
  callElsewhere: ((message: EncodedMessage, ended: EndedTask) => void) | null = null;
  /** Set by who counts: hears of each batch that the broker has taken. */
  onPublished: ((batch: readonly OutgoingMessage[]) => void) | null = null;
  readonly #producer: Producer;
  /** Where messages go if nothing else was set: a broker of our own. */
  #ownPublisher: Publisher | null = null;
  /** Set by a worker or a slot, whose it is to close. */
  #publisher: Publisher | null = null;
  #control: Control | null = null;
  #events: EventsApi | null = null;
  #isSecured = false;
  #configured = false;
  #finalized = false;

  /**
   * `settings` are the module's own; environment and command line win over them. Throws `UsageError` on an
   * unknown or ill-typed one.
   */
  constructor(name: string, settings: Partial<Settings> = {}, options: { world?: World } = {}) {
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
   * Registers a task under exactly this name. A second task of the name is a `UsageError`. With a `schema` the function
   * gets what the schema makes of the arguments.
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
   * A signature of a task by name; the task need not be registered here. Options of the call stand beside
   * `args` and `kwargs`, or in `options`. Of a signature's data, which came as an argument: the signature.
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
   * Sends a task by name; if it is registered here, its options hold, and those of the call over them. Rejects with
   * `EncodeError` if an argument cannot be sent, `UsageError` if an option is wrong, an operating error if the broker
   * did not take it after the retries of `task_publish_retry_policy`.
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

  /**
   * As `sendTask`, arguments and options already merged: what `Task.applyAsync` and the canvas send through.
   */
  send(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: SendOptions | null,
  ): Promise<AsyncResult> {
    return this.#producer.send(name, args, kwargs, options);
  }

  /**
   * Sends many, pipelined: a part is encoded while the one before is on its way. Results are in the order of
   * the calls. After a rejection some may have been sent.
   */
  sendMany(calls: Iterable<SendManyItem>): Promise<AsyncResult[]> {
    return this.#producer.sendMany(calls);
  }

  /**
   * Loads and opens what `prepareSend` of such a call needs; nearly always resolves at once.
   * Rejects with `EncodeError` for an unknown serializer.
   */
  async readyToSend(options: SendOptions | null = null): Promise<void> {
    await this.#producer.ready(options);
  }

  /** Makes a call into a message and sends nothing: for callers that publish several at once (groups, chords). */
  prepareSend(call: SendCall): PreparedSend {
    return this.#producer.prepare(call);
  }

  /** Publishes prepared calls in order, in one batch. */
  publishPrepared(batch: readonly PreparedSend[], options: SendOptions | null = null): Promise<void> {
    return this.#producer.publish(batch, options);
  }

  /** Sends the events and signals of prepared calls that were published by other means, as after `publishPrepared`. */
  announcePublished(batch: readonly PreparedSend[]): Promise<void> {
    return this.#producer.announce(batch);
  }

  /** The result of a task by id. Nothing is looked up before it is asked. */
  AsyncResult<R = unknown>(id: string): AsyncResult<R> {
    return new AsyncResult<R>(id, this);
  }

  /** Group results: `app.GroupResult.restore(id)`, `app.GroupResult.create(id, results)`. */
  get GroupResult(): {
    create(id: string, results: AsyncResult[]): GroupResult;
    restore(id: string): Promise<GroupResult | null>;
  } {
    return {
      create: (id, results) => new GroupResult(id, results, this),
      restore: (id) => GroupResult.restore(id, this),
    };
  }

  /** Several results as one. */
  ResultSet(results: AsyncResult[]): ResultSet {
    return new ResultSet(results, this);
  }

  /** Reads the JSON form of a result (`asTuple`). */
  resultFromTuple(tuple: ResultTuple): AsyncResult | GroupResult {
    return resultFromTuple(tuple, this);
  }

  /** Adds an entry to `beat_schedule`; its key. Source: celery app/base.py add_periodic_task. */
  addPeriodicTask(schedule: Schedule, signature: SignatureLike, options: PeriodicOptions = {}): string {
    return addPeriodicTask(this, schedule, signature, options);
  }

  /** The result store itself, opened once. */
  openBackend(): Promise<Backend> {
    return this.backend.open();
  }

  /**
   * Connects to the first broker of the list that answers, with the retries of `broker_connection_…`. The
   * caller owns the connection.
   */
  connectBroker(options: ConnectBrokerOptions): Promise<Connection> {
    return connectBroker(this, options);
  }

  /** Where sent messages go. A broker of our own, connected by the first message, unless one was set. */
  get publisher(): Publisher {
    return this.#publisher ?? (this.#ownPublisher ??= new BrokerPublisher(this));
  }

  /**
   * Pool slots and workers set their own; it is theirs to close. What a module has sent while it was loaded has gone
   * another way.
   */
  set publisher(publisher: Publisher) {
    this.#publisher = publisher;
  }

  /** Remote control. */
  get control(): Control {
    assert(appExtensions.control, "the mailbox room is loaded");
    return this.#control ??= appExtensions.control(this);
  }

  /**
   * Adds a remote command that changes something: every worker of this App answers to it, `lovage control` and
   * `app.control.broadcast` call it. Throws `UsageError` without a name or function.
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

  /** Adds a remote command that only looks: `lovage inspect` and `app.control.inspect().ask` call it. */
  inspectCommand(name: string, run: RemoteHandler): void;
  inspectCommand(name: string, options: RemoteCommandOptions, run: RemoteHandler): void;
  inspectCommand(
    name: string,
    optionsOrRun: RemoteCommandOptions | RemoteHandler,
    run?: RemoteHandler,
  ): void {
    this.remoteCommands.add("inspect", name, optionsOrRun, run);
  }

  /** Events: receiver and state. */
  get events(): EventsApi {
    assert(appExtensions.events, "the event room is loaded");
    return this.#events ??= appExtensions.events(this);
  }

  /**
   * Signs what is sent and believes only what is signed: the `auth` serializer, with the keys of the `security_…`
   * settings or of `options`. Throws `UsageError` unless `task_serializer` is "auth" and `accept_content` ["auth"].
   * Commands call it by themselves where the settings are complete.
   */
  setupSecurity(options: SecurityOptions = {}): void {
    setupSecurity(this, options);
    this.#isSecured = true;
  }

  /** Says that configuration is complete; sends `onConfigure` and `onAfterConfigure` the first time. */
  configure(): void {
    if (this.#configured) return;
    this.#configured = true;
    if (!this.#isSecured && wantsSecurity(this)) this.setupSecurity();
    this.onConfigure.send(this, {}, this.world.log);
    this.onAfterConfigure.send(this, {}, this.world.log);
  }

  /** Says that all modules are loaded; sends `onAfterFinalize` the first time. */
  finalize(): void {
    this.configure();
    if (this.#finalized) return;
    this.#finalized = true;
    this.onAfterFinalize.send(this, {}, this.world.log);
  }

  /** Ends what this App opened. Twice is once; a later send opens again. */
  async close(): Promise<void> {
    const publisher = this.#ownPublisher;
    this.#ownPublisher = null;
    await this.#control?.close();
    await publisher?.close();
    await this.backend.close();
    await activeTracing()?.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
