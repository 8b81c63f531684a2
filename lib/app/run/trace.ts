/**
 * Runs tasks: takes a message, returns an outcome.
 *
 * A synchronous task that sends nothing is finished within one call, without a promise. Messages that others
 * wait for (callbacks, the next step of the chain, a retry) are published before the outcome is returned.
 *
 * Source: celery 5.2.6 app/trace.py build_tracer, backends/base.py mark_as_*; protocol.md 8.2, 8.6.
 */

import { type Level, type LogTask, SeqMap } from "../../base/mod.ts";
import {
  type Accept,
  acceptedTypes,
  decodeProtocol1,
  decodeTaskBody,
  decodeTaskHeaders,
  type DeliveryInfo,
  type EncodedMessage,
  EXCEPTION_STATES,
  fromPlainJson,
  InvalidTaskError,
  isSerializerLoaded,
  loadSerializer,
  NotRegistered,
  type TaskBody,
  type TaskHeaders,
  toJson,
  toWireException,
} from "../../wire/mod.ts";
import { activeTracing, startTracing, type Tracing } from "../../trace/mod.ts";
import { bindArguments } from "../call/calling.ts";
import { runAsTask, runSyncAsTask, unsampledTrace } from "../call/current_task.ts";
import { bareOutcome, type EndedTask, type Outcome } from "../call/outcome.ts";
import { schemaOf, validated } from "../call/schema.ts";
import { signals } from "../call/signals.ts";
import type { ResolvedTaskOptions } from "../conf/task_options.ts";
import type { AppCore, RunnableTask } from "../core.ts";
import { callAfterEnd } from "./after_end.ts";
import { Context } from "./context.ts";
import { Endings } from "./endings.ts";
import { hasHooks, hasSignalReceivers, hooksAfter, hooksOf } from "./hooks.ts";
import { isSandboxed, LOOPS } from "./loops.ts";
import { Run, type RunHost } from "./run.ts";
import {
  callerHere,
  errorDocument,
  errorFacts,
  type ResultStyle,
  storable,
  valueDocument,
} from "./trace_outcome.ts";

/** A task to run. */
export interface TraceJob {
  readonly seq: number;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  /** Contains the message as text in kombu's envelope, made on first use; a sandbox receives it. */
  readonly source?: { readonly envelope: string };
  /** Node name. */
  readonly hostname: string;
  /** Seconds, merged from message, task and settings; null: none. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /** The headers, if the caller has decoded them. */
  readonly headers?: TaskHeaders | null;
  /** Set if the worker has ended the task: the task is not run, only its hooks and errbacks are called. */
  readonly ended?: EndedTask | null;
}

/** Runs tasks that declare `permissions` or `memoryLimit`, in isolates of their own. */
export interface Sandbox {
  /** Resolves with the outcome. Rejects with the error with which the task fails. */
  run(run: Run, job: TraceJob, options: ResolvedTaskOptions): Promise<Outcome>;
}

/** Receives a running task's reports before its end. None may throw. */
export interface TracerHost {
  onState(seq: number, state: string, document: string | Uint8Array): void;
  onEvent(seq: number, type: string, fields: Record<string, unknown>): void;
  log(level: Level, message: string, task: LogTask): void;
}

/** What the tracer knows of a task before it runs. */
interface Plan {
  readonly task: RunnableTask;
  readonly options: ResolvedTaskOptions;
  readonly hasHooks: boolean;
  /** True if it declares permissions or a memory limit. */
  readonly isSandboxed: boolean;
  /**
   * Number of successive runs that returned no promise; -1 if a run returned one: then each run is entered so
   * that code after an await sees the task.
   */
  syncRuns: number;
}

/**
 * After this many runs without a promise a function is taken to be synchronous. If it returns a promise after
 * all, messages sent after the first await of that one run have no parent.
 */
const SYNC_AFTER_RUNS = 16;

/** Fields of a log format that need the stack for each line. */
const CALLER_FIELD = /%\((filename|funcName|lineno|module|pathname)\)/;

const CARRIES_ALL = { carriesAll: true };

const NO_PROPERTIES = {
  correlationId: null,
  replyTo: "",
  deliveryMode: 2,
  priority: 0,
  expiration: null,
  rest: null,
} as const;

/** Runs the tasks of one app. Settings and options are read once: make a new tracer when they change. */
export class Tracer implements RunHost {
  /** Null: sandboxed tasks run right here, as in the isolate that is their sandbox. */
  sandbox: Sandbox | null = null;
  readonly #app: AppCore;
  readonly #host: TracerHost;
  readonly #plans = new Map<string, Plan>();
  readonly #running = new SeqMap<Run>();
  readonly #accept: Accept;
  readonly #style: ResultStyle;
  readonly #isExtended: boolean;
  readonly #endings: Endings;
  /** True if the log format of tasks shows where a line was written. */
  readonly #showsCaller: boolean;

