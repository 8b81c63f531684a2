/**
 * Running canvas signatures in this process, without a broker.
 *
 * Source: celery 5.2.6 canvas.py apply of each kind; result.py EagerResult.
 */

import {
  type CanvasResult,
  Chain,
  Chord,
  Chunks,
  Group,
  optionList,
  type Signature,
  type SignatureLike,
  type SignatureOptions,
  unrollGroups,
  unrollSingle,
  withoutEmptyGroups,
} from "../../canvas/mod.ts";
import { revived } from "../../wire/mod.ts";
import type { AppCore } from "../core.ts";
import { GroupResult, type MemberResult } from "../result/group_result.ts";
import { AsyncResult, type GetOptions } from "../result/results.ts";
import type { SendOptions } from "../call/send_options.ts";

/** The results of a group that ran here: all are there, so `get` does not wait. */
class EagerGroupResult<R = unknown> extends GroupResult<R> {
  override async get(options: GetOptions = {}): Promise<R[]> {
    const values: unknown[] = [];
    for (const one of this.results) values.push(await one.get(options));
    return values as R[];
  }
}

/**
 * Runs a signature of any kind. The promise resolves when it has ended. Errors of tasks are in the result; an
 * error of a step before the last one rejects.
 */
export async function applySignatureEagerly(
  app: AppCore,
  signature: Signature,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: SignatureOptions,
): Promise<CanvasResult> {
  if (signature instanceof Chain) return await chainEagerly(app, signature, args, kwargs);
  if (signature instanceof Chord) {
    const header = new Group(signature.tasks, null, signature.app);
    const results = await applySignatureEagerly(app, header, args, {}, {});
    const body = signature.body?.clone();
    if (!body) return results;
    return await applySignatureEagerly(app, body, [await results.get()], {}, {
      taskId: signature.body?.id ?? null,
    });
  }
  if (signature instanceof Group || signature instanceof Chunks) {
    const group = signature instanceof Chunks ? signature.group() : signature;
    const { taskId, ...rest } = options;
    const id = taskId ?? group.id ?? app.world.random.id();
    const results: MemberResult[] = [];
    for (const task of unrollGroups(group.tasks)) {
      results.push(await applySignatureEagerly(app, task, args, kwargs, rest) as MemberResult);
    }
    return new EagerGroupResult(id, results, app);
  }
  const merged = signature.merge(args, kwargs, options);
  const task = app.tasks.need(signature.task);
  const own = revived(merged.options) as SendOptions;
  return await task.apply(revived(merged.args), revived(merged.kwargs), own);
}

async function chainEagerly(
  app: AppCore,
  chain: Chain,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): Promise<CanvasResult> {
  let last: CanvasResult | null = null;
  const steps = withoutEmptyGroups(chain.unchainTasks().map(unrollSingle));
  for (let at = 0; at < steps.length; at++) {
    let step = steps[at]!;
    // A group before a step is the header of a chord, as when it is sent.
    if (step instanceof Group && at + 1 < steps.length) {
      step = new Chord(step.tasks, steps[++at]!, null, chain.app);
    }
    // Celery 5.2.6 runs a chain's callbacks after each step here; a chain that is sent runs them only after
    // the last.
    if (at === steps.length - 1) step = withLinks(step, optionList<SignatureLike>(chain.options.link));
    const given = last === null ? [...args, ...chain.args] : [await last.get()];
    const result: CanvasResult = await applySignatureEagerly(
      app,
      step,
      given,
      last === null ? kwargs : {},
      {},
    );
    if (last !== null) result.parent = last;
    last = result;
    // A step that ended without a value ends the chain, as when it is sent. Source: celery main (5.7)
    // canvas.py _chain.apply.
    if (await hasNoValue(result)) break;
  }
  if (last === null) throw new TypeError("Cannot run an empty chain");
  return last;
}

/** Returns true if a step that ran here ended with Ignore or Reject. */
async function hasNoValue(result: CanvasResult): Promise<boolean> {
  if (!(result instanceof AsyncResult)) return false;
  const state = await result.state();
  return state === "IGNORED" || state === "REJECTED";
}

function withLinks(step: Signature, links: readonly SignatureLike[]): Signature {
  if (links.length === 0) return step;
  const made = step.clone();
  for (const link of links) made.link(link);
  return made;
}
