/**
 * Celery's signals: hooks that anyone may connect to.
 *
 * A receiver is given one object: the signal's fields and `sender`. What it throws, or what its promise
 * rejects with, is logged and harms nobody. Sending to nobody costs one look at an array's length.
 *
 * Source: celery 5.2.6 signals.py, utils/dispatch/signal.py; surface (d).
 */

import { currentWorld, type Log, namesOf, refuseUnknown, userStack } from "../../base/mod.ts";

/** What a receiver is given. */
export type SignalEvent<Fields, Sender = unknown> = Fields & { readonly sender: Sender };

/** A receiver; its value is not used, a promise is waited for by `sendAndWait` alone. */
export type Receiver<Fields, Sender = unknown> = (event: SignalEvent<Fields, Sender>) => unknown;

/** How to connect. */
export interface ConnectSignalOptions {
  /** Only from this sender: a task, its name, a worker's name. */
  sender?: unknown;
  /** A second receiver under the same name takes the first one's place. */
  dispatchUid?: string;
}

const CONNECT_NAMES = namesOf<ConnectSignalOptions>({ sender: true, dispatchUid: true });

interface Connected<Fields, Sender> {
  readonly receiver: Receiver<Fields, Sender>;
  readonly sender: unknown;
  readonly dispatchUid: string | null;
}

/** A signal and those who listen. */
export class Signal<Fields extends object, Sender = unknown> {
  readonly name: string;
  #connected: Connected<Fields, Sender>[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** True if a `send` would reach someone. Read before the fields are made. */
  get hasReceivers(): boolean {
    return this.#connected.length > 0;
  }

  /** Connects a receiver; the same one twice is once. Returns it, so that it may be disconnected. */
  connect(receiver: Receiver<Fields, Sender>, options: ConnectSignalOptions = {}): Receiver<Fields, Sender> {
    refuseUnknown(options, CONNECT_NAMES, `signal "${this.name}"`);
    const sender = options.sender ?? null;
    const dispatchUid = options.dispatchUid ?? null;
    const left = this.#connected.filter((one) => !isSame(one, { receiver, sender, dispatchUid }));
    this.#connected = [...left, { receiver, sender, dispatchUid }];
    return receiver;
  }

  /** Takes a receiver out; true if it was connected. */
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

