/**
 * The result of one task: read by id, awaited through one shared subscription.
 *
 * A result is not thenable: `await result` gives the result itself, `await result.get()` its value.
 *
 * Source: celery 5.2.6 result.py AsyncResult, result_from_tuple; protocol.md 4.2 to 4.4, 8.8.
 */

import { namesOf, refuseUnknown, UsageError } from "../../base/mod.ts";
import type { CanvasResult, SentGroup, SentResult } from "../../canvas/mod.ts";
import {
  EXCEPTION_STATES,
  fromWireException,
  PROPAGATE_STATES,
  READY_STATES,
  type ResultMeta,
  type ResultTuple,
  shownJson,
  type WireException,
} from "../../wire/mod.ts";
import type { AppCore, RevokeOptions, UserApp, WaitCheck } from "../core.ts";
import { CHECK_MAX_MS } from "./app_backend.ts";
import { currentTask } from "../call/current_task.ts";

/** Options of waiting for a result. */
export interface GetOptions {
  /** Seconds; null: no limit. Default null. */
  timeout?: number | null;
  /** False: an error is returned, not thrown. Default true. */
  propagate?: boolean;
  /** Called with every stored state on the way, such as PROGRESS. */
  onMessage?: (meta: ResultMeta) => void;
  /** False: failures of parents do not end the wait. Default true. */
  followParents?: boolean;
  /** False: allows waiting inside a task, which can block a full pool for ever. Default true. */
  disableSyncSubtasks?: boolean;
  /** Aborts the wait; it rejects with the signal's reason. */
  signal?: AbortSignal;
}

const GET_NAMES = namesOf<GetOptions>({
  timeout: true,
  propagate: true,
  onMessage: true,
  followParents: true,
  disableSyncSubtasks: true,
  signal: true,
});
/** The names of `RevokeOptions`. */
export const REVOKE_NAMES: ReadonlySet<string> = namesOf<RevokeOptions>({ terminate: true, signal: true });

/**
 * Checks the options, and refuses to wait inside a task: throws UsageError, or an Error named RuntimeError.
 * Source: celery 5.2.6 result.py assert_will_not_block.
 */
export function refuseToBlock(options: GetOptions): void {
  refuseUnknown(options, GET_NAMES, "a result's get");
  const { timeout = null } = options;
  if (timeout !== null && (typeof timeout !== "number" || Number.isNaN(timeout))) {
    throw new UsageError(
      `Cannot wait for a result: timeout ${shownJson(timeout)} must be a number of seconds`,
    );
  }
  if (options.disableSyncSubtasks === false || currentTask() === null) return;
  const error = new Error(
    "Never call result.get() within a task! A pool that is full would wait for itself; " +
      "pass { disableSyncSubtasks: false } if the pool has room for both",
  );
  error.name = "RuntimeError";
  throw error;
}

/** Returns the error in a stored state that carries one. */
export function errorOf(meta: ResultMeta): Error {
  return fromWireException(meta.result as WireException, meta.traceback);
}

/** The canvas declares what a sent signature resolves to; this makes it an AsyncResult. */
declare module "../../canvas/sender.ts" {
  interface SentResult<R> extends AsyncResult<R> {}
}

/**
 * The result of a task; `R` is the type of its value. The constructor does no I/O. Methods that read the
 * store reject with its error: an `OperatingError` if it is unreachable.
 *
 * @example
 * ```ts
 * import { App, AsyncResult } from "lovage";
 *
 * const app = new App("shop", { broker_url: "redis://localhost", result_backend: "redis://localhost" });
 * const add = app.task("shop.add", (x: number, y: number) => x + y);
 * const sent = await add.delay(1, 2);
 * console.log(await sent.get({ timeout: 10 })); // 3
 *
 * const later = new AsyncResult<number>(sent.id, app); // in another process
 * console.log(await later.state()); // SUCCESS
 * ```
 */
export class AsyncResult<R = unknown> implements CanvasResult {
  /** The id of the task. */
  readonly id: string;
  /** The App that reads the result. */
  readonly app: UserApp;
  /** The result of the previous step of a chain, or null. */
  parent: CanvasResult | null;
  /** True if no result will be stored: `get` returns null at once. */
  ignored: boolean;
  readonly #name: string | null;
  /** A final state, which does not change any more. */
  #final: ResultMeta | null = null;
  /** Ids of parents that are not known to have ended; null: not determined yet. */
  #openParents: readonly string[] | null = null;

