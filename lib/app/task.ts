/**
 * A task: a function with a name, which stays callable and can be sent.
 *
 * Source: celery 5.2.6 app/task.py Task; contract.md section 2, "Task<Args, R>".
 */

import { refuseUnknown } from "../base/mod.ts";
import {
  Chunks,
  refuseUnknownInSignature,
  refuseWrongArguments,
  Signature,
  valueToWire,
  xmap,
  xstarmap,
} from "../canvas/mod.ts";
import { bindArguments, type Parameters, parametersOf } from "./call/calling.ts";
import type { AppCore, UserApp } from "./core.ts";
import { canvasSender } from "./send/canvas_send.ts";
import { schemaOf, schemaParameters, validated } from "./call/schema.ts";
import { Context } from "./run/context.ts";
import { directExecution } from "./run/execution.ts";
import type { EagerResult } from "./run/eager.ts";
import { loadRunning } from "./run/running.ts";
import { AsyncResult } from "./result/results.ts";
import { checkCall, checkPriority, SEND_OPTION_NAMES, type SendOptions } from "./call/send_options.ts";
import { callOptions, execOptions } from "./conf/call_options.ts";
import {
  checkTaskOptions,
  type ResolvedTaskOptions,
  resolveTaskOptions,
  type TaskOptions as OptionsFor,
} from "./conf/task_options.ts";

export type { ErrorClass, ErrorInfo, RetryOptions } from "./conf/task_options.ts";

/** The options of a task: Celery's attributes in camelCase. Durations are seconds; null means "not set". */
export interface TaskOptions extends OptionsFor<Context> {}

/** Any task, without its types. */
// deno-lint-ignore no-explicit-any
export type AnyTask = Task<any[], any, any>;

/**
 * The arguments of a partial signature: any number of trailing ones; the arguments before them are given
 * later.
 */
export type PartialArgs<Args extends unknown[]> =
  | Args
  | []
  | (Args extends [unknown?, ...infer Rest] ? Rest extends Args ? never : PartialArgs<Rest> : never);

/**
 * A registered task. Calling it calls the user's function directly; with `bind` the function gets a context
 * whose request has `calledDirectly` set. `R` is the result, `Out` is what the function returns (possibly a
 * promise).
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop", { broker_url: "redis://localhost", result_backend: "redis://localhost" });
 * const add = app.task("shop.add", (x: number, y: number) => x + y);
 * add(1, 2); // 3, called directly
 * const result = await add.applyAsync([1, 2], {}, { countdown: 10 }); // sent
 * console.log(await result.get({ timeout: 30 })); // 3, from a worker
 * ```
 */
