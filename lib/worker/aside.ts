/**
 * What a task's end needs beside the data lane: results the worker makes itself (revoked, lost, timed out, unknown),
 * chord parts, a look into the result store, a message published again. Ordinary async code, counted and bounded.
 */

import { errorText } from "../base/mod.ts";
import type { AlsoFailed, FinishedPart, OutcomeChord } from "../app/mod.ts";
import type { Delivery } from "../transport/mod.ts";
import type { EncodedMessage } from "../wire/mod.ts";
import { TaskRevokedError } from "../wire/mod.ts";
import type { LaneParts } from "./lane_parts.ts";
import type { Request } from "./request.ts";
import type { WorkerApp, WorkerSupport } from "./worker_app.ts";

/** Pieces of work under way at most before fetching stops. */
const PENDING_MAX = 1000;
/** Chord members counted together at most: as long as one script may keep the store from others. */
const COUNTED_MAX = 200;

/** The control lane's part in a task's end. */
export class Aside {
  #app: WorkerApp;
  #support: WorkerSupport;
  #parts: LaneParts | null = null;
  #pending = new Set<Promise<void>>();
  /** Chord members that ended in this turn and what follows each; and how many are being counted. */
  #finished = new Map<FinishedPart, (() => void) | null>();
  #counting = 0;

  constructor(app: WorkerApp, support: WorkerSupport) {
    this.#app = app;
    this.#support = support;
  }

  /** Ties it to the lane it works beside; before its first use. */
  attach(parts: LaneParts): void {
    this.#parts = parts;
  }

  /** True while so much is under way that no new task should be fetched. */
  get isFull(): boolean {
    return this.pending >= PENDING_MAX;
  }

  /** How much is under way. */
  get pending(): number {
    return this.#pending.size + this.#finished.size + this.#counting;
  }

  /** Resolves when nothing is under way. */
  async drain(): Promise<void> {
    this.#countParts();
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /**
   * Ends a request in the parent: stores the document of its end, publishes errbacks, counts its chord part, and then
   * calls `settle` (the ack or rejection). `settle` is called whatever happens on the way.
   */
  fail(request: Request, error: Error, kind: "failure" | "revoked", settle: () => void): void {
    this.#begin(async () => {
      try {
        await this.#end(request.delivery.message, error, kind, request);
      } finally {
        settle();
        this.#wake();
      }
    }, request.human);
  }

  /** Ends a message that never became a request, so that who waits for its result hears of it. */
  failMessage(message: EncodedMessage, id: string, error: Error): void {
    this.#begin(() => this.#end(message, error, "failure", null), id);
  }

  /** Ends a request as revoked, expired or terminated: event, result, ack, chord part. */
  revoke(
    request: Request,
    how: { reason: "revoked" | "expired" | "terminated"; signum: number | null },
  ): void {
    const parts = this.#lane;
    request.isAnnounced = true;
    const fields = {
      terminated: how.reason === "terminated",
      signum: how.signum,
      expired: how.reason === "expired",
    };
    if (parts.events?.isEnabled && request.strategy.sendEvents) {
      parts.events.task("task-revoked", request, fields);
    }
    parts.signals.taskRevoked?.(request, fields);
    this.fail(request, new TaskRevokedError(how.reason), "revoked", () => parts.state.ack(request));
  }

  /** Counts a finished chord member, together with all of this turn; then calls `settle`. Data lane: per message. */
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
        await this.#support.completeChords(this.#lane.backend, parts, done);
      } finally {
        for (const part of [...settles.keys()]) done(part);
        this.#wake();
      }
    }, `the chord member ${parts[0]!.taskId}${others}`);
  };

  /** Ends the steps of a chain that will not run because one before them failed. */
  alsoFailed(also: readonly AlsoFailed[], request: Request): void {
    this.#begin(() => this.#endAlso(also, request.headers.rootId), request.human);
  }

  /** Asks the result store whether a redelivered task has succeeded before; what it then still owes is sent first. */
  deduplicate(request: Request, done: (request: Request, hasSucceeded: boolean) => void): void {
    this.#begin(async () => {
      let hasSucceeded = false;
      try {
        const { backend } = this.#lane;
        const meta = await backend.fetch(request.id);
        hasSucceeded = meta?.state === "SUCCESS";
        if (hasSucceeded) await this.#support.finishDoneBefore(backend, request.delivery.message, meta!);
      } finally {
        done(request, hasSucceeded);
      }
    }, request.human);
  }

  /** Publishes a message again that the broker has no record of, and that was not begun. */
  republish({ queue, message }: Delivery): void {
    const { task, id } = message.headers;
    this.#begin(
      () => this.#app.publisher.publish([{ exchange: "", routingKey: queue, message }]),
      `${task}[${id}]`,
    );
  }

  async #end(
    message: EncodedMessage,
    error: Error,
    kind: "failure" | "revoked",
    request: Request | null,
  ): Promise<void> {
    const end = await this.#support.failTask(message, error, kind);
    const id = request?.id ?? String(message.headers["id"] ?? message.properties.correlationId);
    const rootId = request?.headers.rootId ?? null;
    if (end.document !== null) await this.#store(id, end.state, end.document, message.properties.replyTo);
    if (end.chord !== null) await this.#count(id, rootId, end.state, end.chord);
    if (end.also !== null) await this.#endAlso(end.also, rootId);
  }

  async #endAlso(also: readonly AlsoFailed[], rootId: string | null): Promise<void> {
    for (const one of also) {
      if (one.document !== null) await this.#store(one.taskId, one.state, one.document, one.replyTo);
      if (one.chord !== null) await this.#count(one.taskId, rootId, one.state, one.chord);
    }
  }

  #count(taskId: string, rootId: string | null, state: string, chord: OutcomeChord): Promise<void> {
    return this.#support.completeChords(this.#lane.backend, [
      { taskId, rootId, state, chord, message: null },
    ]);
  }

  #store(
    taskId: string,
    state: string,
    document: string | Uint8Array,
    replyTo: string | null,
  ): Promise<void> {
    const { backend } = this.#lane;
    return new Promise((resolve, reject) => {
      backend.store({ taskId, state, document, guard: true, replyTo }, (failure) => {
        if (failure) reject(failure);
        else resolve();
      });
    });
  }

  // Errors are told here, once; nobody awaits the pieces but `drain`.
  #begin(work: () => Promise<void>, about: string): void {
    const running = work().catch((error: unknown) => {
      this.#lane.world.log.error(`Cannot complete the end of ${about}: ${errorText(error)}`);
    }).then(() => {
      this.#pending.delete(running);
    });
    this.#pending.add(running);
  }

  get #lane(): LaneParts {
    return this.#parts!;
  }

  #wake(): void {
    this.#parts?.state.consumer?.wake();
  }
}
