/**
 * The part of a task's end that is not on the data lane: results that the worker makes itself (revoked, lost,
 * timed out, unknown), chord parts, reads from the result store, messages published again. Ordinary async
 * code, counted and bounded.
 */

import { errorText, type World } from "../../base/mod.ts";
import type { AlsoFailed, EndedTask, FinishedPart, OutcomeChord } from "../../app/mod.ts";
import type { Delivery } from "../../transport/mod.ts";
import { carriedHeaders, type EncodedMessage, TaskRevokedError } from "../../wire/mod.ts";
import { type Backend, stored } from "../../backend/mod.ts";
import type { WorkerApp, WorkerSupport } from "../worker_app.ts";
import type { AfterEnd } from "./after_end.ts";
import type { TaskEventSink, WorkerSignals } from "./listeners.ts";
import type { Request } from "./request.ts";
import type { LaneState } from "./state.ts";

/** Pieces of work under way at most; beyond it fetching stops. */
const PENDING_MAX = 1000;
/** Chord members counted together at most: one script must not keep the store busy for longer. */
const COUNTED_MAX = 200;

/** Parts that the finalizer uses. */
export interface FinalizerParts {
  readonly world: World;
  readonly state: LaneState;
  readonly signals: WorkerSignals;
  readonly events: TaskEventSink;
  readonly backend: Backend;
  readonly afterEnd: AfterEnd;
}

/** Ends tasks outside the data lane. */
export class Finalizer {
  #parts: FinalizerParts;
  #app: WorkerApp;
  #support: WorkerSupport;
  #pending = new Set<Promise<void>>();
  /** Chord members that ended in this turn, with the callback of each; and the number being counted. */
  #finished = new Map<FinishedPart, (() => void) | null>();
  #counting = 0;

  constructor(parts: FinalizerParts, app: WorkerApp, support: WorkerSupport) {
    this.#parts = parts;
    this.#app = app;
    this.#support = support;
  }

  /** True if so much is under way that no new task should be fetched. */
  get isFull(): boolean {
    return this.pending >= PENDING_MAX;
  }

  /** Number of pieces of work under way. */
  get pending(): number {
    return this.#pending.size + this.#finished.size + this.#counting;
  }