  constructor(app: AppCore, host: TracerHost) {
    const { conf, world } = app;
    this.#app = app;
    this.#host = host;
    this.#accept = acceptedTypes(conf.accept_content);
    this.#style = { serializer: conf.result_serializer, now: () => world.clock.wallMs() };
    this.#isExtended = conf.result_extended;
    this.#showsCaller = CALLER_FIELD.test(conf.worker_task_log_format);
    this.#endings = new Endings(
      app,
      this.#style,
      (seq, state, document) => host.onState(seq, state, document),
    );
  }

  /**
   * Starts tracing if it is configured (`node`: the worker's name), and loads the serializers that messages,
   * results and retries need. Await it once before the first `run`: if a module were imported within a task,
   * all code of the isolate outside of tasks would then see that task as the current one (Deno 2.9). Rejects
   * with EncodeError for an unknown serializer in the settings.
   */
  async open(node: string = this.#app.oid): Promise<void> {
    const { conf, name, tasks, world } = this.#app;
    await startTracing(world, { service: name, node, unsampled: unsampledTrace });
    const needed = new Set([conf.result_serializer, conf.task_serializer, ...conf.accept_content]);
    const names = new Set(needed);
    for (const [, { sendOptions }] of tasks) if (sendOptions.serializer) names.add(sendOptions.serializer);
    for (const name of names) {
      if (isSerializerLoaded(name)) continue;
      // A task's own serializer that does not exist is reported by the code that sends with it.
      await loadSerializer(name).catch((error) => {
        if (needed.has(name)) throw error;
      });
    }
  }

  /**
   * Runs one task. Returns the outcome at once if the task is synchronous and nothing must be published
   * first, else a promise. Never throws or rejects. Data lane: per message.
   */
  run(job: TraceJob): Outcome | Promise<Outcome> {
    if (job.ended) return this.#afterEnd(job, job.ended);
    let run: Run;
    try {
      run = this.#decode(job);
    } catch (error) {
      return this.#undecoded(job, error);
    }
    const tracing = activeTracing();
    if (tracing === null) return this.#begin(run, job);
    run.isUnsampled = tracing.isUnsampled(job.message.headers);
    return run.isUnsampled ? this.#begin(run, job) : this.#beginTraced(tracing, run, job);
  }

  #begin(run: Run, job: TraceJob): Outcome | Promise<Outcome> {
    if (this.sandbox !== null) {
      const options = this.#sandboxOf(run);
      if (options !== null) return this.#runSandboxed(run, job, options);
    }
    return this.execute(run);
  }

  /** Runs in a span, which ends with the outcome, so that messages published at the end belong to it. */
  #beginTraced(tracing: Tracing, run: Run, job: TraceJob): Outcome | Promise<Outcome> {
    const facts = {
      name: run.name,
      id: run.id,
      headers: job.message.headers,
      hostname: job.hostname,
      routingKey: job.info.routingKey ?? "",
      correlationId: job.message.properties?.correlationId ?? null,
      retries: run.headers.retries,
    };
    return tracing.run(facts, (span) => {
      run.span = span;
      const outcome = this.#begin(run, job);
      return outcome instanceof Promise
        ? outcome.then((ended) => endSpan(run, ended))
        : endSpan(run, outcome);
    });
  }

  /** Interrupts a running task; its signal aborts with `reason`. No effect on a task that has ended. */
  interrupt(seq: number, reason: Error): void {
    this.#running.get(seq)?.interrupt(reason);
  }

  /** Runs a decoded task. Never throws or rejects. */
  execute(run: Run): Outcome | Promise<Outcome> {
    run.startedMs = this.#app.world.clock.monoMs();
    const plan = this.#plans.get(run.name) ?? this.plan(run.task);
    if (plan.hasHooks || hasSignalReceivers()) return this.#executeSlowly(run);
    let value: unknown;
    let isAwaited: boolean;
    try {
      value = plan.syncRuns >= SYNC_AFTER_RUNS
        ? runSyncAsTask(run, callTask, run)
        : runAsTask(run, callTask, run);
      isAwaited = isPromise(value);
    } catch (error) {
      return this.#endings.failed(run, error);
    }
    if (isAwaited) {
      plan.syncRuns = -1;
      return this.#settle(run, value as PromiseLike<unknown>);
    }
    if (plan.syncRuns >= 0) plan.syncRuns++;
    return this.#endings.succeeded(run, value);
  }

  /** Returns the plan of a task; made when the task first runs. */
  plan(task: RunnableTask): Plan {
    let plan = this.#plans.get(task.name);
    if (plan === undefined) {
      const { options } = task;
      plan = {
        task,
        options,
        hasHooks: hasHooks(options),
        isSandboxed: isSandboxed(options),
        syncRuns: isAsyncFunction(task.fn) ? -1 : 0,
      };
      this.#plans.set(task.name, plan);
    }
    return plan;
  }

  /**
   * Returns the options whose sandbox a run belongs in, or null. A map runs in the sandbox of the task that
   * it calls.
   */
  #sandboxOf(run: Run): ResolvedTaskOptions | null {
    const plan = this.plan(run.task);
    if (plan.isSandboxed) return run.options;
    if (!LOOPS.has(run.name)) return null;
    const given = (run.body.args[0] ?? run.body.kwargs["task"]) as { task?: unknown } | null | undefined;
    const inner = typeof given?.task === "string" ? this.#app.tasks.get(given.task) : undefined;
    return inner !== undefined && this.plan(inner).isSandboxed ? inner.options : null;
  }

  /**
   * Runs a task in its sandbox, hooks included. If the sandbox cannot start, or ends the run, the task fails
   * here.
   */
  async #runSandboxed(run: Run, job: TraceJob, options: ResolvedTaskOptions): Promise<Outcome> {
    run.startedMs = this.#app.world.clock.monoMs();
    try {
      return await this.sandbox!.run(run, job, options);
    } catch (error) {
      return await this.#endings.failed(run, error);
    }
  }

  /**
   * Calls hooks and errbacks of a task that the worker has ended, in the task's sandbox if it has one. Never
   * rejects.
   */
  async #afterEnd(job: TraceJob, ended: EndedTask): Promise<Outcome> {
    let run: Run | null = null;
    try {
      run = this.#decode(job);
    } catch {
      // A task that is not registered, or whose arguments cannot be read, has only errbacks.
    }
    const options = run === null || this.sandbox === null ? null : this.#sandboxOf(run);
    if (options === null) await callAfterEnd(this.#app, job.message, ended, run);
    else {
      try {
        await this.sandbox!.run(run!, job, options);
      } catch (error) {
        run!.log("ERROR", `Cannot call the hooks of ${run!.name}[${run!.id}]: ${errorFacts(error, "").repr}`);
      }
    }
    return bareOutcome(job.seq, "ignore");
  }

  #decode(job: TraceJob): Run {
    const { message } = job;
    let headers = job.headers ?? decodeTaskHeaders(message);
    let body: TaskBody | null;
    if (headers === null) {
      const old = decodeProtocol1(message, this.#accept);
      if (old === null) throw new InvalidTaskError("Message is not a task");
      headers = old.headers;
      body = old.body;
    } else body = null;
    let plan = this.#plans.get(headers.task);
    if (plan === undefined) {
      const task = this.#app.tasks.get(headers.task);
      if (task === undefined) throw new NotRegistered(headers.task);
      plan = this.plan(task);
    }
    // Celery's own tasks only pass their arguments on.
    body ??= decodeTaskBody(message, this.#accept, plan.task.isBuiltin ? CARRIES_ALL : undefined);
    return new Run(this.#app, this, {
      seq: job.seq,
      task: plan.task,
      options: plan.options,
      headers,
      body,
      message,
      source: job.source ?? null,
      properties: message.properties ?? NO_PROPERTIES,
      info: job.info,
      hostname: job.hostname,
      timeLimit: job.timeLimit,
      softTimeLimit: job.softTimeLimit,
      isEager: false,
    });
  }

  /** Returns the failure of a message that cannot be run. */
  #undecoded(job: TraceJob, error: unknown): Outcome {
    const outcome = bareOutcome(job.seq, "failure");
    const id = String(job.message.headers["id"] ?? job.message.properties?.correlationId ?? "");
    const name = String(job.message.headers["task"] ?? "");
    const facts = errorFacts(error, name);
    outcome.summary = facts.repr;
    outcome.exception = facts.repr;
    outcome.traceback = facts.traceback;
    if (id !== "") {
      const owner = { id, name, group: null, groupIndex: null, parentId: null, chord: null, children: null };
      outcome.state = "FAILURE";
      outcome.document = errorDocument(this.#style, owner, {
        state: "FAILURE",
        exception: facts.exception,
        traceback: null,
        extended: null,
      });
    }
    return outcome;
  }

  #settle(run: Run, promise: PromiseLike<unknown>): Promise<Outcome> {
    const { seq } = run.init;
    this.#running.set(seq, run);
    return run.race(promise).then(
      (value) => {
        this.#ended(run);
        return this.#endings.succeeded(run, value);
      },
      (error) => {
        this.#ended(run);
        return this.#endings.failed(run, error);
      },
    );
  }

  #ended(run: Run): void {
    this.#running.delete(run.init.seq);
    run.end();
  }

  /** Runs a task with hooks or connected signals. Never rejects. */
  async #executeSlowly(run: Run): Promise<Outcome> {
    const { task, id, body } = run;
    const { args, kwargs } = body;
    const self = new Context(run);
    const { log } = this.#app.world;
    await signals.taskPrerun.sendAndWait(task, { taskId: id, task, args, kwargs }, log);
    let outcome: Outcome;
    try {
      const { beforeStart } = hooksOf(run);
      if (beforeStart) await runAsTask(run, () => beforeStart(self, id, args, kwargs), null);
      const value = runAsTask(run, callTask, run);
      outcome = isPromise(value) ? await this.#settle(run, value) : await this.#endings.succeeded(run, value);
    } catch (error) {
      outcome = await this.#endings.failed(run, error);
    }
    await hooksAfter(run, self, outcome, log);
    await signals.taskPostrun.sendAndWait(task, {
      taskId: id,
      task,
      args,
      kwargs,
      retval: outcome.kind === "success" ? run.value : run.error,
      state: STATES[outcome.kind] ?? outcome.state ?? outcome.kind.toUpperCase(),
    }, log);
    return outcome;
  }

  updateState(run: Run, state: string, meta: unknown, taskId: string | null): void {
    const owner = taskId === null || taskId === run.id ? run : {
      id: taskId,
      name: run.name,
      group: run.group,
      groupIndex: run.groupIndex,
      parentId: run.parentId,
      chord: null,
      children: run.children,
    };
    const extended = this.#isExtended ? run.extended() : null;
    const document = EXCEPTION_STATES.has(state) && meta instanceof Error
      ? errorDocument(this.#style, owner, {
        state,
        exception: toWireException(meta, run.name),
        traceback: null,
        extended,
      })
      : valueDocument(this.#style, owner, { state, value: storable(meta), extended });
    this.#host.onState(run.init.seq, state, document);
  }

  sendEvent(run: Run, type: string, fields: Record<string, unknown>): void {
    // Throws for fields that cannot be encoded, and copies them, so that later changes have no effect.
    this.#host.onEvent(run.init.seq, type, fromPlainJson(toJson(fields)) as Record<string, unknown>);
  }

  log(run: Run, level: Level, message: string): void {
    const caller = this.#showsCaller ? callerHere() : null;
    this.#host.log(level, message, { name: run.name, id: run.id, traceparent: run.traceparent, caller });
  }
}