  /** @throws {UsageError} for an id that is not a text or is empty. */
  constructor(
    id: string,
    app: AppCore,
    options: { parent?: CanvasResult | null; ignored?: boolean; name?: string | null } = {},
  ) {
    if (typeof id !== "string" || id === "") {
      throw new UsageError(
        `Cannot read a result: its id must be a text that is not empty, not ${shownJson(id)}`,
      );
    }
    this.id = id;
    this.app = app as UserApp;
    this.parent = options.parent ?? null;
    this.ignored = options.ignored ?? false;
    this.#name = options.name ?? null;
  }

  /** Same as `id`. */
  get taskId(): string {
    return this.id;
  }

  /**
   * Waits for the value. Parents, of which there may be thousands, are not subscribed to. They are checked
   * periodically, at intervals of up to one second, and when the result itself is a failure, which theirs may
   * have caused.
   *
   * @throws {TimeoutError} after `timeout` seconds.
   * @throws {UsageError} for an unknown option or an invalid timeout.
   * @throws {OperatingError} if there is no result store, or it is lost.
   * @throws the task's error, or the error of a parent that failed, unless `propagate` is false; the signal's
   * reason; and an Error named RuntimeError if called inside a task without `disableSyncSubtasks: false`.
   */
  async get(options: GetOptions = {}): Promise<R> {
    if (this.ignored) return null as R;
    refuseToBlock(options);
    if (this.#final === null && !this.#isReceived(options)) await this.#wait(options);
    const meta = this.#final!;
    if (!EXCEPTION_STATES.has(meta.state)) return meta.result as R;
    if (options.propagate === false) return errorOf(meta) as R;
    // Report the first failure: for the body of a chord, the error of its member.
    throw (followsParents(options) && await this.#checkParents().catch(() => null)) || errorOf(meta);
  }

  /** Same as `get`. */
  wait(options: GetOptions = {}): Promise<R> {
    return this.get(options);
  }

  /**
   * Returns PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED or a custom state. An unknown id is PENDING.
   */
  async state(): Promise<string> {
    return (await this.#meta())?.state ?? "PENDING";
  }

  /** Same as `state`. */
  status(): Promise<string> {
    return this.state();
  }

  /**
   * Returns the value, the error of a failure, or the info passed to `updateState`; null if nothing is
   * stored.
   */
  async info(): Promise<unknown> {
    const meta = await this.#meta();
    if (meta === null) return null;
    return EXCEPTION_STATES.has(meta.state) ? errorOf(meta) : meta.result;
  }

  /** Same as `info`. */
  result(): Promise<unknown> {
    return this.info();
  }

  /**
   * Returns true if the store has an entry for the task; reads the store each time. False for a task that was
   * never sent, that has not begun, or whose result has expired or was deleted: `state` returns PENDING for
   * all of these. Source: celery main (5.7) result.py AsyncResult.exists.
   */
  async exists(): Promise<boolean> {
    return await this.app.backend.getTaskMeta(this.id) !== null;
  }

  /** Returns true if the task has ended, successfully or not. */
  async ready(): Promise<boolean> {
    return READY_STATES.has(await this.state());
  }

  /** Returns true if the task succeeded. */
  async successful(): Promise<boolean> {
    return await this.state() === "SUCCESS";
  }

  /** Returns true if the task failed. */
  async failed(): Promise<boolean> {
    return await this.state() === "FAILURE";
  }

  /** Returns the remote traceback as text, or null. */
  async traceback(): Promise<string | null> {
    return (await this.#meta())?.traceback ?? null;
  }

  /** Returns the results of tasks and groups that the task sent; null if nothing is known. */
  async children(): Promise<(SentResult | SentGroup)[] | null> {
    const children = (await this.#meta())?.children ?? null;
    return children === null ? null : children.map((tuple) => this.app.resultFromTuple(tuple));
  }

  /** Returns when the task ended, as ISO 8601 text, or null. */
  async dateDone(): Promise<string | null> {
    return (await this.#meta())?.dateDone ?? null;
  }

  /** Returns the task's name: that of the call, or the stored one with `result_extended`; else null. */
  async name(): Promise<string | null> {
    return this.#name ?? (await this.#meta())?.name ?? null;
  }

  /** Returns the arguments with `result_extended`, else null. */
  async args(): Promise<unknown[] | null> {
    return (await this.#meta())?.args ?? null;
  }

  /** Returns the keyword arguments with `result_extended`, else null. */
  async kwargs(): Promise<Record<string, unknown> | null> {
    return (await this.#meta())?.kwargs ?? null;
  }

  /** Returns the node that ran the task with `result_extended`, else null. */
  async worker(): Promise<string | null> {
    return (await this.#meta())?.worker ?? null;
  }

  /** Returns the number of retries with `result_extended`, else null. */
  async retries(): Promise<number | null> {
    return (await this.#meta())?.retries ?? null;
  }

  /** Returns the queue of the task with `result_extended`, else null. */
  async queue(): Promise<string | null> {
    return (await this.#meta())?.queue ?? null;
  }

  /** Returns everything that is stored of the task, or null. */
  meta(): Promise<ResultMeta | null> {
    return this.#meta();
  }

  /** Returns the value so far, or null. Throws the task's error if it failed, unless `propagate` is false. */
  async maybeThrow(options: { propagate?: boolean } = {}): Promise<unknown> {
    const meta = await this.#meta();
    if (meta === null) return null;
    if (PROPAGATE_STATES.has(meta.state) && options.propagate !== false) throw errorOf(meta);
    return await this.info();
  }

  /**
   * The check for failed parents. It starts soon if there are few; thousands are not fetched unless the wait
   * takes long.
   */
  #waitCheck(): WaitCheck | undefined {
    if (this.parent === null) return undefined;
    const afterMs = Math.min(CHECK_MAX_MS, 50 + this.#unended().length / 2);
    return { afterMs, error: () => this.#checkParents() };
  }

  /**
   * Returns the error of the farthest failed parent, or null. Parents that are known to have succeeded are
   * not checked again.
   */
  async #checkParents(): Promise<Error | null> {
    const open = this.#unended();
    if (open.length === 0) return null;
    const backend = await this.app.openBackend();
    const metas = await backend.fetchMany(open);
    const failed = metas.find((meta) => meta !== null && PROPAGATE_STATES.has(meta.state));
    if (failed) return errorOf(failed);
    this.#openParents = open.filter((_, n) => !READY_STATES.has(metas[n]?.state ?? "PENDING"));
    return null;
  }

  /**
   * Returns the ids of tasks whose failure means that this result never comes, farthest first, since the
   * first error is reported.
   */
  #unended(): readonly string[] {
    if (this.#openParents !== null) return this.#openParents;
    const lists: (readonly string[])[] = [];
    for (let parent = this.parent; parent !== null; parent = parent.parent) lists.push(parent.leafIds());
    return this.#openParents = lists.reverse().flat();
  }

  /** Returns the task's id in an array. */
  leafIds(): readonly string[] {
    return [this.id];
  }

  /**
   * Walks this result and all results that it led to, breadth first: yields `[parent or null, result]`. A
   * group is followed by its members. Children are known only when a task has ended; for one that has not,
   * throws an Error named IncompleteStream, or with `intermediate` continues without its children.
   */
  async *iterdeps(
    options: { intermediate?: boolean } = {},
  ): AsyncGenerator<[CanvasResult | null, CanvasResult]> {
    const queue: [CanvasResult | null, CanvasResult][] = [[null, this]];
    for (let next = queue.shift(); next; next = queue.shift()) {
      yield next;
      const [, result] = next;
      for (const child of await childrenOf(result, options.intermediate ?? false)) {
        queue.push([result, child]);
      }
    }
  }

  /** Like `iterdeps`, but waits for each value as `get` does: yields `[result, value]`. */
  async *collect(
    options: GetOptions & { intermediate?: boolean } = {},
  ): AsyncGenerator<[CanvasResult, unknown]> {
    for await (const [, result] of this.iterdeps(options)) {
      yield [result, await result.get(options)];
    }
  }

  /** Returns each result with its children, as far as they are known. */
  async graph(): Promise<Map<CanvasResult, CanvasResult[]>> {
    const graph = new Map<CanvasResult, CanvasResult[]>();
    for await (const [parent, result] of this.iterdeps({ intermediate: true })) {
      graph.set(result, []);
      if (parent !== null) graph.get(parent)!.push(result);
    }
    return graph;
  }

  /** Deletes the stored results of this task and of its parents. Rejects with the store's error. */
  async forget(options: { hasEnded?: boolean } = {}): Promise<void> {
    const hasEnded = options.hasEnded === true || this.isKnownToEnd;
    this.#final = null;
    await this.parent?.forget({ hasEnded });
    await this.app.backend.forget(this.id);
  }

  /** True if this object has seen the task's final state. */
  get isKnownToEnd(): boolean {
    return this.#final !== null;
  }

  /**
   * Asks all workers to discard the task; with `terminate`, also to end it if it is running.
   *
   * @throws {UsageError} for an unknown option.
   */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    refuseUnknown(options, REVOKE_NAMES, "a result's revoke");
    await this.app.control.revoke(this.id, options);
  }

  /** Returns Celery's JSON form: `[[id, parent's form or null], null]`. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], null];
  }

  /** Same as `asTuple`, so that a result may be an argument or a value. */
  toJSON(): ResultTuple {
    return this.asTuple();
  }

  /** Returns the id. */
  toString(): string {
    return this.id;
  }

  /** Keeps a state that other code has read, if it is final. */
  adopt(meta: ResultMeta): void {
    if (READY_STATES.has(meta.state)) this.#final = meta;
  }

  async #meta(): Promise<ResultMeta | null> {
    if (this.#final !== null) return this.#final;
    const meta = await this.app.backend.getTaskMeta(this.id);
    if (meta !== null) this.adopt(meta);
    return meta;
  }

  /**
   * Returns true if the wait that began with the sending has received the final state: the usual case for a
   * caller that waits for each call.
   */
  #isReceived(options: GetOptions): boolean {
    options.signal?.throwIfAborted();
    const meta = this.app.backend.ahead.take(this.id);
    if (meta === null) return false;
    options.onMessage?.(meta);
    this.adopt(meta);
    return true;
  }

  async #wait(options: GetOptions): Promise<void> {
    await this.app.backend.watchUntil(
      [this.id],
      {
        timeoutSeconds: options.timeout,
        signal: options.signal,
        check: followsParents(options) ? this.#waitCheck() : undefined,
      },
      (meta) => {
        options.onMessage?.(meta);
        this.adopt(meta);
        return this.#final !== null;
      },
    );
  }
}

/** Returns true if a wait ends with the error of a parent. */
function followsParents({ propagate = true, followParents = true }: GetOptions): boolean {
  return propagate && followParents;
}

/** Returns the results that a result has led to. Source: celery 5.2.6 result.py AsyncResult.iterdeps. */
async function childrenOf(result: CanvasResult, isIntermediate: boolean): Promise<readonly CanvasResult[]> {
  if (!(result instanceof AsyncResult)) return (result as CanvasResult & { results: CanvasResult[] }).results;
  if (await result.ready()) return await result.children() ?? [];
  if (isIntermediate) return [];
  const error = new Error(`Task ${result.id} has not ended: its children are not known yet`);
  error.name = "IncompleteStream";
  throw error;
}

/** Splits Celery's JSON form of a result. Throws `UsageError` for another value. */
export function readTuple(tuple: unknown): { id: string; parent: unknown; members: unknown[] | null } {
  if (typeof tuple === "string") return { id: tuple, parent: null, members: null };
  const [head, members] = Array.isArray(tuple) ? tuple : [null, null];
  const [id, parent] = Array.isArray(head) ? head : [head, null];
  if (typeof id !== "string") {
    throw new UsageError(
      `Cannot read a result from ${shownJson(tuple)}: [[id, parent], members] is expected`,
    );
  }
  return { id, parent: parent ?? null, members: Array.isArray(members) ? members : null };
}
