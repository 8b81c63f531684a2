/**
 * Results of several tasks as one.
 *
 * Source: celery 5.2.6 result.py ResultSet, GroupResult.
 */

import { refuseUnknown } from "../../base/mod.ts";
import type { CanvasResult } from "../../canvas/mod.ts";
import {
  fromJson,
  PROPAGATE_STATES,
  READY_STATES,
  type ResultMeta,
  type ResultTuple,
  toJson,
} from "../../wire/mod.ts";
import type { AppCore, RevokeOptions, UserApp } from "../core.ts";
import { AsyncResult, errorOf, type GetOptions, readTuple, refuseToBlock, REVOKE_NAMES } from "./results.ts";

/** A member: the result of a task, or of a group inside the group. */
export type MemberResult = AsyncResult | GroupResult;

/** Several results. Iterating it asynchronously gives the values in the order of completion. */
export class ResultSet<R = unknown> implements AsyncIterable<R> {
  readonly app: UserApp;
  results: MemberResult[];

  constructor(results: readonly MemberResult[], app: AppCore) {
    this.app = app as UserApp;
    this.results = [...results];
  }

  get length(): number {
    return this.results.length;
  }

  /** Adds a result that is not in it yet. */
  add(result: MemberResult): void {
    if (!this.results.some((one) => one.id === result.id)) this.results.push(result);
  }

  /** Takes a result out, by itself or its id; no effect if it is not in. */
  discard(result: MemberResult | string): void {
    const id = typeof result === "string" ? result : result.id;
    this.results = this.results.filter((one) => one.id !== id);
  }

  /** Adds many. */
  update(results: Iterable<MemberResult>): void {
    for (const result of results) this.add(result);
  }

  /** Takes all out. */
  clear(): void {
    this.results = [];
  }

  /** Every task in it, those of inner groups too. */
  leaves(): AsyncResult[] {
    return this.results.flatMap((one) => one instanceof AsyncResult ? [one] : one.leaves());
  }

  leafIds(): readonly string[] {
    return this.leaves().map((one) => one.id);
  }

  /**
   * Waits for all values, in the order of the results; inner groups are arrays inside. Rejects with the
   * first error (`propagate`), or `TimeoutError`.
   */
  async get(options: GetOptions = {}): Promise<R[]> {
    refuseToBlock(options);
    await this.#collect(options, () => {});
    const values: unknown[] = [];
    for (const one of this.results) {
      values.push(await one.get({ propagate: false, disableSyncSubtasks: false }));
    }
    return values as R[];
  }

  /** As `get`. */
  join(options: GetOptions = {}): Promise<R[]> {
    return this.get(options);
  }

  /** The values in the order of completion. Ends with an error as `get` does. */
  async *[Symbol.asyncIterator](): AsyncGenerator<R> {
    for await (const [, meta] of this.iterNative()) yield meta.result as R;
  }

