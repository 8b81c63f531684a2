/**
 * The tasks of one app, by name.
 *
 * Source: celery 5.2.6 app/registry.py TaskRegistry; contract.md section 2.
 */

import { nearest, UsageError } from "../base/mod.ts";
import type { AnyTask } from "./task.ts";

/** Tasks by name, in the order of their registration. */
export class TaskRegistry implements Iterable<[string, AnyTask]> {
  readonly #tasks = new Map<string, AnyTask>();

  /**
   * Adds a task. A second one of the same name replaces a builtin, and is otherwise a UsageError unless it is the same
   * function again.
   */
  register(task: AnyTask): void {
    const there = this.#tasks.get(task.name);
    if (there && there !== task && !there.isBuiltin && there.fn !== task.fn) {
      throw new UsageError(`Cannot register task "${task.name}": another task has that name`);
    }
    this.#tasks.set(task.name, task);
  }

  /** Takes a task out; no effect if there is none. */
  unregister(name: string): void {
    this.#tasks.delete(name);
  }

  /** The task, or undefined. Data lane: per message. */
  get(name: string): AnyTask | undefined {
    return this.#tasks.get(name);
  }

  has(name: string): boolean {
    return this.#tasks.has(name);
  }

  /** The task; throws UsageError that names the nearest one. */
  need(name: string): AnyTask {
    const task = this.#tasks.get(name);
    if (task) return task;
    const near = nearest(name, this.#tasks.keys());
    throw new UsageError(`No task "${name}" is registered${near ? `: did you mean "${near}"?` : ""}`);
  }

  get size(): number {
    return this.#tasks.size;
  }

  keys(): IterableIterator<string> {
    return this.#tasks.keys();
  }

  values(): IterableIterator<AnyTask> {
    return this.#tasks.values();
  }

  entries(): IterableIterator<[string, AnyTask]> {
    return this.#tasks.entries();
  }

  [Symbol.iterator](): IterableIterator<[string, AnyTask]> {
    return this.#tasks.entries();
  }

  /** Names of the user's own tasks, sorted; Celery's builtin ones only when asked for. */
  names(options: { withBuiltin?: boolean } = {}): string[] {
    return [...this.#tasks.values()]
      .filter((task) => options.withBuiltin || !task.isBuiltin)
      .map((task) => task.name).sort();
  }
}
