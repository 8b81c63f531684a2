/**
 * `app.backend`: the result store as tasks and clients see it, opened on first use.
 *
 * Source: celery 5.2.6 backends/base.py Backend.store_result, _get_result_meta; app/base.py backend.
 */

import { AssertionError, type World } from "../../base/mod.ts";
import { type Backend, type BackendOptions, openBackend, stored } from "../../backend/mod.ts";
import {
  acceptedTypes,
  encodeResultMeta,
  EXCEPTION_STATES,
  READY_STATES,
  type ResultMeta,
  TimeoutError,
  toPythonIsoIn,
  toWireException,
} from "../../wire/mod.ts";
import type { AppCore, ResultStore, WaitCheck, WatchOptions } from "../core.ts";
import { connectBroker } from "../broker/connecting.ts";
import type { TaskRequest } from "../call/request.ts";
import { ResultAhead } from "./result_ahead.ts";

/** Options of `storeResult`. */
export interface StoreResultOptions {
  traceback?: string | null;
  /** The request of the task, for its group, parent and children. */
  request?: TaskRequest | null;
}

/** Maximum milliseconds between two checks of a wait. */
export const CHECK_MAX_MS = 1000;

/** The result store of an App. */
export class AppBackend implements ResultStore {
  readonly ahead: ResultAhead = new ResultAhead();
  readonly #app: AppCore;
  #opening: Promise<Backend> | null = null;
  #opened: Backend | null = null;

  constructor(app: AppCore) {
    this.#app = app;
  }

  get opened(): Backend | null {
    return this.#opened;
  }

  /**
   * Opens the store of `result_backend`; returns the same one every time until `close`. Rejects with the
   * store's error.
   */
  open(): Promise<Backend> {
    return this.#opening ??= this.#open();
  }

  async openToSend(): Promise<void> {
    const backend = await this.open();
    await backend.listen?.();
  }

  /** Sets an opened store to use instead; the caller closes it. */
  use(backend: Backend): void {
    if (this.#opening) throw new AssertionError("a backend is given before the first is opened");
    this.#opening = Promise.resolve(backend);
    this.#opened = backend;
    this.#isOurs = false;
  }
  #isOurs = true;

  /**
   * Stores a result, or an error if `state` is one that carries an exception. Resolves when the store has
   * confirmed it. Rejects with `EncodeError`, or with the store's error.
   */
  async storeResult(
    taskId: string,
    result: unknown,
    state: string,
    options: StoreResultOptions = {},
  ): Promise<void> {
    const { conf, world } = this.#app;
    const { request = null, traceback = null } = options;
    const isDone = READY_STATES.has(state);
    const document = encodeResultMeta({
      taskId,
      state,
      result: EXCEPTION_STATES.has(state) && result instanceof Error
        ? toWireException(result, request?.task ?? "")
        : result ?? null,
      traceback,
      children: request ? request.children as NonNullable<ResultMeta["children"]> : null,
      dateDone: isDone ? toPythonIsoIn(world.clock.wallMs(), conf.timezone ?? "UTC") : null,
      groupId: request?.group ?? null,
      parentId: request?.parentId ?? null,
    }, conf.result_serializer);
    const backend = await this.open();
    await stored(backend, { taskId, state, document, guard: true, replyTo: request?.replyTo ?? null });
  }

  async getTaskMeta(taskId: string): Promise<ResultMeta | null> {
    return await (await this.open()).fetch(taskId);
  }

  async forget(taskId: string): Promise<void> {
    await (await this.open()).forget(taskId);
  }

  async cleanup(): Promise<void> {
    await (await this.open()).cleanup();
  }

  async watchUntil(
    ids: readonly string[],
    options: WatchOptions,
    onMeta: (meta: ResultMeta) => boolean,
  ): Promise<void> {
    const { clock } = this.#app.world;
    const { timeoutSeconds = null, signal, check } = options;
    signal?.throwIfAborted();
    const until = timeoutSeconds === null ? null : clock.monoMs() + timeoutSeconds * 1000;
    const backend = await this.open();
    const { promise, resolve, reject } = Promise.withResolvers<"done" | "late">();
    const onAbort = () => reject(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const disarm = until === null ? null : clock.arm(until, () => resolve("late"));
    const watch = backend.watch(
      ids,
      (meta) => {
        try {
          if (onMeta(meta)) resolve("done");
        } catch (error) {
          reject(error);
        }
      },
      reject,
    );
    this.ahead.asked(ids);
    const stopChecking = check && this.#startChecking(check, reject);
    try {
      // Throw here and not in the timer, so that the stack contains the line that waits.
      if (await promise === "late") throw new TimeoutError("The operation timed out.");
    } finally {
      stopChecking?.();
      watch.close();
      disarm?.();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Runs the check periodically until it finds an error, and passes that to `onError`. Returns a function
   * that stops it.
   */
  #startChecking(check: WaitCheck, onError: (error: Error) => void): () => void {
    const over = new AbortController();
    this.#firstError(check, over.signal).then(onError, () => {});
    return () => over.abort();
  }

  /** Resolves with the first error that the check finds. Rejects when `signal` aborts. */
  async #firstError(check: WaitCheck, signal: AbortSignal): Promise<Error> {
    for (let ms = check.afterMs;; ms = Math.min(CHECK_MAX_MS, ms * 1.5)) {
      await this.#app.world.clock.sleep(ms, signal);
      // Ignore an error of the check: the next one may succeed, and `watch` reports a store that is lost for
      // good.
      const error = await check.error().catch(() => null);
      if (error !== null) return error;
    }
  }

  /** Closes the store. Idempotent; later use opens it again. Never rejects because of a failed opening. */
  async close(): Promise<void> {
    const opening = this.#opening;
    const isOurs = this.#isOurs;
    this.#opening = null;
    this.#opened = null;
    this.#isOurs = true;
    this.ahead.close();
    if (!opening || !isOurs) return;
    // An error of opening was reported to the code that used the store.
    const backend = await opening.catch(() => null);
    await backend?.close();
  }

  async #open(): Promise<Backend> {
    const { conf, world } = this.#app;
    try {
      return this.#opened = await openBackend(world as World, conf.result_backend, backendOptions(this.#app));
    } catch (error) {
      this.#opening = null;
      throw error;
    }
  }
}

/** Returns the store's options from the settings. */
function backendOptions(app: AppCore): BackendOptions {
  const { conf } = app;
  const redis: Record<string, unknown> = {};
  for (const name of Object.keys(conf)) if (name.startsWith("redis_")) redis[name] = conf.read(name);
  return {
    expiresSeconds: conf.result_expires || null,
    accept: acceptedTypes(conf.result_accept_content ?? conf.accept_content),
    serializer: conf.result_serializer,
    transportOptions: conf.result_backend_transport_options,
    alwaysRetry: conf.result_backend_always_retry,
    maxRetries: conf.result_backend_max_retries,
    baseSleepMs: conf.result_backend_base_sleep_between_retries_ms,
    maxSleepMs: conf.result_backend_max_sleep_between_retries_ms,
    redis,
    rpc: {
      // A client that waits for results sends nothing, so only heartbeats detect that the broker is gone.
      connect: () => connectBroker(app, { forWriting: true, retry: false, heartbeat: true }),
      isPersistent: conf.result_persistent ?? false,
    },
  };
}
