/**
 * The result of one task: asked for by id, waited for by one shared subscription.
 *
 * Nothing here is thenable: `await result` is the result itself, `await result.get()` its value.
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
import type { AppCore, Look, RevokeOptions, UserApp } from "../core.ts";
import { LOOK_MAX_MS } from "./app_backend.ts";
import { currentTask } from "../call/current_task.ts";

/** How to wait. */
export interface GetOptions {
  /** Seconds; null: for ever. */
  timeout?: number | null;
  /** False: an error is returned, not thrown. Default true. */
  propagate?: boolean;
  /** Hears of every change of state on the way (PROGRESS …). */
  onMessage?: (meta: ResultMeta) => void;
  /** False: parents that fail are not looked at. Default true. */
  followParents?: boolean;
  /** False: allows waiting inside a task, where a full pool waits for itself. Default true. */
  disableSyncSubtasks?: boolean;
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

/** Refuses to wait inside a task. Source: celery 5.2.6 result.py assert_will_not_block. */
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
      "pass { disableSyncSubtasks: false } where it has room for both",
  );
  error.name = "RuntimeError";
  throw error;
}

/** The error of a stored state that carries one. */
export function errorOf(meta: ResultMeta): Error {
  return fromWireException(meta.result as WireException, meta.traceback);
}

/** The canvas says what is sent, and this what that resolves to. */
declare module "../../canvas/sender.ts" {
  interface SentResult<R> extends AsyncResult<R> {}
}

/** The result of a task. `R` is its value. Making one costs nothing and asks nobody. */
export class AsyncResult<R = unknown> implements CanvasResult {
  readonly id: string;
  readonly app: UserApp;
  /** What it was sent by, in a chain: the step before. */
  parent: CanvasResult | null;
  /** True: no result will ever be stored; `get` gives null at once. */
  ignored: boolean;
  readonly #name: string | null;
  /** A final state, kept: it does not change any more. */
  #final: ResultMeta | null = null;
  /** Parents not known to have ended; null: not looked at yet. */
  #openParents: readonly string[] | null = null;

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

  /** As `id`. */
  get taskId(): string {
    return this.id;
  }

