/**
 * What a bound task gets as its first parameter: its request, and what it may ask of the worker while it runs.
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

/** Where a run stands in its trace: ids in hexadecimal, and as the W3C header `traceparent`. */
export interface TaskTrace {
  readonly traceId: string;
  readonly spanId: string;
  /** Its spans are recorded. */
  readonly isSampled: boolean;
  readonly traceparent: string;
}

const UPDATE_NAMES = namesOf<{ taskId?: string }>({ taskId: true });

/** `self` of a bound task. */
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

  /** Every field of Celery's request, in camelCase. */
  get request(): TaskRequest {
    return this.#run.request;
  }

  get app(): UserApp {
    return this.#run.app as UserApp;
  }

  /** Retries the task may have; null: for ever. */
  get maxRetries(): number | null {
    return this.#run.maxRetries === undefined ? this.#run.options.maxRetries : this.#run.maxRetries;
  }

  /** Aborted at the soft time limit (its reason is `SoftTimeLimitExceeded`) and on revoke. */
  get signal(): AbortSignal {
    return this.#run.signal;
  }

  /** The trace that this run belongs to, which `fetch` and what it sends continue; null: it belongs to none. */
  get trace(): TaskTrace | null {
    const { traceparent } = this.#run;
    const ids = traceIds(traceparent);
    return ids === null ? null : { ...ids, traceparent: traceparent! };
  }

  /** The task's log. */
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
   * Asks for another run; throw what it returns. Once retries are used up it throws `exc` itself, or
   * MaxRetriesExceededError. Outside a worker it throws `exc`. Durations are seconds; default `defaultRetryDelay`.
   */
  retry(options: RetryOptions = {}): Retry {
    return requestRetry(this.#run, options);
  }

  /** Stores a state of your own with its data; readers see it as `state()` and `info()`. */
  updateState(state: string, meta: unknown = null, options: { taskId?: string } = {}): Promise<void> {
    try {
      refuseUnknown(options, UPDATE_NAMES, "updateState");
      this.#run.updateState(state, meta, options.taskId ?? null);
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Ends this run at once; `signature` goes on in its place, under its id. */
  replace(signature: Signature): never {
    this.#run.replacement = signature;
    throw new Replaced();
  }

  /**
   * Adds a call to the chord that this task is in the header of, and sends it. Rejects with an Error outside a chord.
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

  /** Sends an event of your own to monitors; the task's id is added. */
  sendEvent(type: string, fields: Record<string, unknown> = {}): void {
    this.#run.sendEvent(type, fields);
  }
}
