/**
 * Running one task in this process: `apply`, and every call under `task_always_eager`.
 *
 * The task runs as in a worker: calling convention, hooks, retries (at once), errors. Its links are sent, or
 * run here too under `task_always_eager`.
 *
 * Source: celery 5.2.6 app/task.py apply, apply_async, result.py EagerResult.
 */

import { stored } from "../../backend/mod.ts";
import {
  acceptedTypes,
  deserialize,
  loadSerializer,
  Retry,
  serialize,
  type TaskBody,
  type TaskHeaders,
  type WireSignature,
} from "../../wire/mod.ts";
import type { AppCore, RunnableTask } from "../core.ts";
import { applySignatureEagerly } from "../send/canvas_eager.ts";
import { currentTask } from "../call/current_task.ts";
import { replacementOf } from "./replacing.ts";
import { AsyncResult, type GetOptions } from "../result/results.ts";
import { Run } from "./run.ts";
import { type SendCall, type SendOptions, wireSignatures } from "../call/send_options.ts";
import { Tracer } from "./trace.ts";

/**
 * The result of a task that ran in this process. It holds the value itself and does not read a store.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop");
 * const add = app.task("shop.add", (x: number, y: number) => x + y);
 * const result = await add.apply([1, 2]); // an EagerResult
 * console.log(await result.get(), await result.state()); // 3 SUCCESS
 * ```
 */
export class EagerResult<R = unknown> extends AsyncResult<R> {
  readonly #value: unknown;
  readonly #state: string;
  readonly #traceback: string | null;

  /** `ended`: how the task ended; `value` is its value or error. */
  constructor(
    app: AppCore,
    id: string,
    ended: { value: unknown; state: string; traceback: string | null; name: string },
  ) {
    super(id, app, { name: ended.name });
    this.#value = ended.value;
    this.#state = ended.state;
    this.#traceback = ended.traceback;
  }

