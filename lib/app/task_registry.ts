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
   * Adds a task. It replaces a builtin task, or the same function, of its name.
   *
   * @throws {UsageError} if another task has that name.
   */
  register(task: AnyTask): void {
    const there = this.#tasks.get(task.name);
    if (there && there !== task && !there.isBuiltin && there.fn !== task.fn) {
      throw new UsageError(`Cannot register task "${task.name}": another task has that name`);
    }
    this.#tasks.set(task.name, task);
  }

  /** Removes a task; no effect if there is none. */
  unregister(name: string): void {
    this.#tasks.delete(name);
  }

  /** Returns the task, or undefined. Data lane: per message. */
  get(name: string): AnyTask | undefined {
    return this.#tasks.get(name);
  }

  /** Returns true if a task of this name is registered. */
  has(name: string): boolean {
    return this.#tasks.has(name);
  }

  /**
   * Returns the task of this name.
   *
   * @throws {UsageError} if there is none; the text suggests the nearest name.
   */
  need(name: string): AnyTask {
    const task = this.#tasks.get(name);
    if (task) return task;
    const near = nearest(name, this.#tasks.keys());
    throw new UsageError(`No task "${name}" is registered${near ? `: did you mean "${near}"?` : ""}`);
  }

  /** Number of tasks, including Celery's own. */
  get size(): number {
    return this.#tasks.size;
  }

  /** Iterates over the names. */
  keys(): IterableIterator<string> {
    return this.#tasks.keys();
  }

  /** Iterates over the tasks. */
  values(): IterableIterator<AnyTask> {
    return this.#tasks.values();
  }

  /** Iterates over pairs of name and task. */
  entries(): IterableIterator<[string, AnyTask]> {
    return this.#tasks.entries();
  }

  /** Iterates over pairs of name and task. */
  [Symbol.iterator](): IterableIterator<[string, AnyTask]> {
    return this.#tasks.entries();
  }

  /** Returns the names of the user's tasks, sorted; with `withBuiltin` also those of Celery's own tasks. */
  names(options: { withBuiltin?: boolean } = {}): string[] {
    return [...this.#tasks.values()]
      .filter((task) => options.withBuiltin || !task.isBuiltin)
      .map((task) => task.name).sort();
  }
}
