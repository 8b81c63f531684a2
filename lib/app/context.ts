/**
 * What a bound task gets as its first parameter: its request, and what it may ask of the worker while it runs.
 *
 * Source: celery 5.2.6 app/task.py Task methods that act on the current request; contract.md "Context".
 */

import type { Level } from "../base/mod.ts";
import { type CanvasResult, toSignature } from "../canvas/mod.ts";
import type { Signature } from "../canvas/mod.ts";
import type { Retry } from "../wire/mod.ts";
import type { App } from "./app.ts";
import { canvasSender } from "./canvas_send.ts";
import type { CurrentTask } from "./current_task.ts";
import { Replaced } from "./replacing.ts";
import type { TaskRequest } from "./request.ts";
import { requestRetry } from "./retrying.ts";
import { directRequest, type ResolvedTaskOptions, type RetryOptions } from "./task_options.ts";

/** A task's own logger. Lines carry the task's name and id. */
export interface TaskLog {
  debug(message: string): void;
  info(message: string): void;
  warning(message: string): void;
  error(message: string): void;
  critical(message: string): void;
}

/** One run of a task, as the context sees it. */
export interface Execution extends CurrentTask {
  readonly app: App;
  readonly options: ResolvedTaskOptions;
  /** The name's last part. */
  readonly label: string;
  /** Aborted at the soft time limit and on revoke; made when first asked for. */
  readonly signal: AbortSignal;
  /** What `self.retry` has asked for. */
  retry: Retry | null;
  /** What `self.replace` has asked for. */
  replacement: Signature | null;
  /** Retries this run may have, where `self.retry` has said so; undefined: the task's own. */
  maxRetries: number | null | undefined;
  /** Stores a state of the user's own. */
  updateState(state: string, meta: unknown, taskId: string | null): void;
  sendEvent(type: string, fields: Record<string, unknown>): void;
  log(level: Level, message: string): void;
}

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

  get app(): App {
    return this.#run.app;
  }

  /** Retries the task may have; null: for ever. */
  get maxRetries(): number | null {
    return this.#run.maxRetries === undefined ? this.#run.options.maxRetries : this.#run.maxRetries;
  }

  /** Aborted at the soft time limit (its reason is `SoftTimeLimitExceeded`) and on revoke. */
  get signal(): AbortSignal {
    return this.#run.signal;
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

/** The run of a task that is called directly, outside any worker: nothing is stored or sent. */
export function directExecution(
  task: { app: App; name: string; label: string; options: ResolvedTaskOptions },
  args: unknown[],
): Execution {
  const { app } = task;
  let controller: AbortController | null = null;
  let request: TaskRequest | null = null;
  return {
    app,
    id: "",
    name: task.name,
    label: task.label,
    rootId: "",
    priority: 0,
    trail: false,
    isOver: false,
    options: task.options,
    retry: null,
    replacement: null,
    maxRetries: undefined,
    get request(): TaskRequest {
      return request ??= directRequest(task.name, args, {}, "");
    },
    get signal(): AbortSignal {
      return (controller ??= new AbortController()).signal;
    },
    addChild: () => {},
    updateState: () => {},
    sendEvent: () => {},
    log: (level, message) => app.world.log.emit(level, message),
  };
}