  /** Resolves when nothing is under way. Never rejects. */
  async drain(): Promise<void> {
    this.#countParts();
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /**
   * Ends a request in the worker: publishes errbacks, stores the result, counts its chord part, has a slot
   * call the hooks, and then calls `settle` (which acknowledges or rejects), even if one of these failed.
   */
  fail(request: Request, error: Error, kind: "failure" | "revoked", settle: () => void): void {
    this.#begin(async () => {
      try {
        await this.#end(request.delivery.message, error, kind, request.id);
      } finally {
        settle();
        this.#wake();
      }
    }, request.human);
  }

  /** Ends a message that never became a request, so that a caller waiting for its result gets one. */
  failMessage(message: EncodedMessage, id: string, error: Error): void {
    this.#begin(() => this.#end(message, error, "failure", id), id);
  }

  /**
   * Does the same for a message just made a dead letter, after the broker has recorded that: reading it may
   * end this process.
   */
  failDeadLetter(message: EncodedMessage, id: string, error: Error): void {
    this.#begin(async () => {
      await this.#parts.state.consumer?.flush();
      await this.#end(message, error, "failure", id);
    }, id);
  }

  /** Ends a request as revoked, expired or terminated: event, result, ack, chord part. */
  revoke(
    request: Request,
    how: { reason: "revoked" | "expired" | "terminated"; signum: number | null },
  ): void {
    const { events, signals, state } = this.#parts;
    const fields = {
      terminated: how.reason === "terminated",
      signum: how.signum,
      expired: how.reason === "expired",
    };
    if (request.series !== null) request.series.revoked++;
    if (events.wants(request)) events.task("task-revoked", request, fields);
    signals.taskRevoked?.(request, fields);
    this.fail(request, new TaskRevokedError(how.reason), "revoked", () => state.ack(request));
  }

  /**
   * Counts a finished chord member, together with the others of this turn; then calls `settle`. Data lane:
   * per message.
   */
  chord(request: Request, state: string, chord: OutcomeChord, settle: (() => void) | null): void {
    const { message } = request.delivery;
    this.#finished.set({ taskId: request.id, rootId: request.headers.rootId, state, chord, message }, settle);
    if (this.#finished.size === 1) queueMicrotask(this.#countParts);
    else if (this.#finished.size === COUNTED_MAX) this.#countParts();
  }

  #countParts = (): void => {
    if (this.#finished.size === 0) return;
    const settles = this.#finished;
    this.#finished = new Map();
    this.#counting += settles.size;
    const done = (part: FinishedPart): void => {
      const settle = settles.get(part);
      if (!settles.delete(part)) return;
      this.#counting--;
      settle?.();
    };
    const parts = [...settles.keys()];
    const others = parts.length === 1 ? "" : ` and ${parts.length - 1} others`;
    this.#begin(async () => {
      try {
        await this.#support.completeChords(this.#parts.backend, parts, done);
      } finally {
        for (const part of [...settles.keys()]) done(part);
        this.#wake();
      }
    }, `the chord member ${parts[0]!.taskId}${others}`);
  };

  /** Ends the later steps of a chain, which will not run because a step before them failed. */
  alsoFailed(also: readonly AlsoFailed[], request: Request): void {
    this.#begin(() => this.#endAlso(also, request.headers.rootId), request.human);
  }

  /**
   * Asks the result store whether a redelivered task has already succeeded. If so, sends first what the
   * earlier run did not.
   */
  deduplicate(request: Request, done: (request: Request, hasSucceeded: boolean) => void): void {
    this.#begin(async () => {
      let hasSucceeded = false;
      try {
        const { backend } = this.#parts;
        const [meta] = await backend.fetchMany([request.id], true);
        hasSucceeded = meta?.state === "SUCCESS";
        if (hasSucceeded) await this.#support.finishDoneBefore(backend, request.delivery.message, meta!);
      } finally {
        done(request, hasSucceeded);
      }
    }, request.human);
  }

  /** Has a slot call the user's code that follows the end of a task. */
  callElsewhere(message: EncodedMessage, ended: EndedTask): void {
    this.#begin(() => this.#parts.afterEnd.call(message, ended), String(message.headers["id"]));
  }

  /** Publishes again a message that was not begun and that the broker no longer has. */
  republish(delivery: Delivery): void {
    const { queue } = delivery;
    const message = { ...delivery.message, headers: carriedHeaders(delivery.envelope) };
    const { task, id } = message.headers;
    this.#begin(
      () => this.#app.publisher.publish([{ exchange: "", routingKey: queue, message, isMandatory: true }]),
      `${task}[${id}]`,
    );
  }

  /** Runs a piece of work outside the lane, counted as under way; its error is logged. */
  begin(work: () => Promise<void>, about: string): void {
    this.#begin(work, about);
  }

  async #end(
    message: EncodedMessage,
    error: Error,
    kind: "failure" | "revoked",
    id: string,
  ): Promise<void> {
    const end = await this.#support.failTask(message, error, kind);
    const { rootId } = end;
    if (end.document !== null) await this.#store(id, end.state, end.document, message.properties.replyTo);
    if (end.chord !== null) await this.#count(id, rootId, end.state, end.chord);
    if (end.also !== null) await this.#endAlso(end.also, rootId);
    if (end.ended !== null) await this.#parts.afterEnd.call(message, end.ended);
  }

  async #endAlso(also: readonly AlsoFailed[], rootId: string | null): Promise<void> {
    for (const one of also) {
      if (one.document !== null) await this.#store(one.taskId, one.state, one.document, one.replyTo);
      if (one.chord !== null) await this.#count(one.taskId, rootId, one.state, one.chord);
    }
  }

  #count(taskId: string, rootId: string | null, state: string, chord: OutcomeChord): Promise<void> {
    return this.#support.completeChords(this.#parts.backend, [
      { taskId, rootId, state, chord, message: null },
    ]);
  }

  #store(
    taskId: string,
    state: string,
    document: string | Uint8Array,
    replyTo: string | null,
  ): Promise<void> {
    return stored(this.#parts.backend, { taskId, state, document, guard: true, replyTo });
  }

  // Errors are logged only here; only `drain` awaits the pieces.
  #begin(work: () => Promise<void>, about: string): void {
    const running = work().catch((error: unknown) => {
      this.#parts.world.log.error(`Cannot complete the end of ${about}: ${errorText(error)}`);
    }).then(() => {
      this.#pending.delete(running);
    });
    this.#pending.add(running);
  }

  #wake(): void {
    this.#parts.state.consumer?.wake();
  }
}
