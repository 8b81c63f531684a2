/**
 * The first parameter of a bound task: its request, and what it can ask of the worker while it runs.
 *
 * Source: celery 5.2.6 app/task.py Task methods that act on the current request; contract.md "Context".
 */

import { namesOf, refuseUnknown } from "../../base/mod.ts";
import { type CanvasResult, toSignature } from "../../canvas/mod.ts";
import type { Signature } from "../../canvas/mod.ts";
import { type Retry, traceIds } from "../../wire/mod.ts";
import type { UserApp } from "../core.ts";
import { canvasSender } from "../send/canvas_send.ts";
import type { Execution } from "./execution.ts";
import { Replaced } from "./replacing.ts";
import type { TaskRequest } from "../call/request.ts";
import { requestRetry } from "./retrying.ts";
import type { RetryOptions } from "../conf/task_options.ts";

/** A task's own logger. Lines carry the task's name and id. */
export interface TaskLog {
  debug(message: string): void;
  info(message: string): void;
  warning(message: string): void;
  error(message: string): void;
  critical(message: string): void;
}

/** The trace of a run: ids in hexadecimal, and the W3C header `traceparent`. */
export interface TaskTrace {
  readonly traceId: string;
  readonly spanId: string;
  /** True if its spans are recorded. */
  readonly isSampled: boolean;
  readonly traceparent: string;
}

const UPDATE_NAMES = namesOf<{ taskId?: string }>({ taskId: true });

/**
 * `self` of a bound task.
 *
 * @example
 * ```ts
 * import { App, type Context } from "lovage";
 *
 * export const app = new App("shop");
 * export const fetchPage = app.task("shop.fetch", { bind: true }, async (self: Context, url: string) => {
 *   const response = await fetch(url, { signal: self.signal });
 *   if (response.status === 503) throw self.retry({ countdown: 30 });
 *   await self.updateState("PROGRESS", { status: response.status });
 *   return (await response.text()).length;
 * });
 * ```
 */
export class Context {
  readonly #run: Execution;
  #log: TaskLog | null = null;

  constructor(run: Execution) {
    this.#run = run;
  }

  /** The task's name. */
  get name(): string {
    return this.#run.name;
  }

  /** The task's request: every field of Celery's, in camelCase. */
  get request(): TaskRequest {
    return this.#run.request;
  }

  /** The App that the task belongs to. */
  get app(): UserApp {
    return this.#run.app as UserApp;
  }

  /** Maximum retries of this run; null: no limit. */
  get maxRetries(): number | null {
    return this.#run.maxRetries === undefined ? this.#run.options.maxRetries : this.#run.maxRetries;
  }

  /** Aborts at the soft time limit (its reason is `SoftTimeLimitExceeded`) and on revoke. */
  get signal(): AbortSignal {
    return this.#run.signal;
  }

  /** The trace of this run, which `fetch` and messages that it sends continue; null if it has none. */
  get trace(): TaskTrace | null {
    const { traceparent } = this.#run;
    const ids = traceIds(traceparent);
    return ids === null ? null : { ...ids, traceparent: traceparent! };
  }

  /** The task's logger. */
  get log(): TaskLog {
    const run = this.#run;
    return this.#log ??= {
      debug: (message) => run.log("DEBUG", message),
      info: (message) => run.log("INFO", message),
      warning: (message) => run.log("WARNING", message),
      error: (message) => run.log("ERROR", message),
      critical: (message) => run.log("CRITICAL", message),
    };
  }

  /**
   * Requests a retry. Throw the returned error. Durations are seconds; the default delay is
   * `defaultRetryDelay`.
   *
   * @throws `exc` if no retries are left, or outside a worker.
   * @throws {MaxRetriesExceededError} if no retries are left and `exc` is not given.
   * @throws {UsageError} for an unknown option.
   */
  retry(options: RetryOptions = {}): Retry {
    return requestRetry(this.#run, options);
  }

  /**
   * Stores a custom state with data, which readers get from `state()` and `info()`. Rejects with UsageError
   * for an unknown option, and with EncodeError for data that cannot be encoded. Resolves before the state is
   * stored.
   */
  updateState(state: string, meta: unknown = null, options: { taskId?: string } = {}): Promise<void> {
    try {
      refuseUnknown(options, UPDATE_NAMES, "updateState");
      this.#run.updateState(state, meta, options.taskId ?? null);
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Ends this run at once; `signature` runs in its place, under its id.
   *
   * @throws always: the code after it does not run. UsageError if `signature` is not one.
   */
  replace(signature: Signature): never {
    this.#run.replacement = toSignature(signature, canvasSender(this.#run.app));
    throw new Replaced();
  }

  /**
   * Adds a call to the chord whose header this task is in, and sends it. Rejects with an Error outside a
   * chord, with the result store's error, and as `applyAsync` does.
   */
  async addToChord(signature: Signature): Promise<CanvasResult> {
    const { request, app } = this.#run;
    if (request.chord === null || request.group === null) {
      throw new Error("Current task is not member of any chord");
    }
    const one = toSignature(signature, canvasSender(app)).set({
      groupId: request.group,
      groupIndex: request.groupIndex,
      chord: request.chord,
      rootId: request.rootId,
    });
    one.freeze();
    const backend = await app.openBackend();
    await backend.growChord(request.group, 1);
    return await one.applyAsync();
  }

  /**
   * Sends a custom event to monitors; the task's id is added.
   *
   * @throws {EncodeError} for fields that cannot be encoded.
   */
  sendEvent(type: string, fields: Record<string, unknown> = {}): void {
    this.#run.sendEvent(type, fields);
  }
}
