/**
 * Runs tasks: a message in, an outcome out.
 *
 * A synchronous task that sends nothing is done within one call, without a promise. Whatever a task makes others wait
 * for (callbacks, the next step of its chain, its retry) is published before its outcome is given.
 *
 * Source: celery 5.2.6 app/trace.py build_tracer, backends/base.py mark_as_*; protocol.md 8.2, 8.6.
 */

import { type Level, SeqMap } from "../base/mod.ts";
import {
  type Accept,
  acceptedTypes,
  decodeProtocol1,
  decodeTaskBody,
  decodeTaskHeaders,
  type DeliveryInfo,
  type EncodedMessage,
  EXCEPTION_STATES,
  Ignore,
  InvalidTaskError,
  isSerializerLoaded,
  loadSerializer,
  NotRegistered,
  pythonRepr,
  Reject,
  type ResultTuple,
  Retry,
  type TaskBody,
  type TaskHeaders,
  toWireException,
} from "../wire/mod.ts";
import type { App } from "./app.ts";
import { isSandboxed, LOOPS } from "./loops.ts";
import { bindArguments } from "./calling.ts";
import { applySignature } from "./canvas_send.ts";
import { Context } from "./context.ts";
import { runAsTask, runSyncAsTask } from "./current_task.ts";
import { type Done, sendErrbacks, sendNext } from "./dispatch.ts";
import type { Outcome } from "./outcome.ts";
import { replacementOf } from "./replacing.ts";
import { autoRetry, isOneOf, isSoftLimit } from "./retrying.ts";
import { Run, type RunHost } from "./run.ts";
import type { SendCall } from "./send_options.ts";
import { signals } from "./signals.ts";
import type { AnyTask } from "./task.ts";
import type { ErrorInfo, ResolvedTaskOptions } from "./task_options.ts";
import {
  alsoFailed,
  chordOfError,
  chordOfValue,
  emptyOutcome,
  errorDocument,
  type ErrorFacts,
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
  /** Has the message as text in kombu's envelope, made when first asked for: what a sandbox is given. */
  readonly source?: { readonly envelope: string };
  /** Node name. */
  readonly hostname: string;
  /** Seconds, merged of message, task and settings; null: none. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /** The headers, where the caller has decoded them already. */
  readonly headers?: TaskHeaders | null;
}

/** Runs the tasks that declare `permissions` or `memoryLimit`, in isolates of their own. */
export interface Sandbox {
  /** Resolves with the outcome; rejects with the error that the task is to fail with. */
  run(job: TraceJob, options: ResolvedTaskOptions): Promise<Outcome>;
}

/** What a running task makes known before its end. None may throw. */
export interface TracerHost {
  onState(seq: number, state: string, document: string | Uint8Array): void;
  onEvent(seq: number, type: string, fields: Record<string, unknown>): void;
  log(level: Level, message: string, task: { name: string; id: string }): void;
}

/** What is known of a task before it runs. */
interface Plan {
  readonly task: AnyTask;
  readonly options: ResolvedTaskOptions;
  readonly hasHooks: boolean;
  /** It declares what it may touch. */
  readonly isSandboxed: boolean;
  /** Runs in a row that returned no promise; -1: it may, it is always entered so that its awaits see the task. */
  syncRuns: number;
}

/**
 * After so many runs without a promise a function is taken to be synchronous. Should it return one after all, what it
 * sends after its first await in that one run has no parent.
 */
const SYNC_AFTER_RUNS = 16;

const NO_PROPERTIES = {
  correlationId: null,
  replyTo: "",
  deliveryMode: 2,
  priority: 0,
  expiration: null,
  rest: null,
} as const;

/** Runs the tasks of one app. Settings and options are read once: make a new one when they change. */
export class Tracer implements RunHost {
  /** Null: such tasks run right here, which is what the isolate that is their sandbox does. */
  sandbox: Sandbox | null = null;
  readonly #app: App;
  readonly #host: TracerHost;
  readonly #plans = new Map<string, Plan>();
  readonly #running = new SeqMap<Run>();
  readonly #accept: Accept;
  readonly #style: ResultStyle;
  readonly #isExtended: boolean;
  readonly #inheritsPriority: boolean;

