/**
 * Celery's exceptions as classes, this room's own errors, and the conversion of any thrown error to and from
 * the wire.
 *
 * `exc_type`, `exc_message` and `exc_module` are data. A Python caller catches an exception by its type and
 * module, so the names and modules here are exactly those of Celery, billiard and kombu.
 */

import { OperatingError, withOurAdvice } from "../base/mod.ts";
import { pythonRepr, pythonText, strictRepr } from "./python_repr.ts";

/** An exception as data. `args` are its constructor's arguments (`exc_message` on the wire). */
export interface WireException {
  excType: string;
  excModule: string | null;
  args: unknown[];
}

/**
 * A message, result or value that could not be decoded. The text is one line. Source: kombu
 * exceptions.DecodeError.
 */
export class DecodeError extends OperatingError {
  static readonly module: string = "kombu.exceptions";
  override name = "DecodeError";
}

/**
 * A value that the serializer cannot carry; the text names its place. Source: kombu exceptions.EncodeError.
 */
export class EncodeError extends OperatingError {
  static readonly module: string = "kombu.exceptions";
  override name = "EncodeError";
}

/** A content type outside `accept_content`. Source: kombu exceptions.ContentDisallowed. */
export class ContentDisallowed extends OperatingError {
  static readonly module: string = "kombu.exceptions";
  override name = "ContentDisallowed";
}

/**
 * Root of Celery's own exceptions. `args` are the constructor's arguments, as in Python, and are sent as
 * `exc_message`. The class's `module` is sent as `exc_module`.
 */
export class CeleryError extends Error {
  static readonly module: string = "celery.exceptions";
  override name = "CeleryError";
  readonly args: unknown[];
  constructor(message = "", args: unknown[] = message === "" ? [] : [message]) {
    super(message);
    this.args = args;
  }
}

/**
 * Throw it in a task to store no result: the message is acknowledged, and the task is logged as ignored.
 *
 * @example
 * ```ts
 * import { App, Ignore } from "lovage";
 *
 * const app = new App("shop");
 * app.task("shop.ship", (order: number, isPaid: boolean) => {
 *   if (!isPaid) throw new Ignore();
 *   return `shipped ${order}`;
 * });
 * ```
 */
export class Ignore extends CeleryError {
  override name = "Ignore";
}

/**
 * Throw it in a task to end it as FAILURE without a retry. A late-acknowledged message is rejected on the broker,
 * which may pass it to a dead-letter exchange. With `requeue`, a late-acknowledged message is put back into its
 * queue instead, and no result is stored.
 *
 * @example
 * ```ts
 * import { App, Reject } from "lovage";
 *
 * const app = new App("shop");
 * app.task("shop.charge", { acksLate: true }, (cents: number) => {
 *   if (cents <= 0) throw new Reject("nothing to charge");
 *   return cents;
 * });
 * ```
 */
export class Reject extends CeleryError {
  override name = "Reject";
  readonly reason: unknown;
  readonly requeue: boolean;
  constructor(reason: unknown = null, options: { requeue?: boolean } = {}) {
    const requeue = options.requeue ?? false;
    super(`reject requeue=${requeue ? "True" : "False"}: ${pythonText(reason)}`, [reason, requeue]);
    this.reason = reason;
    this.requeue = requeue;
  }
}

/**
 * The exception that `self.retry()` creates, to be thrown in the task. `when`: seconds from now, or ISO 8601 text;
 * null: unknown.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop");
 * app.task("shop.fetch", { bind: true, maxRetries: 3 }, async (self, url: string) => {
 *   const response = await fetch(url);
 *   if (!response.ok) throw self.retry({ countdown: 10 });
 *   return await response.text();
 * });
 * ```
 */
export class Retry extends CeleryError {
  override name = "Retry";
  /** The cause of the retry, or null. */
  readonly exc: unknown;
  readonly when: number | string | null;
  /** True if the task ran eagerly, so that the caller must run `signature` again. */
  readonly isEager: boolean;
  readonly signature: unknown;
  /** `excRepr` is the text of `exc` in the message; default: its repr in Python. */
  constructor(
    message: string | null = null,
    options: {
      exc?: unknown;
      excRepr?: string | null;
      when?: number | string | null;
      isEager?: boolean;
      signature?: unknown;
    } = {},
  ) {
    const exc = options.exc ?? null;
    const when = options.when ?? null;
    const excRepr = options.excRepr ?? (exc === null ? null : errorRepr(exc));
    const text = message ?? `Retry ${humanWhen(when)}${excRepr === null ? "" : `: ${excRepr}`}`;
    super(text, [text, excRepr, when]);
    this.exc = exc;
    this.when = when;
    this.isEager = options.isEager ?? false;
    this.signature = options.signature ?? null;
  }
}

