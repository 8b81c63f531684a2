/**
 * Running what the canvas builds here and now, without a broker.
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
} from "../canvas/mod.ts";
import type { App } from "./app.ts";
import { GroupResult, type MemberResult } from "./group_result.ts";
import type { GetOptions } from "./results.ts";
import type { SendOptions } from "./send_options.ts";

/** The results of a group that ran here: all there are, nothing to wait for. */
export class EagerGroupResult<R = unknown> extends GroupResult<R> {
  override async get(options: GetOptions = {}): Promise<R[]> {
    const values: unknown[] = [];
    for (const one of this.results) values.push(await one.get(options));
    return values as R[];
  }
}

/** Runs a signature of any kind; the result is there when the promise resolves. Errors are in the result. */
export async function applySignatureEagerly(
  app: App,
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
      results.push(await applySignatureEagerly(app, task, args, kwargs, rest) as unknown as MemberResult);
    }
    return new EagerGroupResult(id, results, app) as unknown as CanvasResult;
  }
  const merged = signature.merge(args, kwargs, options);
  const task = app.tasks.need(signature.task);
  return await task.apply(merged.args, merged.kwargs, merged.options as SendOptions) as CanvasResult;
}

async function chainEagerly(
  app: App,
  chain: Chain,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): Promise<CanvasResult> {
  let last: CanvasResult | null = null;
  const steps = chain.unchainTasks();
  for (let at = 0; at < steps.length; at++) {
    let step = unrollSingle(steps[at]!);
    // A group before a step is the header of a chord, as it would be when sent.
    if (step instanceof Group && at + 1 < steps.length) {
      step = new Chord(step.tasks, steps[++at]!, null, chain.app);
    }
    // 5.2.6 runs a chain's callbacks after each of its steps here; sent, only after the last.
    if (at === steps.length - 1) step = withLinks(step, optionList<SignatureLike>(chain.options.link));
    const given = last === null ? [...args, ...chain.args] : [await last.get()];
    const result: CanvasResult = await applySignatureEagerly(
      app,
      step,
      given,
      last === null ? kwargs : {},
      {},
    );
    const linked = result as { parent?: unknown };
    if (last !== null) linked.parent = last;
    last = result;
  }
  if (last === null) throw new TypeError("Cannot run an empty chain");
  return last;
}

function withLinks(step: Signature, links: readonly SignatureLike[]): Signature {
  if (links.length === 0) return step;
  const made = step.clone();
  for (const link of links) made.link(link);
  return made;
}
