/**
 * Which task is running: what a message sent from inside a task takes its root and parent from, and whose children it
 * is recorded among.
 *
 * The store follows the code through every await, so that many tasks may run in one isolate. Reading costs 4 ns,
 * entering 0.4 µs and as much again in garbage collection; functions that await nothing are entered without it.
 *
 * Source: celery 5.2.6 _state.py _task_stack, app/base.py current_worker_task; protocol.md 8.11.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import type { Carrier } from "../../trace/mod.ts";
import type { ResultTuple } from "../../wire/mod.ts";
import type { TaskRequest } from "./request.ts";

/** A task that is running here. Reading `request` builds it, so senders read the fields beside it. */
export interface CurrentTask {
  readonly id: string;
  readonly name: string;
  /** The root of its tree; its own id where it has none. */
  readonly rootId: string;
  /** The priority its message came with. */
  readonly priority: number;
  /** False if the task has `trail: false`: `addChild` then does nothing. */
  readonly trail: boolean;
  readonly request: TaskRequest;
  /** The trace that its message belongs to, or null. */
  readonly carrier: Carrier | null;
  /** Somebody traces here, and nothing of this task is to be recorded: it has no span. */
  readonly isUnsampled: boolean;
  /** The user's function has returned: what is sent now is sent by its end. */
  readonly isIdle: boolean;
  /** A value with its parts that are the task's arguments or its request's signatures as they came. */
  restored?<T>(value: T): T;
  /** Records what it has sent. */
  addChild(child: ResultTuple): void;
}

const store = new AsyncLocalStorage<CurrentTask>();
/** The task of the code that runs right now, where it was entered by `runSyncAsTask`. */
let entered: CurrentTask | null = null;

/** The task that this code runs in, or null outside any. Data lane: per message. */
export function currentTask(): CurrentTask | null {
  return entered ?? store.getStore() ?? null;
}

/** The trace of the task that this code runs in, where nothing of it is to be recorded; else null. */
export function unsampledTrace(): Carrier | null {
  const task = currentTask();
  return task !== null && task.isUnsampled ? task.carrier : null;
}

/** Calls `fn(subject)` as `task`: it and everything it awaits sees `task` as the current one. */
export function runAsTask<S, T>(task: CurrentTask, fn: (subject: S) => T, subject: S): T {
  const before = entered;
  entered = null;
  try {
    return store.run(task, fn, subject);
  } finally {
    entered = before;
  }
}

/** As `runAsTask` for what awaits nothing: what runs after `fn` has returned does not see the task. Costs 10 ns. */
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

/** Whose timer threw it. */
const thrownBy = new WeakMap<object, CurrentTask>();

/** The task whose timer threw this, or null if unknown: the error is told of outside any task. */
export function taskOfUncaught(error: unknown): CurrentTask | null {
  return error !== null && typeof error === "object" ? thrownBy.get(error) ?? null : null;
}

/**
 * From now on a timer that a task starts sees the task as the current one when it fires, also where the task was
 * entered by `runSyncAsTask`, and what it throws is known to be the task's. Returns what undoes it.
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
    // Node's promisify asks the function itself.
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
