/**
 * One task over many arguments: in one message (`xmap`, `xstarmap`) or in messages of `n` (`chunks`).
 *
 * On the wire they are ordinary immutable calls of `celery.map`, `celery.starmap` and `celery.chunks`.
 * Source: celery 5.2.6 canvas.py _basemap, chunks; protocol.md 8.3.
 */

import { UsageError } from "../base/mod.ts";
import { shownJson } from "../wire/mod.ts";
import { Group } from "./group.ts";
import type { SignatureOptions } from "./options.ts";
import type { SentGroup, SentResult } from "./sender.ts";
import { Signature, toSignature } from "./signature.ts";

/** The arguments of each call. Throws UsageError for what cannot be iterated over. */
function itemsOf<T>(verb: string, task: Signature, it: Iterable<T>): T[] {
  if (Symbol.iterator in Object(it)) return [...it];
  throw new UsageError(`Cannot ${verb} "${task.task}": it needs an array or iterable, not ${shownJson(it)}`);
}

function loop<R>(name: string, task: Signature, more: Record<string, unknown>): Signature<R, SentResult<R>> {
  return new Signature<R, SentResult<R>>(name, { kwargs: { task, ...more }, immutable: true, app: task.app });
}

/**
 * Returns a call that runs `[task(item) for item in it]` from one message; its result is the list.
 *
 * @example
 * ```ts
 * import { xmap } from "lovage";
 * import { resize } from "./tasks.ts";
 *
 * await xmap(resize.s(), ["a.png", "b.png"]).delay();
 * ```
 */
export function xmap<R = unknown>(
  task: Signature<R>,
  it: Iterable<unknown>,
): Signature<R[], SentResult<R[]>> {
  return loop("celery.map", task, { it: itemsOf("map", task, it) });
}

/**
 * Returns a call that runs `[task(*item) for item in it]` from one message; its result is the list.
 *
 * @example
 * ```ts
 * import { xstarmap } from "lovage";
 * import { add } from "./tasks.ts";
 *
 * await xstarmap(add.s(), [[1, 1], [2, 2]]).delay();
 * ```
 */
export function xstarmap<R = unknown>(
  task: Signature<R>,
  it: Iterable<readonly unknown[]>,
): Signature<R[], SentResult<R[]>> {
  return loop("celery.starmap", task, { it: itemsOf("starmap", task, it) });
}

/** Arguments divided into `xstarmap`s of at most `n` calls each. Sending it sends the group of them. */
export class Chunks<R = unknown> extends Signature<R[][], SentGroup<R[]>> {
  constructor(task: Signature<R>, it: Iterable<readonly unknown[]>, n: number) {
    if (!Number.isInteger(n) || n < 1) {
      throw new UsageError(`Cannot make chunks of ${n}: n must be at least 1`);
    }
    super("celery.chunks", {
      kwargs: { task, it: itemsOf("make chunks of", task, it), n },
      immutable: true,
      app: task.app,
    });
  }

  /** Returns the group of `xstarmap`s. */
  group(): Group<R[]> {
    const task = toSignature(this.kwargs["task"] as Signature, this.app) as Signature<R>;
    const it = this.kwargs["it"] as unknown[][];
    const n = this.kwargs["n"] as number;
    const parts: Signature<R[]>[] = [];
    for (let from = 0; from < it.length; from += n) parts.push(xstarmap(task, it.slice(from, from + n)));
    return new Group<R[]>(parts, { ...this.options }, this.app);
  }

  override applyAsync(
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: SignatureOptions | null = null,
  ): Promise<SentGroup<R[]>> {
    return this.group().applyAsync(args, kwargs, { routeName: routeName(this), ...options });
  }
}

/**
 * Returns the task whose routes apply to a loop: the looped one and not `celery.map`. Null for other
 * signatures.
 */
export function routeName(signature: Signature): string | null {
  if (!/^celery\.(map|starmap|chunks)$/.test(signature.task)) return null;
  const task = signature.kwargs["task"] as { task?: unknown } | undefined;
  return typeof task?.task === "string" ? task.task : null;
}

/**
 * Divides arguments into messages of `n` calls each; the result is a list of lists.
 *
 * @example
 * ```ts
 * import { chunks } from "lovage";
 * import { add } from "./tasks.ts";
 *
 * await chunks(add.s(), [[1, 1], [2, 2], [3, 3]], 2).delay(); // two messages
 * ```
 *
 * @throws {UsageError} If `n` is not a whole number from 1.
 */
export function chunks<R = unknown>(
  task: Signature<R>,
  it: Iterable<readonly unknown[]>,
  n: number,
): Chunks<R> {
  return new Chunks(task, it, n);
}
