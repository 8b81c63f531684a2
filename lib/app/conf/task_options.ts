/**
 * A task's options: as the user gives them, and as resolved with settings and `task_annotations`.
 *
 * Source: celery 5.2.6 and 5.6 app/task.py Task attributes and from_config; surface.md (c); contract.md
 * section 5.
 */

import { camelCase, isOptions, namesOf, nearest, refuseUnknown, UsageError } from "../../base/mod.ts";
import type { Configured } from "./conf.ts";
import { SIGNATURE_OPTIONS } from "../../canvas/mod.ts";
import { checkSchema } from "../call/schema.ts";
import type { SendOptions } from "../call/send_options.ts";
import type { TaskRequest } from "../call/request.ts";
import { checkOptionValues } from "./option_kinds.ts";

/** A class of errors, for `instanceof`. */
export type ErrorClass = abstract new (...args: never[]) => unknown;

/** What hooks receive about an error. */
export interface ErrorInfo {
  readonly exception: unknown;
  /** Text in the form of a Python traceback. */
  readonly traceback: string;
}

/** The context of any task, for code that only passes hooks on. */
// deno-lint-ignore no-explicit-any -- what a context is is known above this room's settings
export type AnySelf = any;

/**
 * Hooks in the life of a task, all optional. A promise that a hook returns is awaited. `Self` is the task's
 * context.
 */
export interface TaskHooks<Self = AnySelf> {
  /** Before the function. An error thrown here fails the task. */
  beforeStart?: (self: Self, taskId: string, args: unknown[], kwargs: Record<string, unknown>) => unknown;
  /** After the function has returned. */
  onSuccess?: (
    self: Self,
    result: unknown,
    taskId: string,
    args: unknown[],
    kwargs: Record<string, unknown>,
  ) => unknown;
  /** After the task has failed finally. */
  onFailure?: (
    self: Self,
    error: unknown,
    taskId: string,
    args: unknown[],
    kwargs: Record<string, unknown>,
    info: ErrorInfo,
  ) => unknown;
  /** `error` is the error passed to `retry`, or null. */
  onRetry?: (
    self: Self,
    error: unknown,
    taskId: string,
    args: unknown[],
    kwargs: Record<string, unknown>,
    info: ErrorInfo,
  ) => unknown;
  /** After success, failure and retry; `result` is the value or the error. */
  afterReturn?: (
    self: Self,
    state: string,
    result: unknown,
    taskId: string,
    args: unknown[],
    kwargs: Record<string, unknown>,
    info: ErrorInfo | null,
  ) => unknown;
  /** Before a replacement is sent. */
  onReplace?: (self: Self, signature: unknown) => unknown;
}

/** The permission of one kind: all, none, or those listed. */
export type PermissionGrant = boolean | "inherit" | readonly (string | URL)[];

/**
 * The permissions of a sandboxed task. Paths are relative to its folder; hosts may have a port; `import`
 * accepts "npm:".
 */
export interface TaskPermissions {
  readonly env?: PermissionGrant;
  readonly ffi?: PermissionGrant;
  readonly import?: PermissionGrant;
  readonly net?: PermissionGrant;
  readonly read?: PermissionGrant;
  readonly run?: PermissionGrant;
  readonly sys?: PermissionGrant;
  readonly write?: PermissionGrant;
  /**
   * Ours: tasks that it may send messages to, by names or patterns (`shop.*`); true: any. Default: only
   * itself.
   */
  readonly send?: boolean | readonly string[];
}

/** Deno's kinds of permissions. */
export const PERMISSION_KINDS = ["env", "ffi", "import", "net", "read", "run", "sys", "write"] as const;

