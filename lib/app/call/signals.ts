/**
 * Celery's signals: hooks that any code may connect to.
 *
 * A receiver is called with one object: the signal's fields and `sender`. If it throws, or its promise
 * rejects, the error is logged and has no other effect. Sending without receivers costs one look at an
 * array's length.
 *
 * Source: celery 5.2.6 signals.py, utils/dispatch/signal.py; surface (d).
 */

import { currentWorld, type Log, namesOf, refuseUnknown, userStack } from "../../base/mod.ts";

/** The argument of a receiver. */
export type SignalEvent<Fields, Sender = unknown> = Fields & { readonly sender: Sender };

/** A receiver. Its return value is ignored, but `sendAndWait` awaits a promise. */
export type Receiver<Fields, Sender = unknown> = (event: SignalEvent<Fields, Sender>) => unknown;

/** Options of `connect` and `disconnect`. */
export interface ConnectSignalOptions {
  /** Receive only from this sender: a task, its name, or a worker's name. */
  sender?: unknown;
  /** Replaces an earlier receiver with the same id. */
  dispatchUid?: string;
}

const CONNECT_NAMES = namesOf<ConnectSignalOptions>({ sender: true, dispatchUid: true });

interface Connected<Fields, Sender> {
  readonly receiver: Receiver<Fields, Sender>;
  readonly sender: unknown;
  readonly dispatchUid: string | null;
}

/**
 * A signal and its receivers. `signals` has all of Celery's.
 *
 * @example
 * ```ts
 * import { Signal } from "lovage";
 *
 * const cacheCleared = new Signal<{ keys: number }>("cacheCleared");
 * cacheCleared.connect(({ sender, keys }) => console.log(`${sender} cleared ${keys} keys`));
 * cacheCleared.send("shop", { keys: 3 });
 * ```
 */
export class Signal<Fields extends object, Sender = unknown> {
  /** Its name, for log lines. */
  readonly name: string;
  #connected: Connected<Fields, Sender>[] = [];

  /** `name` appears in log lines about its receivers. */
  constructor(name: string) {
    this.name = name;
  }

  /** True if a receiver is connected. Check it before building the fields. */
  get hasReceivers(): boolean {
    return this.#connected.length > 0;
  }

  /**
   * Connects a receiver. Connecting the same one again has no effect. Returns the receiver, for `disconnect`.
   *
   * @throws {UsageError} for an unknown option.
   */
  connect(receiver: Receiver<Fields, Sender>, options: ConnectSignalOptions = {}): Receiver<Fields, Sender> {
    refuseUnknown(options, CONNECT_NAMES, `signal "${this.name}"`);
    const sender = options.sender ?? null;
    const dispatchUid = options.dispatchUid ?? null;
    const left = this.#connected.filter((one) => !isSame(one, { receiver, sender, dispatchUid }));
    this.#connected = [...left, { receiver, sender, dispatchUid }];
    return receiver;
  }

