/**
 * Groups: calls that run in parallel.
 *
 * Source: celery 5.2.6 and 5.6 canvas.py group; protocol.md 8.3, 8.4.
 */

import { UsageError } from "../base/mod.ts";
import type { WireSignature } from "../wire/mod.ts";
import type { Frozen } from "./frozen.ts";
import { Members } from "./members.ts";
import { optionsFromWire, type SignatureLike, type SignatureOptions } from "./options.ts";
import type { CanvasSender, SentGroup } from "./sender.ts";
import {
  type FreezeOptions,
  registerKind,
  Signature,
  type StampingVisitor,
  toSignature,
} from "./signature.ts";
import { joinStamps } from "./stamps.ts";

/** Calls that run in parallel; the result is the list of their results. */
export class Group<R = unknown> extends Members<R[], SentGroup<R>> {
  constructor(
    tasks: readonly SignatureLike[],
    options: SignatureOptions | null = null,
    app: CanvasSender | null = null,
  ) {
    super("group", tasks, options, app);
  }

  /**
   * Spreads the start of its calls: sets countdowns from `start`, `step` apart, up to `stop`, in seconds.
   * Returns this.
   */
  skew(start = 1, stop: number | null = null, step = 1): this {
    let countdown = start;
    for (const task of this.tasks) {
      task.set({ countdown });
      if (stop === null || countdown + step <= stop) countdown += step;
    }
    return this;
  }

  override setImmutable(immutable: boolean): this {
    for (const task of this.tasks) task.setImmutable(immutable);
    return this;
  }

  /** Links to the first call only, as Celery does; the callback gets no results of the group. */
  override link<S extends SignatureLike>(callback: S): S {
    const copy = toSignature(callback, this.app).clone().setImmutable(true);
    this.tasks[0]?.link(copy);
    return callback;
  }

  override linkError<S extends SignatureLike>(errback: S): S {
    for (const task of this.tasks) task.linkError(toSignature(errback, this.app).clone());
    return errback;
  }

  override freeze(how: FreezeOptions = {}): Frozen {
    const options = this.options;
    const id = options.taskId ||= how.groupId ?? this.sender.newId();
    if (how.groupId) options.groupId = how.groupId;
    if (how.chord) options.chord = how.chord;
    if (how.groupIndex !== null && how.groupIndex !== undefined) options.groupIndex = how.groupIndex;
    if (how.rootId) options.rootId ??= how.rootId;
    if (how.parentId) options.parentId ??= how.parentId;
    this.tasks = unrollGroups(this.tasks);
    const members = this.tasks.map((task, groupIndex) =>
      task.freeze({
        groupId: how.groupId,
        chord: how.chord,
        rootId: how.rootId,
        parentId: how.parentId,
        groupIndex,
      })
    );
    return { id, parent: null, members };
  }

  override chordSize(): number {
    let size = 0;
    for (const task of this.tasks) size += task.chordSize();
    return size;
  }

  override stampWith(
    visitor: StampingVisitor | null,
    append: boolean,
    stamps: Readonly<Record<string, unknown>>,
  ): void {
    const inner = joinStamps(stamps, visitor?.onGroupStart?.(this, stamps));
    this.stampLinks(visitor, append, inner);
    for (const task of this.tasks) task.stampWith(visitor, append, inner);
    visitor?.onGroupEnd?.(this, inner);
  }
}

registerKind("group", (wire, app) => {
  const tasks = (wire.kwargs?.["tasks"] ?? []) as WireSignature[];
  if (!Array.isArray(tasks)) throw new UsageError("Cannot read a group: its tasks must be a list");
  return new Group(tasks, optionsFromWire(wire.options), app);
});

/** The result of any of these signatures. */
type ResultIn<T extends readonly unknown[]> = T[number] extends Signature<infer R> ? R : unknown;

/**
 * Returns a group of calls, given as one list or one by one.
 *
 * @example
 * ```ts
 * import { group } from "lovage";
 * import { add } from "./tasks.ts";
 *
 * const result = await group(add.s(1, 1), add.s(2, 2)).delay();
 * console.log(await result.get({ timeout: 5 })); // [2, 4]
 * ```
 *
 * @throws {UsageError} For a member that is not a signature.
 */
export function group<R = unknown>(tasks: Iterable<Signature<R>>): Group<R>;
export function group<T extends readonly Signature[]>(...tasks: T): Group<ResultIn<T>>;
export function group<R>(...tasks: Signature<R>[]): Group<R>;
export function group(...given: unknown[]): Group {
  const first = given[0];
  if (given.length === 1 && first instanceof Group) return new Group(first.tasks, null, first.app);
  if (given.length === 1 && first instanceof Signature) return new Group([first.clone()], null, first.app);
  return new Group(listOf(given));
}

/** Returns the calls given to a composite: one iterable of signatures, or the signatures one by one. */
export function listOf(given: readonly unknown[]): SignatureLike[] {
  const [first] = given;
  if (given.length === 1 && !(first instanceof Signature) && Symbol.iterator in Object(first)) {
    return [...first as Iterable<SignatureLike>];
  }
  return [...given] as SignatureLike[];
}

/** Returns the tasks, in order, with the members of groups in their place. */
export function unrollGroups(tasks: readonly Signature[]): Signature[] {
  const flat: Signature[] = [];
  for (const task of tasks) {
    if (task instanceof Group) flat.push(...unrollGroups(task.tasks));
    else flat.push(task);
  }
  return flat;
}

/** Returns the task of a group of one; any other signature unchanged. */
export function unrollSingle(signature: Signature): Signature {
  if (signature instanceof Group && signature.tasks.length === 1) return signature.tasks[0]!;
  return signature;
}

/** Whether a signature is a group without members. */
export function isEmptyGroup(signature: Signature): boolean {
  return signature instanceof Group && signature.tasks.length === 0;
}

/**
 * Returns a chain's steps without empty groups, which do nothing; the first one if there is no other step.
 * Source: celery main (5.7) canvas.py _chain.prepare_steps.
 */
export function withoutEmptyGroups(steps: readonly Signature[]): Signature[] {
  const kept = steps.filter((step) => !isEmptyGroup(step));
  return kept.length > 0 ? kept : steps.slice(0, 1);
}
