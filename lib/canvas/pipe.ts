/**
 * The rules of `a | b`: what two joined signatures become.
 *
 * task|task is a chain; chain|task a longer one; group|task a chord; a chain that ends in a group, then a
 * task: that group becomes the header of a chord; chord|task extends the body; a group of one counts as its
 * task; an empty group on the right is left out.
 * Source: celery 5.6 canvas.py __or__ of each kind, chain.__new__; protocol.md 8.3.
 */

import { Chain } from "./chain.ts";
import { Chord } from "./chord.ts";
import { Group, isEmptyGroup, listOf, unrollSingle } from "./group.ts";
import type { SentResult } from "./sender.ts";
import { installPipe, type Piped, Signature, toSignature } from "./signature.ts";

/** Joins two signatures; neither is changed. */
function pipe(left: Signature, right: Signature): Signature {
  const app = left.app ?? right.app;
  if (isEmptyGroup(right)) return left.clone();
  if (left instanceof Chain) return pipeChain(left, right);
  if (left instanceof Chord && !(right instanceof Group)) {
    const chord = left.clone();
    chord.body = chord.body === null ? right : pipe(chord.body, right);
    return chord;
  }
  if (left instanceof Group) return new Chord(left.tasks, right, null, app);
  if (right instanceof Chain) return new Chain([left, ...right.unchainTasks()], null, app);
  return new Chain([left, unrollSingle(right)], null, app);
}

function pipeChain(left: Chain, right: Signature): Signature {
  const next = unrollSingle(right);
  if (next instanceof Group) {
    const tasks = left.unchainTasks();
    return tasks.length === 0 ? next : keepOptions(left, new Chain([...tasks, next], null, left.app));
  }
  if (next instanceof Chain) {
    let joined: Signature = left;
    for (const task of next.unchainTasks()) joined = pipe(joined, task);
    return joined;
  }
  const last = left.tasks.at(-1);
  if (last instanceof Group) {
    const chain = left.clone();
    const made = new Chord(chain.tasks.pop() as Group, next, null, left.app);
    const before = chain.tasks.at(-1);
    // Two consecutive chords are one chord with a longer body.
    if (before instanceof Chord && before.body !== null) before.body = pipe(before.body, made);
    else chain.tasks.push(made);
    return chain;
  }
  // A chord after a chord is the next step and not part of the body: nested, each would contain all later
  // ones again.
  // Source: celery 5.6.3 canvas.py _chain.__or__.
  if (last instanceof Chord && last.body !== null && !(next instanceof Chord)) {
    const chain = left.clone();
    const chord = chain.tasks.at(-1) as Chord;
    chord.body = pipe(chord.body!, next);
    return chain;
  }
  return keepOptions(left, new Chain([...left.unchainTasks(), next], null, left.app));
}

/** Copies a chain's options to the longer chain; its errbacks are on its steps already. */
function keepOptions(from: Chain, to: Chain): Chain {
  for (const [name, value] of Object.entries(from.options)) {
    if (name !== "linkError") to.options[name] = value;
  }
  return to;
}

installPipe(pipe);

/**
 * Returns a chain of signatures, given as one list or one by one. As in Celery it is `a | b | c`, and so it may
 * become a chord, or the group if that is the only step of a list. One signature given alone is a chain of that
 * step.
 *
 * @example
 * ```ts
 * import { chain } from "lovage";
 * import { add } from "./tasks.ts";
 *
 * const result = await chain(add.s(2, 2), add.s(4)).delay();
 * console.log(await result.get({ timeout: 5 })); // 8
 * ```
 *
 * @throws {UsageError} For a step that is not a signature.
 */
export function chain<T extends readonly Signature[]>(...tasks: T): Piped<Signature, T>;
export function chain(tasks: Iterable<Signature>): Signature<unknown, SentResult>;
export function chain(...given: unknown[]): unknown {
  if (given.length === 1 && given[0] instanceof Signature) return new Chain([given[0]]);
  let made: Signature = new Chain([]);
  for (const task of listOf(given)) made = pipe(made, toSignature(task));
  return made;
}