const STATES: Readonly<Record<string, string>> = { ignore: "IGNORED", reject: "REJECTED" };

/** Ends a run's span according to the outcome. */
function endSpan(run: Run, outcome: Outcome): Outcome {
  const { kind, state, expected, exception, summary } = outcome;
  const hasFailed = kind !== "success" && kind !== "retry" && kind !== "ignore" && !expected;
  const error = hasFailed ? run.error ?? new Error(exception ?? summary) : null;
  run.span?.end(state ?? STATES[kind] ?? kind.toUpperCase(), error, kind === "retry" ? summary : null);
  if (outcome.chord !== null && run.span?.isSampled) outcome.chord.traceparent = run.span.traceparent;
  return outcome;
}

/** Calls the user's function with the message's arguments, after its schema has checked them. */
function callTask(run: Run): unknown {
  const { task, body } = run;
  const args = bindArguments(task.parameters, body.args, body.kwargs, task.label);
  const schema = schemaOf(task.given);
  if (schema === null) return callWith(run, args);
  const checked = validated(schema, args);
  return checked instanceof Promise ? checked.then((all) => callWith(run, all)) : callWith(run, checked);
}

/**
 * Not a closure of `callTask`: the bundler names each closure when it is created, which costs a microsecond
 * per task.
 */
function callWith(run: Run, args: unknown[]): unknown {
  const fn = run.task.fn as (...args: unknown[]) => unknown;
  return run.options.bind ? fn(new Context(run), ...args) : fn.apply(undefined, args);
}

function isAsyncFunction(fn: (...args: never[]) => unknown): boolean {
  return fn.constructor.name === "AsyncFunction";
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return value !== null && typeof value === "object" &&
    typeof (value as { then?: unknown }).then === "function";
}