export interface Task<Args extends unknown[] = unknown[], R = unknown, Out = R | Promise<R>> {
  (...args: Args): Out;
  /** The task's name on the wire. */
  readonly name: string;
  /** The App that the task belongs to. */
  readonly app: UserApp;
  /** The user's function. */
  readonly fn: (...args: never[]) => unknown;
  /** Its parameters besides the context. */
  readonly parameters: Parameters;
  /** The name's last part, as errors about arguments show it. */
  readonly label: string;
  /** True for Celery's own tasks (`celery.…`). */
  readonly isBuiltin: boolean;
  /** The options as given. */
  readonly given: TaskOptions;
  /** The options resolved with the current settings. */
  readonly options: ResolvedTaskOptions<Context>;
  /** Options that it adds to each of its calls. */
  readonly sendOptions: SendOptions;
  /**
   * Sends a call. Resolves when the broker has confirmed it. With `task_always_eager` runs the task instead.
   *
   * @throws {TypeError} if the arguments do not fit the parameters.
   * @throws {ValidationError} if the task's schema refuses them.
   * @throws {EncodeError} if they cannot be serialized.
   * @throws {UsageError} for wrong options.
   * @throws {OperatingError} if the broker did not accept the message after all retries.
   */
  delay(...args: Args): Promise<AsyncResult<R>>;
  /** Like `delay`, with kwargs and options. */
  applyAsync(
    args?: Args | readonly unknown[] | null,
    kwargs?: Readonly<Record<string, unknown>> | null,
    options?: SendOptions | null,
  ): Promise<AsyncResult<R>>;
  /**
   * Runs the task in this process as a worker would, without a broker. Task errors are in the result, unless
   * `throw` is set (default `task_eager_propagates`).
   *
   * @throws {UsageError} for an unknown option.
   */
  apply(
    args?: Args | readonly unknown[] | null,
    kwargs?: Readonly<Record<string, unknown>> | null,
    options?: (SendOptions & { throw?: boolean }) | null,
  ): Promise<EagerResult<R>>;
  /** Returns a signature with these trailing arguments; a previous result is passed before them. */
  s(...args: PartialArgs<Args>): Signature<R, AsyncResult<R>>;
  /** Returns an immutable signature, to which no previous result is passed. */
  si(...args: Args): Signature<R, AsyncResult<R>>;
  /** Returns a signature with arguments, kwargs and options. Throws UsageError for an unknown option. */
  signature(
    args?: readonly unknown[] | null,
    kwargs?: Readonly<Record<string, unknown>> | null,
    options?: SendOptions & { immutable?: boolean },
  ): Signature<R, AsyncResult<R>>;
  /** Returns a signature that computes `[task(item) for item in it]` in one message. */
  map(it: Iterable<Args[0]>): Signature<R[], AsyncResult<R[]>>;
  /** Returns a signature that computes `[task(*item) for item in it]` in one message. */
  starmap(it: Iterable<Args>): Signature<R[], AsyncResult<R[]>>;
  /** Returns a signature that sends messages of `n` calls each. */
  chunks(it: Iterable<Args>, n: number): Chunks<R>;
  /** Returns the result of one of its calls, by id. */
  AsyncResult(id: string): AsyncResult<R>;
  /**
   * Throws the TypeError or ValidationError with which these arguments would fail. An asynchronous schema is
   * not waited for. Sending calls it, unless option `typing` is false.
   */
  checkArguments(args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): void;
}

/** The data of a task, apart from the function itself. */
class TaskCore {
  readonly app: AppCore;
  readonly name: string;
  readonly fn: (...args: never[]) => unknown;
  readonly given: TaskOptions;
  readonly label: string;
  readonly isBuiltin: boolean;
  readonly parameters: Parameters;
  #options: ResolvedTaskOptions | null = null;
  #send: SendOptions = {};
  #version = -1;

  constructor(
    app: AppCore,
    name: string,
    given: TaskOptions,
    fn: (...args: never[]) => unknown,
    isBuiltin: boolean,
  ) {
    this.app = app;
    this.name = name;
    this.fn = fn;
    this.given = given;
    this.isBuiltin = isBuiltin;
    this.label = name.slice(name.lastIndexOf(".") + 1);
    const parameters = parametersOf(fn, { skip: given.bind ? 1 : 0, params: given.params });
    const schema = schemaOf(given);
    this.parameters = schema === null ? parameters : schemaParameters(parameters, schema);
  }

  get options(): ResolvedTaskOptions {
    this.#refresh();
    return this.#options!;
  }

  get sendOptions(): SendOptions {
    this.#refresh();
    return this.#send;
  }

  #refresh(): void {
    const version = this.app.conf.version;
    if (this.#options !== null && this.#version === version) return;
    this.#version = version;
    this.#options = resolveTaskOptions(this.app, this.name, this.given);
    this.#send = execOptions(this.#options);
  }
}

const NO_KWARGS: Readonly<Record<string, unknown>> = Object.freeze({});
/** The names of `apply`'s options. */
const APPLY_OPTION_NAMES: ReadonlySet<string> = new Set([...SEND_OPTION_NAMES, "throw"]);

