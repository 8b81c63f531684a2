/** One run of a task, as its context sees it. */

import type { Level } from "../../base/mod.ts";
import type { Signature } from "../../canvas/mod.ts";
import type { Retry } from "../../wire/mod.ts";
import type { CurrentTask } from "../call/current_task.ts";
import type { TaskRequest } from "../call/request.ts";
import { directRequest, type ResolvedTaskOptions } from "../conf/task_options.ts";
import type { AppCore, RunnableTask } from "../core.ts";

/** One run of a task, as its context sees it. */
export interface Execution extends CurrentTask {
  readonly app: AppCore;
  readonly options: ResolvedTaskOptions;
  /** The last part of the task's name. */
  readonly label: string;
  /** Aborts at the soft time limit and on revoke; created on first use. */
  readonly signal: AbortSignal;
  /** Its trace as a W3C `traceparent`; null if it has none. */
  readonly traceparent: string | null;
  /** The retry requested by `self.retry`. */
  retry: Retry | null;
  /** The replacement passed to `self.replace`. */
  replacement: Signature | null;
  /**
   * Returns a value in which parts that are arguments or signatures of the task have the form in which they
   * arrived.
   */
  restored<T>(value: T): T;
  /** Maximum retries of this run as set by `self.retry`; undefined: the task's own. */
  maxRetries: number | null | undefined;
  /** Stores a custom state. */
  updateState(state: string, meta: unknown, taskId: string | null): void;
  sendEvent(type: string, fields: Record<string, unknown>): void;
  log(level: Level, message: string): void;
}

/** Returns the run of a task that is called directly, outside any worker: it stores and sends nothing. */
export function directExecution(
  task: Pick<RunnableTask, "app" | "name" | "label" | "options">,
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
    isIdle: false,
    carrier: null,
    isUnsampled: false,
    traceparent: null,
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
    restored: (value) => value,
    updateState: () => {},
    sendEvent: () => {},
    log: (level, message) => app.world.log.emit(level, message),
  };
}