  /**
   * Waits for the value. Rejects with the task's own error (`propagate`), with that of a parent that failed, with
   * `TimeoutError`, or with an `OperatingError` where there is no result store or it is lost. Parents, which may be
   * thousands, are not subscribed to: they are looked at now and then, every second in the end, and when the
   * result itself is a failure, as it becomes by theirs.
   */
  async get(options: GetOptions = {}): Promise<R> {
    if (this.ignored) return null as R;
    refuseToBlock(options);
    if (this.#final === null && !this.#isTold(options)) await this.#wait(options);
    const meta = this.#final!;
    if (!EXCEPTION_STATES.has(meta.state)) return meta.result as R;
    if (options.propagate === false) return errorOf(meta) as R;
    // What failed first is what the caller is to hear of: of a chord's body, its member's error.
    throw (followsParents(options) && await this.#lookAtParents().catch(() => null)) || errorOf(meta);
  }

  /** As `get`. */
  wait(options: GetOptions = {}): Promise<R> {
    return this.get(options);
  }

  /**
   * PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED or a state of the task's own. Unknown ids are
   * PENDING.
   */
  async state(): Promise<string> {
    return (await this.#meta())?.state ?? "PENDING";
  }

  /** As `state`. */
  status(): Promise<string> {
    return this.state();
  }

  /** The value, the error of a failure, or what `updateState` said; null while there is nothing. */
  async info(): Promise<unknown> {
    const meta = await this.#meta();
    if (meta === null) return null;
    return EXCEPTION_STATES.has(meta.state) ? errorOf(meta) : meta.result;
  }

  /** As `info`. */
  result(): Promise<unknown> {
    return this.info();
  }

  /**
   * True if the store has anything of it, which is asked each time. False for a task that was never sent, waits without
   * having begun, or whose result has expired or was forgotten: `state` calls all of these PENDING.
   * Source: celery main (5.7) result.py AsyncResult.exists.
   */
  async exists(): Promise<boolean> {
    return await this.app.backend.getTaskMeta(this.id) !== null;
  }

  /** True if it has ended, well or not. */
  async ready(): Promise<boolean> {
    return READY_STATES.has(await this.state());
  }

  async successful(): Promise<boolean> {
    return await this.state() === "SUCCESS";
  }

  async failed(): Promise<boolean> {
    return await this.state() === "FAILURE";
  }

  /** The remote traceback, as text. */
  async traceback(): Promise<string | null> {
    return (await this.#meta())?.traceback ?? null;
  }

  /** What the task sent: results of tasks and groups; null if nothing is known. */
  async children(): Promise<(SentResult | SentGroup)[] | null> {
    const children = (await this.#meta())?.children ?? null;
    return children === null ? null : children.map((tuple) => this.app.resultFromTuple(tuple));
  }

  /** When it ended, ISO 8601 text. */
  async dateDone(): Promise<string | null> {
    return (await this.#meta())?.dateDone ?? null;
  }

  /** The task's name: of the call, or with `result_extended` as stored. */
  async name(): Promise<string | null> {
    return this.#name ?? (await this.#meta())?.name ?? null;
  }

  /** With `result_extended`: the arguments. */
  async args(): Promise<unknown[] | null> {
    return (await this.#meta())?.args ?? null;
  }

  /** With `result_extended`. */
  async kwargs(): Promise<Record<string, unknown> | null> {
    return (await this.#meta())?.kwargs ?? null;
  }

  /** With `result_extended`: the node that ran it. */
  async worker(): Promise<string | null> {
    return (await this.#meta())?.worker ?? null;
  }

  /** With `result_extended`. */
  async retries(): Promise<number | null> {
    return (await this.#meta())?.retries ?? null;
  }

  /** With `result_extended`. */
  async queue(): Promise<string | null> {
    return (await this.#meta())?.queue ?? null;
  }

  /** Everything stored of it. */
  meta(): Promise<ResultMeta | null> {
    return this.#meta();
  }

  /** Throws the error of a failure, of its own or of a parent; else the value so far. */
  async maybeThrow(options: { propagate?: boolean } = {}): Promise<unknown> {
    const meta = await this.#meta();
    if (meta === null) return null;
    if (PROPAGATE_STATES.has(meta.state) && options.propagate !== false) throw errorOf(meta);
    return await this.info();
  }

  /** Soon where parents are few; thousands are not asked for before they may be of interest. */
  #look(): Look | undefined {
    if (this.parent === null) return undefined;
    const afterMs = Math.min(LOOK_MAX_MS, 50 + this.#unended().length / 2);
    return { afterMs, error: () => this.#lookAtParents() };
  }

  /** The error of the farthest parent that failed, or null. Those known to have ended well are not asked again. */
  async #lookAtParents(): Promise<Error | null> {
    const open = this.#unended();
    if (open.length === 0) return null;
    const backend = await this.app.openBackend();
    const metas = await backend.fetchMany(open);
    const failed = metas.find((meta) => meta !== null && PROPAGATE_STATES.has(meta.state));
    if (failed) return errorOf(failed);
    this.#openParents = open.filter((_, n) => !READY_STATES.has(metas[n]?.state ?? "PENDING"));
    return null;
  }

  /** The ids whose failure means that this one never comes, farthest first: the first error is the one to tell. */
  #unended(): readonly string[] {
    if (this.#openParents !== null) return this.#openParents;
    const lists: (readonly string[])[] = [];
    for (let parent = this.parent; parent !== null; parent = parent.parent) lists.push(parent.leafIds());
    return this.#openParents = lists.reverse().flat();
  }

  leafIds(): readonly string[] {
    return [this.id];
  }

  /**
   * Walks this and all it led to, breadth first: `[parent or null, result]`; groups are followed by their members.
   * Children are known when a task has ended: where one has not, throws an Error named IncompleteStream, or with
   * `intermediate` goes on without its children.
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

  /** As `iterdeps`, with the value of each, waited for as `get` does: `[result, value]`. */
  async *collect(
    options: GetOptions & { intermediate?: boolean } = {},
  ): AsyncGenerator<[CanvasResult, unknown]> {
    for await (const [, result] of this.iterdeps(options)) {
      yield [result, await result.get(options)];
    }
  }

  /** What led to what, as far as it is known: each result with its children. */
  async graph(): Promise<Map<CanvasResult, CanvasResult[]>> {
    const graph = new Map<CanvasResult, CanvasResult[]>();
    for await (const [parent, result] of this.iterdeps({ intermediate: true })) {
      graph.set(result, []);
      if (parent !== null) graph.get(parent)!.push(result);
    }
    return graph;
  }

  /** Deletes what is stored of it and of its parents. */
  async forget(options: { hasEnded?: boolean } = {}): Promise<void> {
    const hasEnded = options.hasEnded === true || this.isKnownToEnd;
    this.#final = null;
    await this.parent?.forget({ hasEnded });
    await this.app.backend.forget(this.id);
  }

  /** True if its end has been seen here. */
  get isKnownToEnd(): boolean {
    return this.#final !== null;
  }

  /** Asks all workers to discard it; with `terminate`, also to end it if it is running. */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    refuseUnknown(options, REVOKE_NAMES, "a result's revoke");
    await this.app.control.revoke(this.id, options);
  }

  /** Celery's JSON form: `[[id, parent's form or null], null]`. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], null];
  }

  /** As `asTuple`, so that a result may be an argument or a value. */
  toJSON(): ResultTuple {
    return this.asTuple();
  }

  toString(): string {
    return this.id;
  }

  /** Keeps a state that someone else has seen, where it is final. */
  adopt(meta: ResultMeta): void {
    if (READY_STATES.has(meta.state)) this.#final = meta;
  }

  async #meta(): Promise<ResultMeta | null> {
    if (this.#final !== null) return this.#final;
    const meta = await this.app.backend.getTaskMeta(this.id);
    if (meta !== null) this.adopt(meta);
    return meta;
  }

  /** Whether its end is known from the wait that began when it was sent: the usual case if calls follow one another. */
  #isTold(options: GetOptions): boolean {
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
        look: followsParents(options) ? this.#look() : undefined,
      },
      (meta) => {
        options.onMessage?.(meta);
        this.adopt(meta);
        return this.#final !== null;
      },
    );
  }
}

/** Whether a wait ends with the error of a parent. */
function followsParents({ propagate = true, followParents = true }: GetOptions): boolean {
  return propagate && followParents;
}

/** What a result has led to. Source: celery 5.2.6 result.py AsyncResult.iterdeps. */
async function childrenOf(result: CanvasResult, isIntermediate: boolean): Promise<readonly CanvasResult[]> {
  if (!(result instanceof AsyncResult)) return (result as CanvasResult & { results: CanvasResult[] }).results;
  if (await result.ready()) return await result.children() ?? [];
  if (isIntermediate) return [];
  const error = new Error(`Task ${result.id} has not ended: what it led to is not known yet`);
  error.name = "IncompleteStream";
  throw error;
}

/** The parts of Celery's JSON form of a result. Throws `UsageError` if it is not one. */
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
