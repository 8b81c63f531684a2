/** One run of a task, as its context and what the context asks for see it. */

import type { Level } from "../../base/mod.ts";
import type { Signature } from "../../canvas/mod.ts";
import type { Retry } from "../../wire/mod.ts";
import type { CurrentTask } from "../call/current_task.ts";
import type { TaskRequest } from "../call/request.ts";
import { directRequest, type ResolvedTaskOptions } from "../conf/task_options.ts";
import type { AppCore, RunnableTask } from "../core.ts";

/** One run of a task, as the context sees it. */
export interface Execution extends CurrentTask {
  readonly app: AppCore;
  readonly options: ResolvedTaskOptions;
  /** The name's last part. */
  readonly label: string;
  /** Aborted at the soft time limit and on revoke; made when first asked for. */
  readonly signal: AbortSignal;
  /** Where it stands in its trace, as a W3C header; null: in none. */
  readonly traceparent: string | null;
  /** What `self.retry` has asked for. */
  retry: Retry | null;
  /** What `self.replace` has asked for. */
  replacement: Signature | null;
  /** A value with its parts that are the task's arguments or its request's signatures as they came. */
  restored<T>(value: T): T;
  /** Retries this run may have, where `self.retry` has said so; undefined: the task's own. */
  maxRetries: number | null | undefined;
  /** Stores a state of the user's own. */
  updateState(state: string, meta: unknown, taskId: string | null): void;
  sendEvent(type: string, fields: Record<string, unknown>): void;
  log(level: Level, message: string): void;
}

/** The run of a task that is called directly, outside any worker: nothing is stored or sent. */
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