  constructor(app: App, host: TracerHost) {
    const { conf, world } = app;
    this.#app = app;
    this.#host = host;
    this.#accept = acceptedTypes(conf.accept_content);
    this.#style = { serializer: conf.result_serializer, now: () => world.clock.wallMs() };
    this.#isExtended = conf.result_extended;
    this.#inheritsPriority = conf.task_inherit_parent_priority;
  }

  /** Loads the serializers that messages and results need; awaited once before the first `run`. */
  async open(): Promise<void> {
    const { conf } = this.#app;
    for (const name of [conf.result_serializer, conf.task_serializer, ...conf.accept_content]) {
      if (!isSerializerLoaded(name)) await loadSerializer(name);
    }
  }

  /**
   * Runs one task. The outcome at once where the task is synchronous and nothing must be published first, else a
   * promise of it. Never throws or rejects. Data lane: per message.
   */
  run(job: TraceJob): Outcome | Promise<Outcome> {
    let run: Run;
    try {
      run = this.#decode(job);
    } catch (error) {
      return this.#undecoded(job, error);
    }
    if (this.sandbox !== null) {
      const options = this.#sandboxOf(run);
      if (options !== null) return this.#runSandboxed(run, job, options);
    }
    return this.execute(run);
  }

  /** Tells a running task to stop, with the reason its signal aborts with. No effect on one that has ended. */
  interrupt(seq: number, reason: Error): void {
    this.#running.get(seq)?.interrupt(reason);
  }

  /** Runs what has been decoded. */
  execute(run: Run): Outcome | Promise<Outcome> {
    run.startedMs = this.#app.world.clock.monoMs();
    const plan = this.#plans.get(run.name) ?? this.plan(run.task);
    if (plan.hasHooks || hasListeners()) return this.#executeSlowly(run);
    let value: unknown;
    try {
      value = plan.syncRuns >= SYNC_AFTER_RUNS
        ? runSyncAsTask(run, callTask, run)
        : runAsTask(run, callTask, run);
    } catch (error) {
      return this.#failed(run, error);
    }
    if (isPromise(value)) {
      plan.syncRuns = -1;
      return this.#settle(run, value);
    }
    if (plan.syncRuns >= 0) plan.syncRuns++;
    return this.#succeeded(run, value);
  }

  /** What a task is run with; made at its first run. */
  plan(task: AnyTask): Plan {
    let plan = this.#plans.get(task.name);
    if (plan === undefined) {
      const { options } = task;
      const hasHooks = Boolean(
        options.beforeStart ?? options.onSuccess ?? options.onFailure ?? options.onRetry ??
          options.afterReturn ?? options.onReplace,
      );
      plan = {
        task,
        options,
        hasHooks,
        isSandboxed: isSandboxed(options),
        syncRuns: isAsyncFunction(task.fn) ? -1 : 0,
      };
      this.#plans.set(task.name, plan);
    }
    return plan;
  }

