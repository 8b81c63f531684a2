/**
 * The task that is running. A message sent from inside a task takes its root and parent from it, and is
 * recorded among its children.
 *
 * The store follows the code through every await, so that many tasks may run in one isolate. Reading costs 4
 * ns, entering 0.4 µs and as much again in garbage collection; functions that await nothing are entered
 * without it.
 *
 * Source: celery 5.2.6 _state.py _task_stack, app/base.py current_worker_task; protocol.md 8.11.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import type { Carrier } from "../../trace/mod.ts";
import type { ResultTuple } from "../../wire/mod.ts";
import type { TaskRequest } from "./request.ts";

/** A running task. Reading `request` builds it, so senders read the other fields instead. */
export interface CurrentTask {
  readonly id: string;
  readonly name: string;
  /** The id of the root of its tree; its own id if it is the root. */
  readonly rootId: string;
  /** The priority of its message. */
  readonly priority: number;
  /** False if the task has `trail: false`: `addChild` then does nothing. */
  readonly trail: boolean;
  readonly request: TaskRequest;
  /** The trace context of its message, or null. */
  readonly carrier: Carrier | null;
  /** True if tracing is active and this task is not recorded: it has no span. */
  readonly isUnsampled: boolean;
  /** True if the user's function has returned: messages sent from now on belong to the end of the task. */
  readonly isIdle: boolean;
  /**
   * Returns a value in which parts that are arguments or signatures of the task have the form in which they
   * arrived.
   */
  restored?<T>(value: T): T;
  /** Records a message that the task has sent. */
  addChild(child: ResultTuple): void;
}

const store = new AsyncLocalStorage<CurrentTask>();
/** The task of the code that runs right now, if it was entered by `runSyncAsTask`. */
let entered: CurrentTask | null = null;

/** Returns the task in which the calling code runs, or null outside any task. Data lane: per message. */
export function currentTask(): CurrentTask | null {
  return entered ?? store.getStore() ?? null;
}

/** Returns the trace context of the current task if the task is not recorded, else null. */
export function unsampledTrace(): Carrier | null {
  const task = currentTask();
  return task !== null && task.isUnsampled ? task.carrier : null;
}

/** Calls `fn(subject)` as `task`: `fn`, and everything it awaits, sees `task` as the current task. */
export function runAsTask<S, T>(task: CurrentTask, fn: (subject: S) => T, subject: S): T {
  const before = entered;
  entered = null;
  try {
    return store.run(task, fn, subject);
  } finally {
    entered = before;
  }
}

/**
 * Like `runAsTask`, for code that awaits nothing: code that runs after `fn` has returned does not see the
 * task. Costs 10 ns.
 */
export function runSyncAsTask<S, T>(task: CurrentTask, fn: (subject: S) => T, subject: S): T {
  const before = entered;
  entered = task;
  try {
    return fn(subject);
  } finally {
    entered = before;
  }
}

const FOLLOWED = ["setTimeout", "setInterval", "queueMicrotask"] as const;

/** The task whose timer threw an error. */
const thrownBy = new WeakMap<object, CurrentTask>();

/** Returns the task whose timer threw this error, or null if unknown. */
export function taskOfUncaught(error: unknown): CurrentTask | null {
  return error !== null && typeof error === "object" ? thrownBy.get(error) ?? null : null;
}

/**
 * From now on a timer that a task starts sees the task as the current one when it fires, even if the task was
 * entered by `runSyncAsTask`, and `taskOfUncaught` knows its errors. Returns a function that undoes this.
 */
export function followTimers(): () => void {
  const scope = globalThis as unknown as Record<string, (fn: unknown, ...rest: unknown[]) => unknown>;
  const before = FOLLOWED.map((name) => [name, scope[name]!] as const);
  for (const [name, original] of before) {
    const followed = (fn: unknown, ...rest: unknown[]): unknown => {
      const task = currentTask();
      if (task === null || typeof fn !== "function") return original(fn, ...rest);
      const run = (...args: unknown[]): unknown => {
        try {
          return fn(...args);
        } catch (error) {
          if (error !== null && typeof error === "object") thrownBy.set(error, task);
          throw error;
        }
      };
      return store.run(task, () => original(run, ...rest));
    };
    // Node's promisify reads properties of the function.
    scope[name] = Object.defineProperties(followed, Object.getOwnPropertyDescriptors(original));
  }
  return () => {
    for (const [name, original] of before) scope[name] = original;
  };
}

/** Calls `fn` outside any task. */
export function runOutsideTasks<T>(fn: () => T): T {
  const before = entered;
  entered = null;
  try {
    return store.exit(fn);
  } finally {
    entered = before;
  }
}