  /** Returns the value. Rejects with the task's error, unless `propagate` is false. */
  override get(options: GetOptions = {}): Promise<R> {
    const isError = this.#state === "FAILURE" || this.#state === "REVOKED";
    if (isError && options.propagate !== false) return Promise.reject(this.#value);
    return Promise.resolve(this.#value as R);
  }

  /** Returns the final state. */
  override state(): Promise<string> {
    return Promise.resolve(this.#state);
  }

  /** Returns the value or the error. */
  override info(): Promise<unknown> {
    return Promise.resolve(this.#value);
  }

  /** Returns true, whether a store has the result or not. */
  override exists(): Promise<boolean> {
    return Promise.resolve(true);
  }

  /** Returns true. */
  override ready(): Promise<boolean> {
    return Promise.resolve(true);
  }

  /** Returns the traceback as text, or null. */
  override traceback(): Promise<string | null> {
    return Promise.resolve(this.#traceback);
  }

  /** Does nothing. */
  override forget(): Promise<void> {
    return Promise.resolve();
  }

  /** Does nothing. */
  override revoke(): Promise<void> {
    return Promise.resolve();
  }
}

const tracers = new WeakMap<AppCore, { version: number; tracer: Tracer }>();

async function tracerOf(app: AppCore): Promise<Tracer> {
  const { version } = app.conf;
  const there = tracers.get(app);
  if (there?.version === version) return there.tracer;
  const tracer = new Tracer(app, {
    onState: () => {},
    onEvent: () => {},
    log: (level, message, task) => app.world.log.emit(level, message, { task }),
  });
  await tracer.open();
  tracers.set(app, { version, tracer });
  return tracer;
}

/**
 * Runs a task. With `throw` (default `task_eager_propagates`) rejects with the task's error; otherwise the
 * error is in the result. Also rejects with the error of a replacement or of the result store.
 */
export async function applyEagerly<R>(
  task: RunnableTask,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: SendOptions & { throw?: boolean },
): Promise<EagerResult<R>> {
  const { app } = task;
  const tracer = await tracerOf(app);
  const id = options.taskId || app.world.random.id();
  let call: SendCall = { name: task.name, args, kwargs, options };
  let retries = options.retries ?? 0;
  for (;;) {
    const run = eagerRun(tracer, task, id, call, retries);
    const outcome = await tracer.execute(run);
    if (outcome.kind === "retry" && run.error instanceof Retry && run.error.signature !== null) {
      call = run.error.signature as SendCall;
      retries++;
      continue;
    }
    if (outcome.kind === "ignore" && run.replacement !== null) {
      const next = replacementOf(run, run.replacement);
      const result = await applySignatureEagerly(app, next, [], {}, {});
      return new EagerResult<R>(app, id, {
        value: await result.get(),
        state: "SUCCESS",
        traceback: null,
        name: task.name,
      });
    }
    if (outcome.document !== null && outcome.state !== null) {
      const backend = await app.openBackend();
      const { state, document } = outcome;
      await stored(backend, { taskId: id, state, document, guard: false, replyTo: null });
    }
    const isSuccess = outcome.kind === "success";
    if (outcome.kind === "failure" && (options.throw ?? app.conf.task_eager_propagates)) throw run.error;
    return new EagerResult<R>(app, id, {
      value: isSuccess ? run.value : run.error,
      state: STATES[outcome.kind] ?? "FAILURE",
      traceback: outcome.traceback,
      name: task.name,
    });
  }
}

const STATES: Readonly<Record<string, string>> = {
  success: "SUCCESS",
  failure: "FAILURE",
  retry: "RETRY",
  ignore: "IGNORED",
  reject: "REJECTED",
  terminated: "REVOKED",
};

/**
 * Runs a call under `task_always_eager`. Its arguments are serialized and deserialized, as when they are
 * sent.
 */
export async function eagerly<R>(
  task: RunnableTask,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: SendOptions,
): Promise<EagerResult<R>> {
  const name = options.serializer || task.app.conf.task_serializer;
  await loadSerializer(name);
  const { body, contentType, contentEncoding } = serialize([args, kwargs], name);
  const back = deserialize(body, contentType, contentEncoding, acceptedTypes([name])) as [
    unknown[],
    Record<string, unknown>,
  ];
  return await applyEagerly<R>(task, back[0], back[1], options);
}

function eagerRun(tracer: Tracer, task: RunnableTask, id: string, call: SendCall, retries: number): Run {
  const { app } = task;
  const options: SendOptions = call.options ?? {};
  const parent = currentTask();
  const headers: TaskHeaders = {
    lang: "py",
    task: task.name,
    id,
    shadow: options.shadow ?? null,
    eta: null,
    expires: null,
    group: options.groupId ?? null,
    groupIndex: options.groupIndex ?? null,
    retries,
    timeLimit: null,
    softTimeLimit: null,
    // As in 5.6; before, eager tasks had neither.
    rootId: options.rootId || parent?.rootId || id,
    parentId: options.parentId || parent?.id || null,
    argsrepr: null,
    kwargsrepr: null,
    origin: null,
    ignoreResult: options.ignoreResult ?? null,
    replacedTaskNesting: 0,
    stampedHeaders: options.stampedHeaders ? [...options.stampedHeaders] : null,
    stamps: options.stamps ?? {},
    compression: null,
    custom: options.headers ?? null,
  };
  const body: TaskBody = {
    args: [...call.args],
    kwargs: { ...call.kwargs },
    embed: {
      callbacks: wireSignatures(options.link) as WireSignature[] | null,
      errbacks: wireSignatures(options.linkError) as WireSignature[] | null,
      chain: null,
      chord: null,
    },
  };
  return new Run(app, tracer, {
    seq: -1,
    task,
    options: tracer.plan(task).options,
    headers,
    body,
    message: null,
    source: null,
    properties: {
      correlationId: id,
      replyTo: "",
      deliveryMode: 2,
      priority: options.priority ?? 0,
      expiration: null,
      rest: null,
    },
    info: {
      exchange: typeof options.exchange === "string" ? options.exchange : "",
      routingKey: options.routingKey ?? "",
      redelivered: false,
    },
    hostname: app.world.host.hostname,
    timeLimit: null,
    softTimeLimit: null,
    isEager: true,
  });
}
