/**
 * Chains: calls that run one after the other, each with the result of the previous one.
 *
 * Source: celery 5.2.6 and 5.6 canvas.py _chain; protocol.md 8.3, 8.4.
 */

import { UsageError } from "../base/mod.ts";
import type { WireSignature } from "../wire/mod.ts";
import { Chord } from "./chord.ts";
import { firstFrozen, type Frozen } from "./frozen.ts";
import { Group, unrollSingle, withoutEmptyGroups } from "./group.ts";
import { Members } from "./members.ts";
import { optionList, optionsFromWire, type SignatureLike, type SignatureOptions } from "./options.ts";
import type { CanvasSender, SentResult } from "./sender.ts";
import {
  type FreezeOptions,
  registerKind,
  Signature,
  type StampingVisitor,
  toSignature,
} from "./signature.ts";
import { joinStamps } from "./stamps.ts";

/**
 * A chain prepared for sending: its frozen steps, the last one first, and their results in the same order.
 */
export interface PreparedChain {
  steps: Signature[];
  results: Frozen[];
}

/** Options of `Chain.prepare`. */
export interface PrepareOptions extends FreezeOptions {
  args?: readonly unknown[];
  kwargs?: Readonly<Record<string, unknown>>;
  linkError?: SignatureLike | readonly SignatureLike[] | null;
  /** False: the steps themselves are frozen, not copies. */
  clone?: boolean;
}

/** Calls one after the other; its result is the last one's. */
export class Chain<R = unknown> extends Members<R, SentResult<R>> {
  /** The calls, as `tasks`. */
  get steps(): Signature[] {
    return this.tasks;
  }

  constructor(
    tasks: readonly SignatureLike[],
    options: SignatureOptions | null = null,
    app: CanvasSender | null = null,
  ) {
    super("chain", tasks, options, app);
  }

  /** Returns copies of the steps, each with the chain's errbacks. */
  unchainTasks(): Signature[] {
    const errbacks = optionList<SignatureLike>(this.options.linkError);
    return this.tasks.map((task) => {
      const copy = task.clone();
      for (const errback of errbacks) copy.linkError(errback);
      return copy;
    });
  }

  override freeze(how: FreezeOptions = {}): Frozen {
    const prepared = this.prepare({ ...how, clone: false, args: this.args });
    const last = prepared.results[0];
    if (last === undefined) throw new UsageError("Cannot freeze an empty chain");
    this.tasks = [...prepared.steps].reverse();
    this.args = [];
    this.options.taskId = last.id;
    return last;
  }

  /**
   * Prepares the steps for sending: inserts the steps of chains among them, unrolls groups of one, leaves out
   * empty groups, makes a step that ends in a group the header of a chord with the next step, and freezes
   * all. The id, group and chord in `how` are those of the last step.
   */
  prepare(how: PrepareOptions): PreparedChain {
    const clone = how.clone ?? true;
    const todo = withoutEmptyGroups(spliced(this.tasks, this.app));
    const steps: Signature[] = [];
    const results: Frozen[] = [];
    let isLast = true;
    let after: Signature | null = null;
    let afterFrozen: Frozen | null = null;
    while (todo.length > 0) {
      let step = todo.pop()!;
      const isFirst = todo.length === 0;
      if (clone) step = isFirst ? step.clone(how.args ?? [], how.kwargs ?? {}) : step.clone();
      else if (isFirst && how.args && how.args.length > 0) step.args = [...how.args, ...step.args];
      const isHeader = after !== null && endsInGroup(step);
      if (isHeader) {
        steps.pop();
        results.pop();
        step = chordOf(step, after!, how.rootId);
      }
      const frozen = isLast
        ? step.freeze({
          id: how.id,
          rootId: how.rootId,
          groupId: how.groupId,
          chord: how.chord,
          groupIndex: how.groupIndex,
        })
        : step.freeze({ rootId: how.rootId });
      // A chord made with the last step does not get the ids: its body has them already.
      isLast = false;
      if (after !== null && !isHeader) {
        if (this.sender.linksChains) step.link(after);
        afterFrozen!.parent ??= frozen;
      }
      for (const errback of optionList<SignatureLike>(how.linkError)) step.linkError(errback);
      steps.push(step);
      results.push(frozen);
      after = step;
      // A chord's result is its body's; the previous step is the parent of its header.
      afterFrozen = step instanceof Chord ? firstFrozen(frozen) : frozen;
    }
    return { steps, results };
  }

  /** Returns the size of its last step whose size is not 0. */
  override chordSize(): number {
    for (let at = this.tasks.length - 1; at >= 0; at--) {
      const size = this.tasks[at]!.chordSize();
      if (size > 0) return size;
    }
    return 0;
  }

  override stampWith(
    visitor: StampingVisitor | null,
    append: boolean,
    stamps: Readonly<Record<string, unknown>>,
  ): void {
    const inner = joinStamps(stamps, visitor?.onChainStart?.(this, stamps));
    this.stampLinks(visitor, append, inner);
    for (const task of this.tasks) task.stampWith(visitor, append, inner);
    visitor?.onChainEnd?.(this, inner);
  }
}

/** Returns the steps, with those of chains among them, and the task of a group of one in its place. */
function spliced(tasks: readonly SignatureLike[], app: CanvasSender | null): Signature[] {
  return tasks.flatMap((task) => {
    const step = unrollSingle(toSignature(task, app));
    return step instanceof Chain ? spliced(step.unchainTasks(), app) : [step];
  });
}

/**
 * Returns the chord that passes the results of a group at the end of `step` to `after`, once all are there.
 * Celery does so for a plain group only; after a chord whose body is a group it runs `after` once for each
 * member.
 */
function chordOf(step: Signature, after: Signature, rootId: string | null | undefined): Signature {
  if (step instanceof Chord) {
    const chord = step.clone();
    const body = chord.body!;
    chord.body = body instanceof Chain
      ? new Chain([...body.unchainTasks(), after], { ...body.options, linkError: null }, body.app)
      : chordOf(body, after, rootId);
    return chord;
  }
  const options: SignatureOptions = {};
  if (rootId) options.rootId = rootId;
  return new Chord(step as Group, after, options, step.app);
}

/** Whether a canvas ends in a group: its end is a list of results instead of one that can be waited for. */
export function endsInGroup(signature: Signature): boolean {
  if (signature instanceof Group) return true;
  const last = signature instanceof Chain
    ? signature.tasks.at(-1)
    : signature instanceof Chord
    ? signature.body
    : null;
  return last != null && endsInGroup(last);
}

registerKind("chain", (wire, app) => {
  const tasks = (wire.kwargs?.["tasks"] ?? []) as WireSignature[];
  if (!Array.isArray(tasks)) throw new UsageError("Cannot read a chain: its tasks must be a list");
  const made = new Chain(tasks, optionsFromWire(wire.options), app);
  made.args = wire.args ?? [];
  made.immutable = wire.immutable ?? false;
  return made;
});