/**
 * The task has exceeded its soft time limit. It is the reason with which `self.signal` aborts.
 *
 * @example
 * ```ts
 * import { App, SoftTimeLimitExceeded } from "lovage";
 *
 * const app = new App("shop");
 * app.task("shop.convert", { bind: true, softTimeLimit: 50, timeLimit: 60 }, async (self, url: string) => {
 *   try {
 *     return (await fetch(url, { signal: self.signal })).status;
 *   } catch (error) {
 *     if (error instanceof SoftTimeLimitExceeded) return "too slow";
 *     throw error;
 *   }
 * });
 * ```
 */
export class SoftTimeLimitExceeded extends CeleryError {
  static override readonly module: string = "billiard.exceptions";
  override name = "SoftTimeLimitExceeded";
  constructor(args: unknown[] = []) {
    super("SoftTimeLimitExceeded", args);
    this.message = `SoftTimeLimitExceeded${strictTuple(args)}`;
  }
}

/** The task has exceeded its hard time limit and was killed. `args` has the limit in seconds. */
export class TimeLimitExceeded extends CeleryError {
  static override readonly module: string = "billiard.exceptions";
  override name = "TimeLimitExceeded";
  constructor(seconds: number) {
    super(`TimeLimitExceeded(${pythonRepr(seconds)},)`, [seconds]);
  }
}

/** The process that ran the task has died. */
export class WorkerLostError extends CeleryError {
  static override readonly module: string = "billiard.exceptions";
  override name = "WorkerLostError";
}

/** The task was ended by a signal (`revoke` with `terminate`). */
export class Terminated extends CeleryError {
  static override readonly module: string = "billiard.exceptions";
  override name = "Terminated";
}

/** The task was revoked. The reason is "revoked", "terminated" or "expired". */
export class TaskRevokedError extends CeleryError {
  override name = "TaskRevokedError";
}

/** No task with this name is registered. */
export class NotRegistered extends CeleryError {
  override name = "NotRegistered";
}

/** A task with this name is registered already. */
class AlreadyRegistered extends CeleryError {
  override name = "AlreadyRegistered";
}

/** The task has used all its retries. */
export class MaxRetriesExceededError extends CeleryError {
  override name = "MaxRetriesExceededError";
}

/** A chord's body cannot run, because a member has failed or the header is lost. */
export class ChordError extends CeleryError {
  override name = "ChordError";
}

/**
 * The arguments do not match the task's `schema`. Not in Celery. Such a task is not retried automatically.
 */
export class ValidationError extends CeleryError {
  static override readonly module: string = "lovage.exceptions";
  override name = "ValidationError";
}

/** A task message with missing fields or fields of a wrong type. */
export class InvalidTaskError extends CeleryError {
  override name = "InvalidTaskError";
}

/** The settings contradict each other or the program. */
export class ImproperlyConfigured extends CeleryError {
  override name = "ImproperlyConfigured";
}

/**
 * An operation took longer than its time limit, such as `AsyncResult.get({timeout})`.
 *
 * @example
 * ```ts
 * import { App, TimeoutError } from "lovage";
 *
 * const app = new App("shop");
 * const result = await app.sendTask("shop.add", { args: [2, 3] });
 * try {
 *   console.log(await result.get({ timeout: 10 }));
 * } catch (error) {
 *   if (error instanceof TimeoutError) console.log("no result in 10 s");
 *   else throw error;
 * }
 * ```
 */
export class TimeoutError extends CeleryError {
  override name = "TimeoutError";
}

/** The queue is not declared, and `task_create_missing_queues` is off. */
export class QueueNotFound extends CeleryError {
  override name = "QueueNotFound";
}

/** The result store could not store a result. */
class BackendStoreError extends CeleryError {
  override name = "BackendStoreError";
}

/** The result store could not return a result. */
class BackendGetMetaError extends CeleryError {
  override name = "BackendGetMetaError";
}

/**
 * An exception from the wire whose class is unknown here: `name` is its type, `module` and `args` are those
 * on the wire, and `traceback` is the remote one. Encoded again, it is unchanged.
 */
export class RemoteError extends Error {
  override name: string;
  readonly module: string | null;
  readonly args: unknown[];
  readonly traceback: string | null;
  constructor(exception: WireException, traceback: string | null = null) {
    super(exceptionMessage(exception));
    this.name = exception.excType;
    this.module = exception.excModule;
    this.args = exception.args;
    this.traceback = traceback;
  }
}