  /**
   * `[id, stored state]` in the order of completion; errors are states like others with `propagate: false`.
   */
  async *iterNative(options: GetOptions = {}): AsyncGenerator<[string, ResultMeta]> {
    refuseToBlock(options);
    const arrived: ResultMeta[] = [];
    let wake: () => void = () => {};
    let isDone = false;
    let failure: unknown = null;
    const collecting = this.#collect(options, (meta) => {
      arrived.push(meta);
      wake();
    }).catch((error) => {
      failure = error;
    }).finally(() => {
      isDone = true;
      wake();
    });
    for (;;) {
      while (arrived.length > 0) {
        const meta = arrived.shift()!;
        yield [meta.taskId, meta];
      }
      if (isDone) break;
      await new Promise<void>((resolve) => wake = resolve);
    }
    await collecting;
    if (failure !== null) throw failure;
  }

  /** True if all have ended. */
  async ready(): Promise<boolean> {
    return (await this.#states()).every((state) => READY_STATES.has(state));
  }

  /** True if some have not ended. */
  async waiting(): Promise<boolean> {
    return !(await this.ready());
  }

  /** True if all succeeded. */
  async successful(): Promise<boolean> {
    return (await this.#states()).every((state) => state === "SUCCESS");
  }

  /** True if any failed. */
  async failed(): Promise<boolean> {
    return (await this.#states()).some((state) => state === "FAILURE");
  }

  /** How many succeeded. */
  async completedCount(): Promise<number> {
    return (await this.#states()).filter((state) => state === "SUCCESS").length;
  }

  /** Throws the first error there is. */
  async maybeThrow(): Promise<void> {
    for (const meta of await this.#metas()) if (meta && PROPAGATE_STATES.has(meta.state)) throw errorOf(meta);
  }

  /** Deletes what is stored of all. */
  async forget(): Promise<void> {
    await Promise.all(this.results.map((one) => one.forget()));
  }

  /** Asks all workers to discard them. */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    refuseUnknown(options, REVOKE_NAMES, "a result's revoke");
    await this.app.control.revoke(this.leafIds(), options);
  }

  async #metas(): Promise<(ResultMeta | null)[]> {
    const leaves = this.leaves();
    if (leaves.length === 0) return [];
    const backend = await this.app.openBackend();
    const metas = await backend.fetchMany(leaves.map((one) => one.id));
    metas.forEach((meta, n) => meta && leaves[n]!.adopt(meta));
    return metas;
  }

  async #states(): Promise<string[]> {
    return (await this.#metas()).map((meta) => meta?.state ?? "PENDING");
  }

  async #collect(options: GetOptions, onDone: (meta: ResultMeta) => void): Promise<void> {
    const { propagate = true, onMessage } = options;
    const pending = new Map<string, AsyncResult[]>();
    for (const leaf of this.leaves()) {
      if (leaf.ignored) continue;
      const same = pending.get(leaf.id);
      if (same) same.push(leaf);
      else pending.set(leaf.id, [leaf]);
    }
    if (pending.size === 0) return;
    await this.app.backend.watchUntil(
      [...pending.keys()],
      { timeoutSeconds: options.timeout, signal: options.signal },
      (meta) => {
        onMessage?.(meta);
        const leaves = READY_STATES.has(meta.state) ? pending.get(meta.taskId) : undefined;
        if (!leaves) return false;
        pending.delete(meta.taskId);
        for (const leaf of leaves) leaf.adopt(meta);
        if (propagate && PROPAGATE_STATES.has(meta.state)) throw errorOf(meta);
        onDone(meta);
        return pending.size === 0;
      },
    );
  }
}

/** The canvas says what is sent, and this what that resolves to. */
declare module "../../canvas/sender.ts" {
  interface SentGroup<R> extends GroupResult<R> {}
}

/** The results of a group, which has an id of its own and may be saved under it. */
export class GroupResult<R = unknown> extends ResultSet<R> implements CanvasResult {
  readonly id: string;
  parent: CanvasResult | null;

  constructor(
    id: string,
    results: readonly MemberResult[],
    app: AppCore,
    parent: CanvasResult | null = null,
  ) {
    super(results, app);
    this.id = id;
    this.parent = parent;
  }

  /** The members. */
  get children(): MemberResult[] {
    return this.results;
  }

  /** Deletes what is stored of all and of what they followed from; of a chord's header that is over its keys too. */
  override async forget(options: { hasEnded?: boolean } = {}): Promise<void> {
    const leaves = this.leaves();
    const hasEnded = options.hasEnded === true ||
      leaves.length > 0 && leaves.every((one) => one.isKnownToEnd);
    await this.parent?.forget({ hasEnded });
    await super.forget();
    if (options.hasEnded !== true) return;
    const backend = await this.app.openBackend();
    if (!backend.countsChords) return;
    await backend.deleteGroup(this.id);
    await backend.endChord(this.id);
  }

  /** Keeps it in the result store, to be read by `app.GroupResult.restore(id)`. */
  async save(): Promise<void> {
    const backend = await this.app.openBackend();
    await backend.saveGroup(this.id, toJson(this.asTuple()));
  }

  /** Deletes what `save` kept. */
  async delete(): Promise<void> {
    const backend = await this.app.openBackend();
    await backend.deleteGroup(this.id);
  }

  /** Celery's JSON form: `[[id, parent's form or null], [members' forms]]`. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], this.results.map((one) => one.asTuple())];
  }

  /** As `asTuple`. */
  toJSON(): ResultTuple {
    return this.asTuple();
  }

  /** A group that was saved, or null. */
  static async restore(id: string, app: AppCore): Promise<GroupResult | null> {
    const backend = await app.openBackend();
    const text = await backend.fetchGroup(id);
    if (text === null) return null;
    const result = resultFromTuple(fromJson(text), app);
    return result instanceof GroupResult ? result : null;
  }
}

/** A result from its JSON form. Throws `UsageError` if it is not one. Source: celery 5.2.6 result.py. */
export function resultFromTuple(tuple: unknown, app: AppCore): AsyncResult | GroupResult {
  const { id, parent, members } = readTuple(tuple);
  const above = parent === null ? null : resultFromTuple(parent, app);
  if (members === null) return new AsyncResult(id, app, { parent: above });
  return new GroupResult(id, members.map((one) => resultFromTuple(one, app)), app, above);
}