/** The methods of every task; `this` is the task function. */
const METHODS = {
  delay(this: AnyTask, ...args: unknown[]): Promise<AsyncResult> {
    return this.applyAsync(args, null, null);
  },

  applyAsync(
    this: AnyTask,
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: SendOptions | null = null,
  ): Promise<AsyncResult> {
    try {
      const positional = (args ?? []) as unknown[];
      const named = kwargs ?? NO_KWARGS;
      checkCall(this.name, positional, named);
      if (options !== null) {
        refuseUnknown(options, SEND_OPTION_NAMES, `task "${this.name}"`);
        checkPriority(this.name, options.priority);
      }
      if (this.options.typing) this.checkArguments(positional, named);
      const merged = callOptions(this, positional, named, options);
      if (this.app.conf.task_always_eager) {
        return loadRunning().then(({ eagerly }) => eagerly(this, positional, named, merged));
      }
      return this.app.send(
        this.name,
        positional.some(isSignature) ? positional.map(valueToWire) : positional,
        plainKwargs(named),
        merged,
      );
    } catch (error) {
      return Promise.reject(error);
    }
  },

  apply(
    this: AnyTask,
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: (SendOptions & { throw?: boolean }) | null = null,
  ): Promise<EagerResult> {
    try {
      refuseWrongArguments("run task", this.name, args, kwargs);
      if (options !== null) refuseUnknown(options, APPLY_OPTION_NAMES, `task "${this.name}"`);
      return loadRunning().then(({ applyEagerly }) =>
        applyEagerly(this, args ?? [], kwargs ?? NO_KWARGS, options ?? {})
      );
    } catch (error) {
      return Promise.reject(error);
    }
  },

  s(this: AnyTask, ...args: unknown[]): Signature {
    return this.signature(args);
  },

  si(this: AnyTask, ...args: unknown[]): Signature {
    return this.signature(args, null, { immutable: true });
  },

  signature(
    this: AnyTask,
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: SendOptions & { immutable?: boolean } = {},
  ): Signature {
    const { immutable = false, ...rest } = options;
    refuseUnknownInSignature(rest as Record<string, unknown>, this.name);
    return new Signature(this.name, {
      args,
      kwargs,
      options: rest as Record<string, unknown>,
      immutable,
      app: canvasSender(this.app),
    });
  },

  map(this: AnyTask, it: Iterable<unknown>): Signature<unknown[]> {
    return xmap(this.s(), it);
  },

  starmap(this: AnyTask, it: Iterable<readonly unknown[]>): Signature<unknown[]> {
    return xstarmap(this.s(), it);
  },

  chunks(this: AnyTask, it: Iterable<readonly unknown[]>, n: number): Chunks {
    return new Chunks(this.s(), it, n);
  },

  AsyncResult(this: AnyTask, id: string): AsyncResult {
    return new AsyncResult(id, this.app);
  },

  checkArguments(this: AnyTask, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): void {
    const bound = bindArguments(this.parameters, args as unknown[], kwargs, this.label);
    const schema = schemaOf(this.given);
    if (schema === null) return;
    const checked = validated(schema, bound);
    // The worker checks arguments with an asynchronous schema.
    if (checked instanceof Promise) checked.catch(() => {});
  },
};

/**
 * Makes a task of a function, for the app to register. Throws UsageError for unknown or invalid options.
 * `isBuiltin` marks Celery's own tasks.
 */
export function createTask(
  app: AppCore,
  name: string,
  options: TaskOptions,
  fn: (...args: never[]) => unknown,
  isBuiltin = false,
): AnyTask {
  checkTaskOptions(name, options);
  const core = new TaskCore(app, name, options, fn, isBuiltin);
  const plain = fn as (...args: unknown[]) => unknown;
  const direct = options.bind
    ? (...args: unknown[]) => plain(new Context(directExecution(core, args)), ...args)
    : plain;
  const schema = schemaOf(options);
  const task = schema !== null
    ? (...args: unknown[]) => {
      const checked = validated(schema, args);
      return checked instanceof Promise ? checked.then((all) => direct(...all)) : direct(...checked);
    }
    : (...args: unknown[]) => direct(...args);
  for (const key of ["app", "name", "fn", "given", "label", "isBuiltin", "parameters"] as const) {
    Object.defineProperty(task, key, { value: core[key], enumerable: key === "name" });
  }
  for (const key of ["options", "sendOptions"] as const) {
    Object.defineProperty(task, key, { get: () => core[key] });
  }
  Object.defineProperty(task, "length", { value: fn.length });
  return Object.assign(task, METHODS) as unknown as AnyTask;
}

function isSignature(value: unknown): boolean {
  return value instanceof Signature;
}

function plainKwargs(kwargs: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let hasSignature = false;
  for (const name in kwargs) {
    if (kwargs[name] instanceof Signature) hasSignature = true;
  }
  if (!hasSignature) return kwargs;
  return Object.fromEntries(Object.entries(kwargs).map(([name, value]) => [name, valueToWire(value)]));
}