  /** Calls all receivers, in order. `log` hears of their errors; default the program's. */
  send(sender: Sender, fields: Fields, log?: Log): void {
    if (this.#connected.length > 0) this.#call(sender, fields, log);
  }

  /** As `send`, and waits for the promises that receivers return. Never rejects. */
  async sendAndWait(sender: Sender, fields: Fields, log?: Log): Promise<void> {
    if (this.#connected.length > 0) await Promise.all(this.#call(sender, fields, log));
  }

  #call(sender: Sender, fields: Fields, log: Log | undefined): Promise<unknown>[] {
    const pending: Promise<unknown>[] = [];
    // The fields object itself is handed on, so that what a receiver changes in it is seen by the sender.
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
  // A task may be named instead of given, on either side.
  return (typeof wanted === "string" || typeof sender === "string") && nameOf(wanted) === nameOf(sender);
}

/** A signal of one App; its sender is the App. */
export class AppSignal<Sender> extends Signal<Record<string, unknown>, Sender> {}

/** Fields that all signals about one execution have. */
export interface TaskSignalFields {
  taskId: string;
  /** The task (a `Task`), as its sender. */
  task: unknown;
  args: unknown[];
  kwargs: Record<string, unknown>;
}

/** Fields of `beforeTaskPublish`; what a receiver changes is what is sent. */
export interface PublishSignalFields {
  /** `[args, kwargs, embed]`. */
  body: unknown;
  exchange: string;
  routingKey: string;
  /** Under the wire's names. */
  headers: Record<string, unknown>;
  properties: object;
  declare: readonly unknown[];
  retryPolicy: unknown;
}

/** Celery's signals. Where the sender is a task or its name, `connect(fn, {sender})` narrows to it. */
export const signals = {
  /** Before a message is published; sender: the task's name. */
  beforeTaskPublish: new Signal<PublishSignalFields>("beforeTaskPublish"),
  /** After it was; sender: the task's name. */
  afterTaskPublish: new Signal<{
    body: unknown;
    exchange: string;
    routingKey: string;
    headers: Record<string, unknown>;
  }>("afterTaskPublish"),
  /** A worker got a message; sender: the consumer. */
  taskReceived: new Signal<{ request: unknown }>("taskReceived"),
  /** Before a task runs; sender: the task. */
  taskPrerun: new Signal<TaskSignalFields>("taskPrerun"),
  /** After it ran, whatever came of it; sender: the task. */
  taskPostrun: new Signal<TaskSignalFields & { retval: unknown; state: string }>("taskPostrun"),
  /** It succeeded; sender: the task. */
  taskSuccess: new Signal<{ result: unknown }>("taskSuccess"),
  /** It will be tried again; sender: the task. `einfo` is the traceback's text. */
  taskRetry: new Signal<{ request: unknown; reason: unknown; einfo: string | null }>("taskRetry"),
  /** It failed for good; sender: the task. */
  taskFailure: new Signal<
    TaskSignalFields & { exception: unknown; traceback: string | null; einfo: string | null }
  >("taskFailure"),
  /** What follows a task's end failed, as a hook that throws; sender: the task. */
  taskInternalError: new Signal<
    TaskSignalFields & {
      request: unknown;
      exception: unknown;
      traceback: string | null;
      einfo: string | null;
    }
  >("taskInternalError"),
  /** Revoked, ended or expired; sender: the task. */
  taskRevoked: new Signal<{ request: unknown; terminated: boolean; signum: string | null; expired: boolean }>(
    "taskRevoked",
  ),
  /** The task rejected its message; sender: the task. */
  taskRejected: new Signal<{ message: unknown; exc: unknown }>("taskRejected"),
  /** A message names no task that is here; sender: the consumer. */
  taskUnknown: new Signal<{ name: string; id: string; message: unknown; exc: unknown }>("taskUnknown"),
  /** First of a worker's life, before its settings are used; sender: its node name. */
  celerydInit: new Signal<{ instance: unknown; conf: unknown; options: Record<string, unknown> }>(
    "celerydInit",
  ),
  /** The worker is built and not yet running; sender: its node name. */
  celerydAfterSetup: new Signal<{ instance: unknown; conf: unknown }>("celerydAfterSetup"),
  /** The modules of `imports` and `include` are loaded; sender: the App. */
  importModules: new Signal<Record<string, unknown>>("importModules"),
  workerInit: new Signal<Record<string, unknown>>("workerInit"),
  workerReady: new Signal<Record<string, unknown>>("workerReady"),
  workerShuttingDown: new Signal<{ sig: string; how: string; exitcode: number }>("workerShuttingDown"),
  workerShutdown: new Signal<Record<string, unknown>>("workerShutdown"),
  /** The worker is about to start a process of its pool; sender: the pool. In the worker, with `-P processes`. */
  workerBeforeCreateProcess: new Signal<Record<string, unknown>>("workerBeforeCreateProcess"),
  /** In each slot of a pool (process or isolate; solo: in the worker) before its first task, which waits for it. */
  workerProcessInit: new Signal<Record<string, unknown>>("workerProcessInit"),
  /** In each slot before it ends in order; what receivers begin is waited for. Not where it is killed. */
  workerProcessShutdown: new Signal<{ pid: number; exitcode: number }>("workerProcessShutdown"),
  heartbeatSent: new Signal<Record<string, unknown>>("heartbeatSent"),
  /** Never sent: the log is the program's own. */
  setupLogging: new Signal<Record<string, unknown>>("setupLogging"),
  /** Never sent. */
  afterSetupLogger: new Signal<Record<string, unknown>>("afterSetupLogger"),
  /** Never sent. */
  afterSetupTaskLogger: new Signal<Record<string, unknown>>("afterSetupTaskLogger"),
  beatInit: new Signal<Record<string, unknown>>("beatInit"),
  beatEmbeddedInit: new Signal<Record<string, unknown>>("beatEmbeddedInit"),
  /** Never sent: the command line has no options of a user's own. */
  userPreloadOptions: new Signal<{ app: unknown; options: Record<string, unknown> }>("userPreloadOptions"),
} as const;