const BUILTIN_EXCEPTIONS: ReadonlySet<string> = new Set(
  `
  ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError
  BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError
  ConnectionError ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError
  EncodingWarning EnvironmentError Exception ExceptionGroup FileExistsError FileNotFoundError
  FloatingPointError FutureWarning GeneratorExit IOError ImportError ImportWarning
  IndentationError IndexError InterruptedError IsADirectoryError KeyError KeyboardInterrupt
  LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError NotImplementedError
  OSError OverflowError PendingDeprecationWarning PermissionError ProcessLookupError
  RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration
  StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError TypeError
  UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError
  UnicodeWarning UserWarning ValueError Warning ZeroDivisionError
  `.trim().split(/\s+/),
);

/**
 * Returns any thrown value as an exception for the wire.
 *
 * Type: the class's name, or for a plain `Error` its `name`. Arguments: the error's own `args` array, else
 * its message as the only item. Module: the error's own `module` if it came over the wire; the class's static
 * `module` for Celery's classes; "builtins" if Python has a builtin exception with this name; else the
 * class's static `module`, else the task's name without its last part (null if that is empty). A value that
 * is not an Error gets the type "Error" with its text. Never throws.
 */
export function toWireException(error: unknown, taskName: string): WireException {
  // A value thrown by user code may throw again when it is read, as a Proxy or a getter may. Each part is
  // read separately.
  const remote = readable(() => error instanceof RemoteError ? remoteException(error) : null, null);
  if (remote !== null) return remote;
  if (!readable(() => error instanceof Error, false)) {
    return { excType: "Error", excModule: taskModule(taskName), args: [textOf(error)] };
  }
  const thrown = error as Error & { readonly args?: unknown };
  const excType = readable(() => errorTypeName(thrown), "Error");
  const args = readable(
    () => Array.isArray(thrown.args) ? [...thrown.args] : [withOurAdvice(String(thrown.message))],
    ["an error that cannot be read"],
  );
  const excModule = readable(() => errorModule(thrown, excType, taskName), taskModule(taskName));
  return { excType, excModule, args };
}

function remoteException({ name, module, args }: RemoteError): WireException {
  return { excType: name, excModule: module, args };
}

/** Returns the type name of an error on the wire. */
export function errorTypeName(error: Error): string {
  if (error instanceof CeleryError || error instanceof OperatingError || error instanceof RemoteError) {
    return String(error.name);
  }
  const className: unknown = error.constructor?.name;
  const isPlain = typeof className !== "string" || className === "" || className === "Error" ||
    className === "DOMException";
  if (!isPlain) return className as string;
  return typeof error.name === "string" && error.name !== "" ? error.name : "Error";
}

function readable<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

type ErrorMaker = (args: unknown[], message: string) => Error;

const OURS: ReadonlyMap<string, ErrorMaker> = new Map<string, ErrorMaker>([
  ["celery.exceptions.Ignore", (a, m) => new Ignore(m, a)],
  ["celery.exceptions.Reject", (a) => rejectFromArgs(a)],
  ["celery.exceptions.Retry", (a, m) => retryFromArgs(a, m)],
  ["celery.exceptions.TaskRevokedError", (a, m) => new TaskRevokedError(m, a)],
  ["celery.exceptions.NotRegistered", (a, m) => new NotRegistered(m, a)],
  ["celery.exceptions.AlreadyRegistered", (a, m) => new AlreadyRegistered(m, a)],
  ["celery.exceptions.MaxRetriesExceededError", (a, m) => new MaxRetriesExceededError(m, a)],
  ["celery.exceptions.ChordError", (a, m) => new ChordError(m, a)],
  ["celery.exceptions.InvalidTaskError", (a, m) => new InvalidTaskError(m, a)],
  ["celery.exceptions.ImproperlyConfigured", (a, m) => new ImproperlyConfigured(m, a)],
  ["celery.exceptions.TimeoutError", (a, m) => new TimeoutError(m, a)],
  ["celery.exceptions.QueueNotFound", (a, m) => new QueueNotFound(m, a)],
  ["celery.exceptions.BackendStoreError", (a, m) => new BackendStoreError(m, a)],
  ["celery.exceptions.BackendGetMetaError", (a, m) => new BackendGetMetaError(m, a)],
  ["billiard.exceptions.SoftTimeLimitExceeded", (a) => new SoftTimeLimitExceeded(a)],
  [
    "billiard.exceptions.TimeLimitExceeded",
    (a) => withArgs(new TimeLimitExceeded(0), a, `TimeLimitExceeded${strictTuple(a)}`),
  ],
  ["billiard.exceptions.WorkerLostError", (a, m) => new WorkerLostError(m, a)],
  ["billiard.exceptions.Terminated", (a, m) => new Terminated(m, a)],
  ["kombu.exceptions.DecodeError", (_, m) => new DecodeError(m)],
  ["kombu.exceptions.EncodeError", (_, m) => new EncodeError(m)],
  ["kombu.exceptions.ContentDisallowed", (_, m) => new ContentDisallowed(m)],
  ["builtins.TypeError", (a, m) => withArgs(new TypeError(m), a, m)],
  ["builtins.SyntaxError", (a, m) => withArgs(new SyntaxError(m), a, m)],
  ["builtins.ReferenceError", (a, m) => withArgs(new ReferenceError(m), a, m)],
]);