/** The options of a task: Celery's attributes in camelCase. Durations are seconds; null means "not set". */
export interface TaskOptions<Self = AnySelf> extends TaskHooks<Self> {
  /** Pass the context as the function's first parameter. Default false. */
  bind?: boolean;
  /** Check arguments when the task is called, too. Default true. */
  typing?: boolean;
  /** Retries before the task fails finally; null: no limit. Default 3. */
  maxRetries?: number | null;
  /** Seconds before a retry. Default 180. */
  defaultRetryDelay?: number;
  /** Errors that are retried automatically. Default none. */
  autoretryFor?: readonly ErrorClass[];
  /** Errors that are not retried automatically, although `autoretryFor` includes them. */
  dontAutoretryFor?: readonly ErrorClass[];
  /**
   * Delay of automatic retries: doubles from this many seconds (true: 1). Default false: `defaultRetryDelay`.
   */
  retryBackoff?: boolean | number;
  /** Maximum of that delay, seconds. Default 600. */
  retryBackoffMax?: number;
  /** Choose the delay at random, up to its computed value. Default true. */
  retryJitter?: boolean;
  /** Options of automatic retries. */
  retryKwargs?: RetryOptions;
  /** `10/s`, `10/m`, `10/h` or a number per second, for each worker. */
  rateLimit?: string | number | null;
  /** Hard time limit of a run, seconds. Default: the setting `task_time_limit`. */
  timeLimit?: number | null;
  /** Soft time limit of a run, seconds. Default: the setting `task_soft_time_limit`. */
  softTimeLimit?: number | null;
  /** True: results are not stored. Default: the setting `task_ignore_result`. */
  ignoreResult?: boolean;
  /** True: store failures even if results are ignored. Default: `task_store_errors_even_if_ignored`. */
  storeErrorsEvenIfIgnored?: boolean;
  /** True: results of calls that run at once are stored. Default: `task_store_eager_result`. */
  storeEagerResult?: boolean;
  /** True: the state STARTED is stored. Default: the setting `task_track_started`. */
  trackStarted?: boolean;
  /** True: messages are acknowledged after the run. Default: the setting `task_acks_late`. */
  acksLate?: boolean;
  /** With `acksLate`: acknowledge failed and timed-out runs. Default: the setting of that name. */
  acksOnFailureOrTimeout?: boolean;
  /** With `acksLate`: acknowledge failed runs. Null: as `acksOnFailureOrTimeout`. */
  acksOnFailure?: boolean | null;
  /** With `acksLate`: acknowledge timed-out runs. Null: as `acksOnFailureOrTimeout`. */
  acksOnTimeout?: boolean | null;
  /** With `acksLate`: requeue the message if the process dies. Default: `task_reject_on_worker_lost`. */
  rejectOnWorkerLost?: boolean | null;
  /** Expected errors: logged at INFO without a traceback; the state is still FAILURE. */
  throws?: readonly ErrorClass[];
  /** Default expiry of its calls. */
  expires?: number | Date | string | null;
  /** Default priority of its calls, 0 to 9. */
  priority?: number | null;
  /** Serializer of its messages. Default: the setting `task_serializer`. */
  serializer?: string | null;
  /** Compressor of its messages. Default: the setting `task_compression`. */
  compression?: string | null;
  /** Queue of its calls, unless a call names one. */
  queue?: string | null;
  /** Exchange of its calls. */
  exchange?: string | null;
  /** Type of that exchange. */
  exchangeType?: string | null;
  /** Routing key of its calls. */
  routingKey?: string | null;
  /** 2: persistent messages, 1: transient ones. Default: the setting `task_default_delivery_mode`. */
  deliveryMode?: 1 | 2 | null;
  /** False: no events are sent about it. Default true. */
  sendEvents?: boolean;
  /** False: tasks that it sends are not recorded as its children. Default true. */
  trail?: boolean;
  /** Maximum characters of the repr of a result. Default 1024. */
  resultreprMaxsize?: number;
  /** Returns a name for logs, for each call; null: the task's name. */
  shadowName?: (args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => string | null;
  /**
   * Ours: the permissions of the task, as in Deno.PermissionOptionsObject; all others are refused
   * (docs/sandbox.md).
   */
  permissions?: TaskPermissions | null;
  /**
   * Ours: MiB of memory beyond what the loaded program takes; a task that exceeds it fails with
   * MemoryLimitExceeded.
   */
  memoryLimit?: number | null;
  /** Ours: names of the parameters for kwargs, if the function does not show them. */
  params?: readonly string[] | null;
  /**
   * Ours: a Standard Schema that checks and transforms the only parameter, or an array with one for each
   * parameter. `App.task` types it, since comparing arktype's schemas with both forms again here is too deep
   * for TypeScript 6.
   */
  schema?: unknown;
}

/** The options of `self.retry`: new arguments, when, how often, and any send option. */
export interface RetryOptions extends SendOptions {
  /** New positional arguments. Default: those of this run. */
  args?: unknown[] | null;
  /** New keyword arguments. Default: those of this run. */
  kwargs?: Record<string, unknown> | null;
  /** The error that is thrown when no retries are left, and stored meanwhile. */
  exc?: unknown;
  /** For this execution; null or absent: the task's own limit. */
  maxRetries?: number | null;
}

/** Resolved options. */
export interface ResolvedTaskOptions<Self = AnySelf> extends TaskHooks<Self> {
  readonly bind: boolean;
  readonly typing: boolean;
  readonly maxRetries: number | null;
  readonly defaultRetryDelay: number;
  readonly autoretryFor: readonly ErrorClass[];
  readonly dontAutoretryFor: readonly ErrorClass[];
  readonly retryBackoff: boolean | number;
  readonly retryBackoffMax: number;
  readonly retryJitter: boolean;
  readonly retryKwargs: RetryOptions;
  readonly rateLimit: string | number | null;
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  readonly ignoreResult: boolean;
  readonly storeErrorsEvenIfIgnored: boolean;
  readonly storeEagerResult: boolean;
  readonly trackStarted: boolean;
  readonly acksLate: boolean;
  readonly acksOnFailure: boolean;
  readonly acksOnTimeout: boolean;
  readonly rejectOnWorkerLost: boolean;
  readonly throws: readonly ErrorClass[];
  readonly expires: number | Date | string | null;
  readonly priority: number | null;
  readonly serializer: string | null;
  readonly compression: string | null;
  readonly queue: string | null;
  readonly exchange: string | null;
  readonly exchangeType: string | null;
  readonly routingKey: string | null;
  readonly deliveryMode: 1 | 2 | null;
  readonly sendEvents: boolean;
  readonly trail: boolean;
  readonly resultreprMaxsize: number;
  readonly shadowName:
    | ((args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => string | null)
    | null;
  readonly permissions: TaskPermissions | null;
  readonly memoryLimit: number | null;
  readonly params: readonly string[] | null;
}

const NAMES = namesOf<TaskOptions>({
  bind: true,
  typing: true,
  maxRetries: true,
  defaultRetryDelay: true,
  autoretryFor: true,
  dontAutoretryFor: true,
  retryBackoff: true,
  retryBackoffMax: true,
  retryJitter: true,
  retryKwargs: true,
  rateLimit: true,
  timeLimit: true,
  softTimeLimit: true,
  ignoreResult: true,
  storeErrorsEvenIfIgnored: true,
  storeEagerResult: true,
  trackStarted: true,
  acksLate: true,
  acksOnFailureOrTimeout: true,
  acksOnFailure: true,
  acksOnTimeout: true,
  rejectOnWorkerLost: true,
  throws: true,
  expires: true,
  priority: true,
  serializer: true,
  compression: true,
  queue: true,
  exchange: true,
  exchangeType: true,
  routingKey: true,
  deliveryMode: true,
  sendEvents: true,
  trail: true,
  resultreprMaxsize: true,
  shadowName: true,
  permissions: true,
  memoryLimit: true,
  params: true,
  schema: true,
  beforeStart: true,
  onSuccess: true,
  onFailure: true,
  onRetry: true,
  afterReturn: true,
  onReplace: true,
});
/** The names of `RetryOptions`. */
export const RETRY_OPTION_NAMES: ReadonlySet<string> = namesOf<RetryOptions>({
  ...SIGNATURE_OPTIONS,
  args: true,
  kwargs: true,
  exc: true,
  maxRetries: true,
});

/** Throws UsageError for an unknown option or an invalid value. */
export function checkTaskOptions(name: string, options: TaskOptions): void {
  refuseUnknown(options, NAMES, `task "${name}"`);
  checkOptionValues(name, options);
  if (options.retryKwargs) {
    refuseUnknown(options.retryKwargs, RETRY_OPTION_NAMES, `retryKwargs of task "${name}"`);
  }
  checkSandbox(name, options);
}

/** Throws UsageError for invalid permissions, memory limit or schema. */
function checkSandbox(name: string, options: TaskOptions): void {
  const { permissions, memoryLimit, schema } = options;
  checkSchema(name, schema);
  if (permissions !== undefined && permissions !== null) {
    if (typeof permissions !== "object" || Array.isArray(permissions)) {
      throw new UsageError(
        `Option "permissions" of task "${name}" must be an object such as { net: ["example.org:443"] }`,
      );
    }
    for (const [kind, grant] of Object.entries(permissions) as [string, unknown][]) {
      if (kind === "send") {
        checkSend(name, grant);
        continue;
      }
      if (!(PERMISSION_KINDS as readonly string[]).includes(kind)) {
        const near = nearest(kind, [...PERMISSION_KINDS, "send"]);
        throw new UsageError(
          `Unknown permission "${kind}" of task "${name}"${near ? `: did you mean "${near}"?` : ""}`,
        );
      }
      const isList = Array.isArray(grant) &&
        grant.every((one) => typeof one === "string" || one instanceof URL);
      if (typeof grant === "boolean" || grant === "inherit" || isList || grant === undefined) continue;
      throw new UsageError(
        `Permission "${kind}" of task "${name}" must be true, false, "inherit" or a list of strings`,
      );
    }
  }
  if (memoryLimit === undefined || memoryLimit === null) return;
  if (typeof memoryLimit !== "number" || !(memoryLimit > 0)) {
    throw new UsageError(`Option "memoryLimit" of task "${name}" must be a number of MiB above 0`);
  }
}

function checkSend(name: string, grant: unknown): void {
  if (grant === undefined || typeof grant === "boolean") return;
  if (Array.isArray(grant) && grant.every((one) => typeof one === "string" && one !== "")) return;
  throw new UsageError(`Permission "send" of task "${name}" must be true, false or a list of names of tasks`);
}

/** Returns the options of a task under the app's current settings. */
export function resolveTaskOptions(app: Configured, name: string, given: TaskOptions): ResolvedTaskOptions {
  const own: TaskOptions = { ...given, ...annotationsOf(app, name) };
  const conf = app.conf;
  const acksBoth = own.acksOnFailureOrTimeout ?? conf.task_acks_on_failure_or_timeout;
  return {
    bind: own.bind ?? false,
    typing: own.typing ?? true,
    maxRetries: own.maxRetries === undefined ? 3 : own.maxRetries,
    defaultRetryDelay: own.defaultRetryDelay ?? 180,
    autoretryFor: own.autoretryFor ?? [],
    dontAutoretryFor: own.dontAutoretryFor ?? [],
    retryBackoff: own.retryBackoff ?? false,
    retryBackoffMax: own.retryBackoffMax ?? 600,
    retryJitter: own.retryJitter ?? true,
    retryKwargs: own.retryKwargs ?? {},
    rateLimit: own.rateLimit === undefined ? conf.task_default_rate_limit : own.rateLimit,
    timeLimit: own.timeLimit ?? null,
    softTimeLimit: own.softTimeLimit ?? null,
    ignoreResult: own.ignoreResult ?? conf.task_ignore_result,
    storeErrorsEvenIfIgnored: own.storeErrorsEvenIfIgnored ?? conf.task_store_errors_even_if_ignored,
    storeEagerResult: own.storeEagerResult ?? conf.task_store_eager_result,
    trackStarted: own.trackStarted ?? conf.task_track_started,
    acksLate: own.acksLate ?? conf.task_acks_late,
    acksOnFailure: own.acksOnFailure ?? conf.task_acks_on_failure ?? acksBoth,
    acksOnTimeout: own.acksOnTimeout ?? conf.task_acks_on_timeout ?? acksBoth,
    rejectOnWorkerLost: own.rejectOnWorkerLost ?? conf.task_reject_on_worker_lost ?? false,
    throws: own.throws ?? [],
    expires: own.expires ?? null,
    priority: own.priority ?? conf.task_default_priority,
    serializer: own.serializer || null,
    compression: own.compression || null,
    queue: own.queue ?? null,
    exchange: own.exchange ?? null,
    exchangeType: own.exchangeType ?? null,
    routingKey: own.routingKey ?? null,
    deliveryMode: own.deliveryMode ?? null,
    sendEvents: own.sendEvents ?? true,
    trail: own.trail ?? true,
    resultreprMaxsize: own.resultreprMaxsize ?? 1024,
    shadowName: own.shadowName ?? null,
    permissions: own.permissions ?? null,
    memoryLimit: own.memoryLimit ?? null,
    params: own.params ?? null,
    ...hooksOf(own),
  };
}

function hooksOf(own: TaskOptions): TaskHooks {
  const hooks: TaskHooks = {};
  if (own.beforeStart) hooks.beforeStart = own.beforeStart;
  if (own.onSuccess) hooks.onSuccess = own.onSuccess;
  if (own.onFailure) hooks.onFailure = own.onFailure;
  if (own.onRetry) hooks.onRetry = own.onRetry;
  if (own.afterReturn) hooks.afterReturn = own.afterReturn;
  if (own.onReplace) hooks.onReplace = own.onReplace;
  return hooks;
}

/**
 * Returns the `task_annotations` of one task: those of `*`, overridden by those of its name; functions are
 * called. Names may be Celery's snake_case.
 */
function annotationsOf(app: Configured, name: string): TaskOptions {
  const annotations = app.conf.task_annotations;
  if (!annotations) return {};
  const found: Record<string, unknown> = {};
  const all: unknown[] = Array.isArray(annotations) ? annotations : [annotations];
  for (const one of all) {
    if (typeof one === "function") addAnnotation(found, one(app.tasks.get(name) ?? { name }));
    else {
      addAnnotation(found, (one as Record<string, unknown>)["*"]);
      addAnnotation(found, (one as Record<string, unknown>)[name]);
    }
  }
  checkTaskOptions(name, found as TaskOptions);
  return found as TaskOptions;
}

function addAnnotation(found: Record<string, unknown>, annotation: unknown): void {
  if (annotation === null || annotation === undefined) return;
  if (!isOptions(annotation)) throw new UsageError("task_annotations: a function gives no object of options");
  for (const [option, value] of Object.entries(annotation)) {
    found[camelCase(option)] = value;
  }
}

/** Returns the request of a direct call, outside any worker. */
export function directRequest(
  name: string,
  args: unknown[],
  kwargs: Record<string, unknown>,
  id: string,
): TaskRequest {
  return {
    id,
    task: name,
    args,
    kwargs,
    rootId: null,
    parentId: null,
    group: null,
    groupIndex: null,
    chord: null,
    chain: null,
    callbacks: null,
    errbacks: null,
    retries: 0,
    eta: null,
    expires: null,
    timeLimit: null,
    softTimeLimit: null,
    timelimit: [null, null],
    deliveryInfo: { exchange: "", routingKey: "", redelivered: false, priority: 0 },
    replyTo: null,
    correlationId: null,
    headers: {},
    properties: {},
    hostname: null,
    origin: null,
    shadow: null,
    argsrepr: null,
    kwargsrepr: null,
    utc: true,
    isEager: false,
    calledDirectly: true,
    ignoreResult: false,
    replacedTaskNesting: 0,
    stamps: {},
    stampedHeaders: null,
    children: [],
  };
}
