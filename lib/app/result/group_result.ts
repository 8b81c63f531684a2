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

/** A member of a set: the result of a task, or of a group inside the group. */
export type MemberResult = AsyncResult | GroupResult;

/**
 * Results of several tasks. Asynchronous iteration yields the values in the order of completion.
 *
 * @example
 * ```ts
 * import { App, ResultSet } from "lovage";
 *
 * const app = new App("shop", { broker_url: "redis://localhost", result_backend: "redis://localhost" });
 * const add = app.task("shop.add", (x: number, y: number) => x + y);
 * const results = new ResultSet<number>([await add.delay(1, 2), await add.delay(3, 4)], app);
 * console.log(await results.get({ timeout: 10 })); // [3, 7]
 * ```
 */
export class ResultSet<R = unknown> implements AsyncIterable<R> {
  /** The App whose tasks these are. */
  readonly app: UserApp;
  /** The members, in order. */
  results: MemberResult[];

  /** Does no I/O. */
  constructor(results: readonly MemberResult[], app: AppCore) {
    this.app = app as UserApp;
    this.results = [...results];
  }

  /** Number of members. */
  get length(): number {
    return this.results.length;
  }

  /** Adds a result unless it is a member already. */
  add(result: MemberResult): void {
    if (!this.results.some((one) => one.id === result.id)) this.results.push(result);
  }

  /** Removes a member, given itself or its id. No effect if it is not a member. */
  discard(result: MemberResult | string): void {
    const id = typeof result === "string" ? result : result.id;
    this.results = this.results.filter((one) => one.id !== id);
  }

  /** Adds several results. */
  update(results: Iterable<MemberResult>): void {
    for (const result of results) this.add(result);
  }

  /** Removes all members. */
  clear(): void {
    this.results = [];
  }

  /** Returns the results of all tasks, including those of inner groups. */
  leaves(): AsyncResult[] {
    return this.results.flatMap((one) => one instanceof AsyncResult ? [one] : one.leaves());
  }

  /** Returns the ids of all tasks, including those of inner groups. */
  leafIds(): readonly string[] {
    return this.leaves().map((one) => one.id);
  }

  /**
   * Waits for all values and returns them in the order of the members; an inner group gives an array.
   *
   * @throws {TimeoutError} after `timeout` seconds.
   * @throws {UsageError} for an unknown option or an invalid timeout.
   * @throws the first task's error, unless `propagate` is false; the error of the result store; the signal's
   * reason; and an Error named RuntimeError if called inside a task without `disableSyncSubtasks: false`.
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

  /** Same as `get`. */
  join(options: GetOptions = {}): Promise<R[]> {
    return this.get(options);
  }

  /** Yields the values in the order of completion. Throws as `get` does. */
  async *[Symbol.asyncIterator](): AsyncGenerator<R> {
    for await (const [, meta] of this.iterNative()) yield meta.result as R;
  }

  /**
   * Yields `[id, stored state]` in the order of completion. Throws as `get` does; with `propagate: false`
   * failures are yielded like other states.
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

  /**
   * Returns true if all tasks have ended. Rejects with the store's error, like all methods that read states.
   */
  async ready(): Promise<boolean> {
    return (await this.#states()).every((state) => READY_STATES.has(state));
  }

  /** Returns true if some task has not ended. */
  async waiting(): Promise<boolean> {
    return !(await this.ready());
  }

  /** Returns true if all tasks succeeded. */
  async successful(): Promise<boolean> {
    return (await this.#states()).every((state) => state === "SUCCESS");
  }

  /** Returns true if any task failed. */
  async failed(): Promise<boolean> {
    return (await this.#states()).some((state) => state === "FAILURE");
  }

  /** Returns the number of tasks that succeeded. */
  async completedCount(): Promise<number> {
    return (await this.#states()).filter((state) => state === "SUCCESS").length;
  }

  /** Throws the error of the first failed task in order; does nothing if there is none. */
  async maybeThrow(): Promise<void> {
    for (const meta of await this.#metas()) if (meta && PROPAGATE_STATES.has(meta.state)) throw errorOf(meta);
  }

  /** Deletes the stored results of all members. Rejects with the store's error. */
  async forget(): Promise<void> {
    await Promise.all(this.results.map((one) => one.forget()));
  }

  /**
   * Asks all workers to discard the tasks; with `terminate`, also to end running ones.
   *
   * @throws {UsageError} for an unknown option.
   */
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

/** The canvas declares what a sent group resolves to; this makes it a GroupResult. */
declare module "../../canvas/sender.ts" {
  interface SentGroup<R> extends GroupResult<R> {}
}

/**
 * The results of a group, which has an id of its own. `group(...).applyAsync()` resolves with it.
 *
 * @example
 * ```ts
 * import { App, group } from "lovage";
 *
 * const app = new App("shop", { broker_url: "redis://localhost", result_backend: "redis://localhost" });
 * const add = app.task("shop.add", (x: number, y: number) => x + y);
 * const sent = await group([add.s(1, 2), add.s(3, 4)]).applyAsync();
 * console.log(await sent.get({ timeout: 10 })); // [3, 7]
 * await sent.save(); // app.GroupResult.restore(sent.id) finds it again
 * ```
 */
export class GroupResult<R = unknown> extends ResultSet<R> implements CanvasResult {
  /** The group's id. */
  readonly id: string;
  /** The result that came before the group in a chain, or null. */
  parent: CanvasResult | null;

  /** Does no I/O. */
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

  /**
   * Deletes the stored results of all members and of their parents; of the header of a chord that has ended,
   * also its keys. Rejects with the store's error.
   */
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

  /**
   * Saves the group in the result store, for `app.GroupResult.restore(id)`. Rejects with the store's error.
   */
  async save(): Promise<void> {
    const backend = await this.app.openBackend();
    await backend.saveGroup(this.id, toJson(this.asTuple()));
  }

  /** Deletes what `save` stored. Rejects with the store's error. */
  async delete(): Promise<void> {
    const backend = await this.app.openBackend();
    await backend.deleteGroup(this.id);
  }

  /** Returns Celery's JSON form: `[[id, parent's form or null], [members' forms]]`. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], this.results.map((one) => one.asTuple())];
  }

  /** Same as `asTuple`. */
  toJSON(): ResultTuple {
    return this.asTuple();
  }

  /** Returns a saved group, or null. Rejects with the store's error. */
  static async restore(id: string, app: AppCore): Promise<GroupResult | null> {
    const backend = await app.openBackend();
    const text = await backend.fetchGroup(id);
    if (text === null) return null;
    const result = resultFromTuple(fromJson(text), app);
    return result instanceof GroupResult ? result : null;
  }
}

/**
 * Makes a result from its JSON form. Throws `UsageError` for another value. Source: celery 5.2.6 result.py.
 */
export function resultFromTuple(tuple: unknown, app: AppCore): AsyncResult | GroupResult {
  const { id, parent, members } = readTuple(tuple);
  const above = parent === null ? null : resultFromTuple(parent, app);
  if (members === null) return new AsyncResult(id, app, { parent: above });
  return new GroupResult(id, members.map((one) => resultFromTuple(one, app)), app, above);
}