const NATIVES: ReadonlyMap<string, ErrorMaker> = new Map<string, ErrorMaker>([
  ["Error", (a, m) => withArgs(new Error(m), a, m)],
  ["RangeError", (a, m) => withArgs(new RangeError(m), a, m)],
  ["EvalError", (a, m) => withArgs(new EvalError(m), a, m)],
  ["URIError", (a, m) => withArgs(new URIError(m), a, m)],
]);

/**
 * Returns an exception from the wire as an error to throw: Celery's and JavaScript's own classes as instances
 * of these classes (with `args`, `module` and `traceback`), any other as a `RemoteError` whose `name` is the
 * type.
 */
export function fromWireException(exception: WireException, traceback: string | null = null): Error {
  const message = exceptionMessage(exception);
  const make = OURS.get(`${exception.excModule}.${exception.excType}`) ??
    (exception.excModule === "builtins" ? undefined : NATIVES.get(exception.excType));
  if (!make) return new RemoteError(exception, traceback);
  const error = make(exception.args, message);
  // Not enumerable, so that comparing errors in tests sees only the fields of the class.
  Object.defineProperty(error, "traceback", { value: traceback, configurable: true, writable: true });
  Object.defineProperty(error, "module", { value: exception.excModule, configurable: true, writable: true });
  return error;
}

/** Returns Python's text of an exception, `str(exc)`. */
export function exceptionMessage(exception: WireException): string {
  const { args } = exception;
  if (args.length === 0) return "";
  if (args.length > 1) return strictTuple(args);
  return exception.excType === "KeyError" ? strictRepr(args[0]) : pythonText(args[0]);
}

/** Returns Python's repr of an exception, such as `ValueError('boom')`. */
export function exceptionRepr(exception: WireException): string {
  const name = exception.excType.slice(exception.excType.lastIndexOf(".") + 1);
  const { args } = exception;
  let text = "";
  for (let n = 0; n < args.length; n++) text += (n === 0 ? "" : ", ") + strictRepr(args[n]);
  return `${name}(${text})`;
}

function errorRepr(error: unknown): string {
  return typeof error === "string" ? error : exceptionRepr(toWireException(error, ""));
}

function errorModule(error: Error, excType: string, taskName: string): string | null {
  // An error that came over the wire keeps its module, even null.
  const carried = Object.hasOwn(error, "module") ? (error as { module?: unknown }).module : undefined;
  if (typeof carried === "string" || carried === null) return carried;
  const declared = (error.constructor as { module?: unknown } | undefined)?.module;
  const isOurs = error instanceof CeleryError || error instanceof OperatingError;
  if (isOurs && typeof declared === "string") return declared;
  if (BUILTIN_EXCEPTIONS.has(excType)) return "builtins";
  if (typeof declared === "string") return declared;
  return taskModule(taskName);
}

function taskModule(taskName: string): string | null {
  const dot = taskName.lastIndexOf(".");
  return dot > 0 ? taskName.slice(0, dot) : null;
}

function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    // An object without a primitive form, e.g. Object.create(null).
    return readable(() => Object.prototype.toString.call(value), "an object that cannot be read");
  }
}

function strictTuple(args: readonly unknown[]): string {
  let text = "(";
  for (let n = 0; n < args.length; n++) text += (n === 0 ? "" : ", ") + strictRepr(args[n]);
  return text + (args.length === 1 ? ",)" : ")");
}

function humanWhen(when: number | string | null): string {
  if (typeof when === "number") return `in ${pythonRepr(when)}s`;
  return `at ${when === null ? "None" : when}`;
}

function retryFromArgs(args: unknown[], message: string): Retry {
  const [text, exc, when] = args;
  const retry = new Retry(typeof text === "string" ? text : message, {
    exc: exc ?? null,
    when: typeof when === "number" || typeof when === "string" ? when : null,
  });
  return withArgs(retry, args, retry.message);
}

function rejectFromArgs(args: unknown[]): Reject {
  const reject = new Reject(args[0] ?? null, { requeue: args[1] === true });
  return withArgs(reject, args, reject.message);
}

function withArgs<E extends Error>(error: E, args: unknown[], message: string): E {
  error.message = message;
  Object.defineProperty(error, "args", { value: args, configurable: true, writable: true });
  return error;
}