  /** The options whose sandbox a run belongs in, or null. A map runs in the sandbox of what it calls. */
  #sandboxOf(run: Run): ResolvedTaskOptions | null {
    const plan = this.plan(run.task);
    if (plan.isSandboxed) return run.options;
    if (!LOOPS.has(run.name)) return null;
    const given = (run.body.args[0] ?? run.body.kwargs["task"]) as { task?: unknown } | null | undefined;
    const inner = typeof given?.task === "string" ? this.#app.tasks.get(given.task) : undefined;
    return inner !== undefined && this.plan(inner).isSandboxed ? inner.options : null;
  }

  /** Its hooks run where it runs. What its sandbox could not even begin, or cut off, fails here. */
  async #runSandboxed(run: Run, job: TraceJob, options: ResolvedTaskOptions): Promise<Outcome> {
    run.startedMs = this.#app.world.clock.monoMs();
    try {
      return await this.sandbox!.run(job, options);
    } catch (error) {
      return await this.#failed(run, error);
    }
  }

  #decode(job: TraceJob): Run {
    const { message } = job;
    let headers = job.headers ?? decodeTaskHeaders(message);
    let body: TaskBody;
    if (headers === null) {
      const old = decodeProtocol1(message, this.#accept);
      if (old === null) throw new InvalidTaskError("Message is no task");
      headers = old.headers;
      body = old.body;
    } else body = decodeTaskBody(message, this.#accept);
    let plan = this.#plans.get(headers.task);
    if (plan === undefined) {
      const task = this.#app.tasks.get(headers.task);
      if (task === undefined) throw new NotRegistered(headers.task);
      plan = this.plan(task);
    }
    return new Run(this.#app, this, {
      seq: job.seq,
      task: plan.task,
      options: plan.options,
      headers,
      body,
      properties: message.properties ?? NO_PROPERTIES,
      info: job.info,
      hostname: job.hostname,
      timeLimit: job.timeLimit,
      softTimeLimit: job.softTimeLimit,
      isEager: false,
    });
  }

  /** A message that cannot be run ends as a failure with that error. */
  #undecoded(job: TraceJob, error: unknown): Outcome {
    const outcome = emptyOutcome(job.seq, "failure", 0);
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
        return this.#succeeded(run, value);
      },
      (error) => {
        this.#ended(run);
        return this.#failed(run, error);
      },
    );
  }

  #ended(run: Run): void {
    this.#running.delete(run.init.seq);
    run.end();
  }

  /** With hooks or connected signals. Never rejects. */
  async #executeSlowly(run: Run): Promise<Outcome> {
    const { task, id, body } = run;
    const { args, kwargs } = body;
    const self = new Context(run);
    const { log } = this.#app.world;
    await signals.taskPrerun.sendAndWait(task, { taskId: id, task, args, kwargs }, log);
    let outcome: Outcome;
    try {
      const { beforeStart } = run.options;
      if (beforeStart) await runAsTask(run, () => beforeStart(self, id, args, kwargs), null);
      const value = runAsTask(run, callTask, run);
      outcome = isPromise(value) ? await this.#settle(run, value) : await this.#succeeded(run, value);
    } catch (error) {
      outcome = await this.#failed(run, error);
    }
    await this.#hooksAfter(run, self, outcome);
    await signals.taskPostrun.sendAndWait(task, {
      taskId: id,
      task,
      args,
      kwargs,
      retval: outcome.kind === "success" ? run.value : run.error,
      state: outcome.state ?? STATES[outcome.kind] ?? outcome.kind.toUpperCase(),
    }, log);
    return outcome;
  }

  async #hooksAfter(run: Run, self: Context, outcome: Outcome): Promise<void> {
    const { task, id, options, body: { args, kwargs } } = run;
    const { log } = this.#app.world;
    const info: ErrorInfo = { exception: run.error, traceback: outcome.traceback ?? "" };
    const { traceback } = outcome;
    try {
      if (outcome.kind === "success") {
        await options.onSuccess?.(self, run.value, id, args, kwargs);
        signals.taskSuccess.send(task, { result: run.value }, log);
        await options.afterReturn?.(self, "SUCCESS", run.value, id, args, kwargs, null);
      } else if (outcome.kind === "failure") {
        await options.onFailure?.(self, run.error, id, args, kwargs, info);
        signals.taskFailure.send(task, {
          taskId: id,
          task,
          args,
          kwargs,
          exception: run.error,
          traceback,
          einfo: traceback,
        }, log);
        await options.afterReturn?.(self, "FAILURE", run.error, id, args, kwargs, info);
      } else if (outcome.kind === "retry") {
        await options.onRetry?.(self, run.error, id, args, kwargs, info);
        signals.taskRetry.send(task, { request: run.request, reason: run.error, einfo: traceback }, log);
        await options.afterReturn?.(self, "RETRY", run.error, id, args, kwargs, info);
      }
    } catch (error) {
      // The task itself has ended: what its hook throws is told and changes nothing.
      run.log("ERROR", `A hook of task ${run.name}[${id}] raised: ${errorFacts(error, run.name).repr}`);
    }
  }

  #succeeded(run: Run, value: unknown): Outcome | Promise<Outcome> {
    if (run.replacement !== null) return this.#replaced(run);
    if (run.retry !== null || value instanceof Retry) {
      return this.#retried(run, value instanceof Retry ? value : run.retry!);
    }
    run.value = value;
    const { callbacks, chain } = run.body.embed;
    if (callbacks !== null || chain !== null) return this.#sendNext(run, value);
    return this.#success(run, value);
  }

  async #sendNext(run: Run, value: unknown): Promise<Outcome> {
    run.isOver = true;
    try {
      await runAsTask(run, () => sendNext(this.#app, this.#done(run), run.body.embed, storable(value)), null);
    } catch (error) {
      return await this.#failed(run, error);
    }
    return await this.#success(run, value);
  }

  #success(run: Run, value: unknown): Outcome | Promise<Outcome> {
    const { options } = run;
    const result = storable(value);
    const outcome = emptyOutcome(run.init.seq, "success", this.#seconds(run));
    try {
      if (!run.headers.ignoreResult && !options.ignoreResult && !this.#isUnstored(run)) {
        outcome.state = "SUCCESS";
        outcome.document = valueDocument(this.#style, run, {
          state: "SUCCESS",
          value: result,
          extended: this.#isExtended ? run.extended() : null,
        });
      }
      if (run.body.embed.chord !== null) outcome.chord = chordOfValue(run, result);
    } catch (error) {
      return this.#failure(run, error);
    }
    outcome.summary = pythonRepr(result, { maxChars: options.resultreprMaxsize });
    return outcome;
  }

  #failed(run: Run, thrown: unknown): Outcome | Promise<Outcome> {
    if (run.replacement !== null) return this.#replaced(run);
    if (thrown instanceof Retry) return this.#retried(run, thrown);
    if (thrown instanceof Reject) return this.#rejected(run, thrown);
    if (thrown instanceof Ignore) {
      run.error = thrown;
      return emptyOutcome(run.init.seq, "ignore", this.#seconds(run));
    }
    let error = thrown;
    if (run.interruption !== null && error === run.interruption && !isSoftLimit(error)) {
      run.error = error;
      const outcome = emptyOutcome(run.init.seq, "terminated", this.#seconds(run));
      outcome.exception = errorFacts(error, run.name).repr;
      return outcome;
    }
    try {
      const retry = autoRetry(run, error, this.#app.world.random);
      if (retry !== null) return this.#retried(run, retry);
    } catch (exhausted) {
      error = exhausted;
    }
    return this.#failure(run, error);
  }

  #rejected(run: Run, error: Reject): Outcome {
    run.error = error;
    const outcome = emptyOutcome(run.init.seq, "reject", this.#seconds(run));
    const facts = errorFacts(error, run.name);
    outcome.summary = error.message;
    outcome.exception = facts.repr;
    outcome.traceback = facts.traceback;
    outcome.requeue = error.requeue;
    return outcome;
  }

  #failure(run: Run, error: unknown): Outcome | Promise<Outcome> {
    run.error = error;
    const { options } = run;
    const facts = errorFacts(error, run.name);
    const outcome = emptyOutcome(run.init.seq, "failure", this.#seconds(run));
    outcome.summary = facts.repr;
    outcome.exception = facts.repr;
    outcome.traceback = facts.traceback;
    outcome.expected = options.throws.length > 0 && isOneOf(error, options.throws);
    const isStored = this.#storesErrors(run);
    if (isStored) {
      outcome.state = "FAILURE";
      outcome.document = errorDocument(this.#style, run, {
        state: "FAILURE",
        exception: facts.exception,
        traceback: facts.traceback,
        extended: this.#isExtended ? run.extended() : null,
      });
    }
    outcome.chord = chordOfError(run, facts.exception);
    outcome.also = alsoFailed(
      this.#style,
      run.body.embed.chain?.all() ?? null,
      { ...facts, state: "FAILURE", isStored },
      this.#isExtended,
    );
    const { errbacks } = run.body.embed;
    if (errbacks !== null && errbacks.length > 0) return this.#sendErrbacks(run, error, outcome);
    return outcome;
  }

  async #sendErrbacks(run: Run, error: unknown, outcome: Outcome): Promise<Outcome> {
    const failure = { request: () => run.request, error, traceback: outcome.traceback };
    try {
      const { errbacks } = run.body.embed;
      await runAsTask(run, () => sendErrbacks(this.#app, this.#done(run), errbacks!, failure), null);
    } catch (error) {
      // The failure stands; that nobody was told of it is said in the log.
      run.log("ERROR", `Cannot send errbacks of ${run.name}[${run.id}]: ${errorFacts(error, run.name).repr}`);
    }
    return outcome;
  }

  async #retried(run: Run, retry: Retry): Promise<Outcome> {
    const { exc } = retry;
    run.error = retry.isEager ? retry : exc;
    const facts: ErrorFacts = errorFacts(retry, run.name);
    const exception = exc === null || exc === undefined ? null : toWireException(exc, run.name);
    const document = (moreChildren: ResultTuple[]): string | Uint8Array =>
      errorDocument(this.#style, run, {
        state: "RETRY",
        exception,
        traceback: facts.traceback,
        extended: this.#isExtended ? run.extended() : null,
        moreChildren,
      });
    const stores = this.#storesErrors(run);
    const call = run.init.isEager ? null : retry.signature as SendCall | null;
    if (call !== null) {
      // Before the message leaves: with the outcome it could come behind the end that the next attempt makes.
      if (stores) {
        this.#host.onState(run.init.seq, "RETRY", document(run.trail ? [[[run.id, null], null]] : []));
      }
      try {
        await runAsTask(run, () => this.#app.send(call.name, call.args, call.kwargs, call.options), null);
      } catch (error) {
        // Late acknowledgement still holds the message: it is put back. Else its failure is at least to be seen.
        if (run.options.acksLate) return this.#rejected(run, new Reject(error, { requeue: true }));
        return await this.#failure(run, error);
      }
    }
    const outcome = emptyOutcome(run.init.seq, "retry", this.#seconds(run));
    outcome.summary = retry.message;
    outcome.exception = exception === null ? "None" : errorFacts(exc, run.name).repr;
    outcome.traceback = facts.traceback;
    if (stores && call === null) {
      outcome.state = "RETRY";
      outcome.document = document([]);
    }
    return outcome;
  }

  async #replaced(run: Run): Promise<Outcome> {
    if (run.init.isEager) return emptyOutcome(run.init.seq, "ignore", this.#seconds(run));
    try {
      await run.options.onReplace?.(new Context(run), run.replacement);
      const signature = replacementOf(run, run.replacement!);
      run.replacement = null;
      await runAsTask(run, () => applySignature(this.#app, signature, [], {}, {}), null);
    } catch (error) {
      run.replacement = null;
      return await this.#failure(run, error);
    }
    return emptyOutcome(run.init.seq, "ignore", this.#seconds(run));
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
    this.#host.onEvent(run.init.seq, type, fields);
  }

  log(run: Run, level: Level, message: string): void {
    this.#host.log(level, message, { name: run.name, id: run.id });
  }

  #done(run: Run): Done {
    return { id: run.id, rootId: run.rootId, priority: this.#inheritsPriority ? run.priority : null };
  }

  #seconds(run: Run): number {
    // Whole nanoseconds: what the subtraction adds behind them costs more to write and to read than the rest of a head.
    return Math.round((this.#app.world.clock.monoMs() - run.startedMs) * 1e6) / 1e9;
  }

  #isUnstored(run: Run): boolean {
    return run.init.isEager && !run.options.storeEagerResult;
  }

  /** Source: celery 5.2.6 app/trace.py TraceInfo.handle_error_state. */
  #storesErrors(run: Run): boolean {
    const { options } = run;
    if (options.ignoreResult) return options.storeErrorsEvenIfIgnored;
    return !this.#isUnstored(run);
  }
}

const STATES: Readonly<Record<string, string>> = { ignore: "IGNORED", reject: "REJECTED" };

/** The user's function, called as its message says. */
function callTask(run: Run): unknown {
  const { task, body } = run;
  const args = bindArguments(task.parameters, body.args, body.kwargs, task.label);
  const fn = task.fn as (...args: unknown[]) => unknown;
  if (run.options.bind) return fn(new Context(run), ...args);
  return fn.apply(undefined, args);
}

function isAsyncFunction(fn: (...args: never[]) => unknown): boolean {
  return fn.constructor.name === "AsyncFunction";
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return value !== null && typeof value === "object" &&
    typeof (value as { then?: unknown }).then === "function";
}

function hasListeners(): boolean {
  return signals.taskPrerun.hasReceivers || signals.taskPostrun.hasReceivers ||
    signals.taskSuccess.hasReceivers || signals.taskFailure.hasReceivers || signals.taskRetry.hasReceivers;
}