  /**
   * Disconnects a receiver. Returns true if it was connected.
   *
   * @throws {UsageError} for an unknown option.
   */
  disconnect(receiver: Receiver<Fields, Sender> | null, options: ConnectSignalOptions = {}): boolean {
    refuseUnknown(options, CONNECT_NAMES, `signal "${this.name}"`);
    const before = this.#connected.length;
    this.#connected = this.#connected.filter((one) =>
      options.dispatchUid !== undefined
        ? one.dispatchUid !== options.dispatchUid
        : one.receiver !== receiver || (options.sender !== undefined && one.sender !== options.sender)
    );
    return this.#connected.length < before;
  }

  /** Calls all receivers in order. Their errors go to `log`; default the program's log. */
  send(sender: Sender, fields: Fields, log?: Log): void {
    if (this.#connected.length > 0) this.#call(sender, fields, log);
  }

  /** Like `send`, and awaits the promises that receivers return. Never rejects. */
  async sendAndWait(sender: Sender, fields: Fields, log?: Log): Promise<void> {
    if (this.#connected.length > 0) await Promise.all(this.#call(sender, fields, log));
  }

  #call(sender: Sender, fields: Fields, log: Log | undefined): Promise<unknown>[] {
    const pending: Promise<unknown>[] = [];
    // Pass the fields object itself, so that the sender sees changes that a receiver makes in it.
    const event = Object.assign(fields, { sender }) as SignalEvent<Fields, Sender>;
    for (const { receiver, sender: wanted } of this.#connected) {
      if (wanted !== null && !isSender(wanted, sender)) continue;
      try {
        const value = receiver(event);
        if (value instanceof Promise) {
          pending.push(value.catch((error) => this.#report(receiver, error, log)));
        }
      } catch (error) {
        this.#report(receiver, error, log);
      }
    }
    return pending;
  }

  #report(receiver: Receiver<Fields, Sender>, error: unknown, log: Log | undefined): void {
    (log ?? currentWorld().log).error(
      `Signal handler ${receiver.name || "(anonymous)"} of ${this.name} raised: ${userStack(error)}`,
    );
  }
}

function isSame<Fields, Sender>(one: Connected<Fields, Sender>, other: Connected<Fields, Sender>): boolean {
  if (other.dispatchUid !== null) return one.dispatchUid === other.dispatchUid;
  return one.receiver === other.receiver && one.sender === other.sender && one.dispatchUid === null;
}

function nameOf(value: unknown): unknown {
  if (typeof value === "string") return value;
  return (value as { name?: unknown } | null)?.name ?? null;
}

function isSender(wanted: unknown, sender: unknown): boolean {
  if (wanted === sender) return true;
  // On either side a task may be given by name.
  return (typeof wanted === "string" || typeof sender === "string") && nameOf(wanted) === nameOf(sender);
}

/**
 * A signal of one App; its sender is the App.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop");
 * const clean = app.task("shop.clean", () => {});
 * app.onAfterConfigure.connect(({ sender }) => sender.addPeriodicTask(3600, clean.s()));
 * ```
 */
export class AppSignal<Sender> extends Signal<Record<string, unknown>, Sender> {}

/** Fields of all signals about one execution. */
export interface TaskSignalFields {
  taskId: string;
  /** The task (a `Task`), which is also the sender. */
  task: unknown;
  args: unknown[];
  kwargs: Record<string, unknown>;
}

/** Fields of `beforeTaskPublish`. Changes that a receiver makes are sent. */
export interface PublishSignalFields {
  /** `[args, kwargs, embed]`. */
  body: unknown;
  exchange: string;
  routingKey: string;
  /** Headers under their names on the wire. */
  headers: Record<string, unknown>;
  properties: object;
  declare: readonly unknown[];
  retryPolicy: unknown;
}

/**
 * Celery's signals. If the sender is a task or its name, `connect(fn, { sender })` filters by it.
 *
 * @example
 * ```ts
 * import { signals } from "lovage";
 *
 * signals.taskFailure.connect(({ taskId, exception }) => {
 *   console.error(`Task ${taskId} failed:`, exception);
 * });
 * ```
 */
export const signals = {
  /** Before a message is published; sender: the task's name. */
  beforeTaskPublish: new Signal<PublishSignalFields>("beforeTaskPublish"),
  /** After a message was published; sender: the task's name. */
  afterTaskPublish: new Signal<{
    body: unknown;
    exchange: string;
    routingKey: string;
    headers: Record<string, unknown>;
  }>("afterTaskPublish"),
  /** A worker received a message; sender: the consumer. */
  taskReceived: new Signal<{ request: unknown }>("taskReceived"),
  /** Before a task runs; sender: the task. */
  taskPrerun: new Signal<TaskSignalFields>("taskPrerun"),
  /** After a task ran, however it ended; sender: the task. */
  taskPostrun: new Signal<TaskSignalFields & { retval: unknown; state: string }>("taskPostrun"),
  /** A task succeeded; sender: the task. */
  taskSuccess: new Signal<{ result: unknown }>("taskSuccess"),
  /** A task will be retried; sender: the task. `einfo` is the traceback's text. */
  taskRetry: new Signal<{ request: unknown; reason: unknown; einfo: string | null }>("taskRetry"),
  /** A task failed finally; sender: the task. */
  taskFailure: new Signal<
    TaskSignalFields & { exception: unknown; traceback: string | null; einfo: string | null }
  >("taskFailure"),
  /** An error after a task's end, such as a hook that throws; sender: the task. */
  taskInternalError: new Signal<
    TaskSignalFields & {
      request: unknown;
      exception: unknown;
      traceback: string | null;
      einfo: string | null;
    }
  >("taskInternalError"),
  /** A task was revoked, terminated or expired; sender: the task. */
  taskRevoked: new Signal<{ request: unknown; terminated: boolean; signum: string | null; expired: boolean }>(
    "taskRevoked",
  ),
  /** A task rejected its message; sender: the task. */
  taskRejected: new Signal<{ message: unknown; exc: unknown }>("taskRejected"),
  /** A message names a task that is not registered; sender: the consumer. */
  taskUnknown: new Signal<{ name: string; id: string; message: unknown; exc: unknown }>("taskUnknown"),
  /** The first signal of a worker, before its settings are used; sender: its node name. */
  celerydInit: new Signal<{ instance: unknown; conf: unknown; options: Record<string, unknown> }>(
    "celerydInit",
  ),
  /** The worker is built but not running yet; sender: its node name. */
  celerydAfterSetup: new Signal<{ instance: unknown; conf: unknown }>("celerydAfterSetup"),
  /** The modules of `imports` and `include` are loaded; sender: the App. */
  importModules: new Signal<Record<string, unknown>>("importModules"),
  /** Before the parts of a worker are built; sender: the worker. */
  workerInit: new Signal<Record<string, unknown>>("workerInit"),
  /** The worker has connected for the first time and consumes; sender: the consumer. */
  workerReady: new Signal<Record<string, unknown>>("workerReady"),
  /** A worker begins to stop; `how` is "Warm" or "Cold"; sender: its node name. */
  workerShuttingDown: new Signal<{ sig: string; how: string; exitcode: number }>("workerShuttingDown"),
  /** A worker has stopped; sender: the worker. */
  workerShutdown: new Signal<Record<string, unknown>>("workerShutdown"),
  /** The worker is about to start a process of its pool (`-P processes`), in the worker; sender: the pool. */
  workerBeforeCreateProcess: new Signal<Record<string, unknown>>("workerBeforeCreateProcess"),
  /**
   * In each slot of a pool (process or isolate; solo: in the worker), before its first task. The task waits
   * for the receivers.
   */
  workerProcessInit: new Signal<Record<string, unknown>>("workerProcessInit"),
  /** In each slot before it ends normally, not when it is killed. The slot waits for the receivers. */
  workerProcessShutdown: new Signal<{ pid: number; exitcode: number }>("workerProcessShutdown"),
  /** A worker sends a heartbeat event. */
  heartbeatSent: new Signal<Record<string, unknown>>("heartbeatSent"),
  /** Never sent: the program sets up its own log. */
  setupLogging: new Signal<Record<string, unknown>>("setupLogging"),
  /** Never sent. */
  afterSetupLogger: new Signal<Record<string, unknown>>("afterSetupLogger"),
  /** Never sent. */
  afterSetupTaskLogger: new Signal<Record<string, unknown>>("afterSetupTaskLogger"),
  /** Before the loop of beat; sender: the beat. */
  beatInit: new Signal<Record<string, unknown>>("beatInit"),
  /** The same for a beat embedded in a worker (`-B`). */
  beatEmbeddedInit: new Signal<Record<string, unknown>>("beatEmbeddedInit"),
  /** Never sent: the command line has no options defined by users. */
  userPreloadOptions: new Signal<{ app: unknown; options: Record<string, unknown> }>("userPreloadOptions"),
} as const;
