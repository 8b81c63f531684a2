/**
 * The other half of the data lane: what the pool says of its jobs, turned into acks, results, log lines and events.
 *
 * Order, as Celery's: store → chord part → log → late ack → event. The late ack hangs on the store's own callback.
 *
 * Source: celery 5.2.6 worker/request.py Request.on_accepted … reject, app/trace.py; protocol.md 8.1, 8.2, 10.2.
 */

import { errorText } from "../base/mod.ts";
import type { Outcome } from "../app/mod.ts";
import type { Job } from "../pool/mod.ts";
import { encodeResultMeta, TimeLimitExceeded, WorkerLostError } from "../wire/mod.ts";
import type { Lane } from "./lane.ts";
import type { LaneParts } from "./lane_parts.ts";
import type { Request } from "./request.ts";
import { advance, RequestState } from "./request_states.ts";
import { SIGNUMS } from "./signums.ts";
import { pythonFloat } from "./texts.ts";

/** What becomes of a message after its outcome. */
type Settlement = "ack" | "drop" | "requeue";

/** Acceptance and settlement. */
export class Settler {
  #parts: LaneParts;
  #lane: Lane;
  #doesInfo = false;
  #sendsEvents = false;
  /** The slot whose outcomes are being settled. */
  #slot = { process: "MainProcess" };
  /** True from a cold shutdown on: what is cut off now goes back instead of failing. */
  isCold = false;
  /** Crashes seen here, by task id: the transport counts only deaths of whole workers. */
  #crashes = new Map<string, number>();

  constructor(parts: LaneParts, lane: Lane) {
    this.#parts = parts;
    this.#lane = lane;
  }

  /** A live slot has begun these jobs. Data lane: per batch. */
  onAccepted(jobs: readonly Job[], pid: number): void {
    const { state, world, events } = this.#parts;
    const now = world.clock.monoMs();
    const doesDebug = world.log.isOn("DEBUG");
    const sendsEvents = events !== null && events.isEnabled;
    for (let i = 0; i < jobs.length; i++) {
      const request = state.inPool.get(jobs[i]!.seq);
      if (request === undefined || request.state !== RequestState.submitted) continue;
      advance(request, RequestState.accepted);
      request.pid = pid;
      request.acceptedMonoMs = now;
      request.strategy.total++;
      state.processed++;
      if (!request.isLate) state.ack(request);
      else if (request.delivery.attempts > 0) state.begun(request);
      if (request.strategy.trackStarted && request.strategy.storesResults) this.#storeStarted(request);
      if (sendsEvents && request.strategy.sendEvents) events.task("task-started", request, {});
      if (doesDebug) world.log.debug(`Task accepted: ${request.human} pid:${pid}`);
      if (request.terminateSignal !== null) this.#parts.pool.terminate(request.seq, request.terminateSignal);
    }
    state.consumer?.wake();
  }

  /** A running task stored a state of its own. */
  onState(job: Job, name: string, document: string | Uint8Array): void {
    const request = this.#parts.state.inPool.get(job.seq);
    if (request === undefined) return;
    this.#store(request, name, document, null);
  }

  /** A running task sent an event. */
  onEvent(job: Job, type: string, fields: Record<string, unknown>): void {
    const { events, state } = this.#parts;
    const request = state.inPool.get(job.seq);
    if (request !== undefined && events !== null) events.custom(type, request, fields);
  }

  /** Jobs have ended, in the slot whose log lines bear the name `process`. Data lane: per batch. */
  onOutcomes(batch: readonly Outcome[], process: string): void {
    const { state, world, events, window } = this.#parts;
    this.#slot.process = process;
    this.#doesInfo = world.log.isOn("INFO");
    this.#sendsEvents = events !== null && events.isEnabled;
    let count = 0;
    let sumMs = 0;
    let longestMs = 0;
    // Backwards, so that several returned jobs stand at the head of the queue in their old order.
    for (let i = batch.length - 1; i >= 0; i--) {
      const outcome = batch[i]!;
      if (outcome.kind !== "returned") continue;
      const request = state.inPool.get(outcome.seq);
      if (request !== undefined) this.#returned(request);
    }
    for (let i = 0; i < batch.length; i++) {
      const outcome = batch[i]!;
      if (outcome.kind === "returned") continue;
      const request = state.inPool.get(outcome.seq);
      if (request === undefined) continue;
      const runtimeMs = outcome.runtime * 1000;
      request.strategy.observe(runtimeMs);
      count++;
      sumMs += runtimeMs;
      if (runtimeMs > longestMs) longestMs = runtimeMs;
      this.#end(request, outcome);
    }
    window.observe(count, sumMs, longestMs);
    this.#lane.dispatch();
    this.#lane.tellPrefetch();
    state.consumer?.wake();
  }

  /** Cuts off a running late-acked task whose connection is lost: its message is someone else's now. */
  cancel(request: Request): void {
    const { events, pool } = this.#parts;
    if (!pool.terminate(request.seq, "SIGTERM")) return;
    request.isAnnounced = true;
    if (events !== null && events.isEnabled && request.strategy.sendEvents) {
      events.task("task-cancelled", request, {});
    }
    if (request.strategy.storesResults) {
      this.#store(request, "RETRY", this.#document(request, "RETRY", CANCELLED), null);
    }
  }

  #end(request: Request, outcome: Outcome): void {
    this.#parts.state.inPool.delete(request.seq);
    advance(request, RequestState.done);
    if (request.isLeftover) this.#leftoverEnded(request);
    if (request.isAnnounced) {
      // Cancelled: a copy that comes is to run.
      this.#parts.state.orphans.forget(request);
      return;
    }
    if (this.isCold && (outcome.kind === "lost" || outcome.kind === "terminated")) {
      return this.#cutOff(request);
    }
    switch (outcome.kind) {
      case "success":
        return this.#succeeded(request, outcome);
      case "failure":
        return this.#failed(request, outcome);
      case "retry":
        return this.#retried(request, outcome);
      case "ignore":
        if (this.#doesInfo) this.#log("INFO", `Task ${request.human} ignored`);
        return this.#parts.state.ack(request);
      case "reject":
        return this.#rejected(request, outcome);
      case "lost":
        return this.#lost(request, outcome);
      case "timeout":
        return this.#timedOut(request);
      case "terminated":
        return this.#terminated(request);
    }
  }

  #leftoverEnded(request: Request): void {
    const { state, window, options, world } = this.#parts;
    request.isLeftover = false;
    if (--state.leftovers > 0 || !options.reducesWindow) return;
    world.log.info(
      `Resuming normal operations following a restart.\nPrefetch count has been restored to the maximum of ` +
        `${window.base}`,
    );
  }

  #succeeded(request: Request, outcome: Outcome): void {
    this.#keep(request, outcome, "ack");
    if (this.#doesInfo) {
      this.#log(
        "INFO",
        `Task ${request.human} succeeded in ${pythonFloat(outcome.runtime)}s: ${outcome.summary}`,
      );
    }
    if (this.#sendsEvents && request.strategy.sendEvents) {
      const fields = { result: outcome.summary, runtime: outcome.runtime };
      this.#parts.events!.task("task-succeeded", request, fields);
    }
  }

  #failed(request: Request, outcome: Outcome): void {
    this.#parts.state.failed++;
    this.#keep(request, outcome, request.strategy.acksOnFailure ? "ack" : "drop");
    if (outcome.also) this.#parts.aside.alsoFailed(outcome.also, request);
    const how = outcome.expected ? "raised expected" : "raised unexpected";
    if (!outcome.expected || this.#doesInfo) {
      const traceback = outcome.traceback ? `\n${outcome.traceback.trimEnd()}` : "";
      this.#log(
        outcome.expected ? "INFO" : "ERROR",
        `Task ${request.human} ${how}: ${outcome.summary}${outcome.expected ? "" : traceback}`,
      );
    }
    this.#failedEvent(request, "task-failed", outcome);
  }

  #retried(request: Request, outcome: Outcome): void {
    this.#keep(request, outcome, "ack");
    if (this.#doesInfo) this.#log("INFO", `Task ${request.human} retry: ${outcome.summary}`);
    this.#failedEvent(request, "task-retried", outcome);
  }

  #rejected(request: Request, outcome: Outcome): void {
    const { state, world } = this.#parts;
    const requeue = outcome.requeue ? "True" : "False";
    if (world.log.isOn("WARNING")) {
      const reason = outcome.summary.replace(/^reject requeue=(True|False): /, "");
      this.#log("WARNING", `Task ${request.human} reject requeue=${requeue}: ${reason}`);
    }
    // An early-acked message is gone already; Celery sends no event then.
    if (request.isSettled) return;
    state.reject(request, outcome.requeue ? "requeue" : "drop");
    if (this.#sendsEvents && request.strategy.sendEvents) {
      this.#parts.events!.task("task-rejected", request, { requeue: outcome.requeue });
    }
  }

  #lost(request: Request, outcome: Outcome): void {
    if (request.terminateSignal !== null) return this.#terminated(request);
    const text = /^WorkerLostError\('(.*)',?\)$/s.exec(outcome.summary)?.[1] ?? outcome.summary;
    this.#log("ERROR", `Task handler raised error: WorkerLostError('${text}')`);
    this.#parts.state.failed++;
    if (request.isLate && request.strategy.rejectOnWorkerLost) {
      if (!this.#isWorn(request)) {
        this.#parts.state.reject(request, "requeue");
        return;
      }
      this.#log(
        "ERROR",
        `Task ${request.human} has lost its process too often: it is kept in the dead letters`,
      );
      const bury = (): void => this.#parts.state.bury(request, text);
      this.#parts.aside.fail(request, new WorkerLostError(text), "failure", bury);
    } else {
      this.#failHere(request, new WorkerLostError(text), request.strategy.acksOnFailure ? "ack" : "drop");
    }
    if (this.#sendsEvents && request.strategy.sendEvents) {
      const fields = { exception: `WorkerLostError('${text}')`, traceback: null };
      this.#parts.events!.task("task-failed", request, fields);
    }
  }

  #timedOut(request: Request): void {
    const limit = String(request.timeLimit ?? 0);
    this.#log("ERROR", `Hard time limit (${limit}s) exceeded for ${request.human}`);
    this.#log("ERROR", `Task handler raised error: TimeLimitExceeded(${limit})`);
    this.#parts.state.failed++;
    const error = new TimeLimitExceeded(request.timeLimit ?? 0);
    this.#failHere(request, error, request.strategy.acksOnTimeout ? "ack" : "requeue");
    if (this.#sendsEvents && request.strategy.sendEvents) {
      const fields = { exception: `TimeLimitExceeded(${limit})`, traceback: null };
      this.#parts.events!.task("task-failed", request, fields);
    }
  }

  #terminated(request: Request): void {
    const signum = SIGNUMS[request.terminateSignal ?? "SIGTERM"] ?? null;
    this.#parts.aside.revoke(request, { reason: "terminated", signum });
  }

  #failHere(request: Request, error: Error, settlement: Settlement): void {
    this.#parts.aside.fail(request, error, "failure", () => this.#settle(request, settlement));
  }

  /** A cold shutdown has ended it: a late-acked message goes back, an early-acked task is stored as RETRY. */
  #cutOff(request: Request): void {
    const { state, events } = this.#parts;
    if (!request.isSettled) {
      if (state.reject(request, "restore")) state.restored++;
      return;
    }
    if (events !== null && events.isEnabled && request.strategy.sendEvents) {
      events.task("task-cancelled", request, {});
    }
    if (!request.strategy.storesResults) return;
    this.#store(request, "RETRY", this.#document(request, "RETRY", CANCELLED), null);
  }

  #returned(request: Request): void {
    const { state } = this.#parts;
    if (request.isLeftover) this.#leftoverEnded(request);
    if (!request.isSettled && request.epoch !== state.epoch) {
      // Its connection is lost: the broker gives the message to someone again.
      state.inPool.delete(request.seq);
      state.orphans.forget(request);
      advance(request, RequestState.done);
      return;
    }
    this.#lane.onReturned(request);
  }

  // A message that kills its process each time must not go round for ever. Deaths of processes under a worker that
  // lives are counted here, per worker; the transport counts deaths of workers.
  #isWorn(request: Request): boolean {
    const count = (this.#crashes.get(request.id) ?? 0) + 1;
    this.#crashes.delete(request.id);
    this.#crashes.set(request.id, count);
    if (this.#crashes.size > CRASHES_MAX) {
      for (const oldest of this.#crashes.keys()) {
        this.#crashes.delete(oldest);
        break;
      }
    }
    return count + request.delivery.attempts >= this.#parts.options.attemptsMax;
  }

  /** Stores an outcome's document, counts its chord part, and settles the message where that comes late. */
  #keep(request: Request, outcome: Outcome, settlement: Settlement): void {
    const { chord, state: name, document } = outcome;
    const isOpen = !request.isSettled;
    if (chord !== null) return this.#keepChord(request, outcome, settlement);
    if (name === null || document === null) {
      if (isOpen) this.#settle(request, settlement);
      return;
    }
    if (!isOpen) return this.#store(request, name, document, null);
    this.#store(request, name, document, (error) => {
      if (error) this.#storeFailed(error);
      this.#settle(request, settlement);
      this.#parts.state.consumer?.wake();
    });
  }

  // The part is counted only once the result is there, since who completes the chord may read it.
  #keepChord(request: Request, outcome: Outcome, settlement: Settlement): void {
    const { chord, state: name, document } = outcome;
    const after = request.isSettled ? null : (): void => this.#settle(request, settlement);
    const count = (): void => this.#parts.aside.chord(request, name ?? kindState(outcome), chord!, after);
    if (name === null || document === null) return count();
    this.#store(request, name, document, (error) => {
      if (error) this.#storeFailed(error);
      count();
    });
  }

  #settle(request: Request, settlement: Settlement): void {
    if (settlement === "ack") this.#parts.state.ack(request);
    else this.#parts.state.reject(request, settlement);
  }

  #store(
    request: Request,
    name: string,
    document: string | Uint8Array,
    done: ((error: Error | null) => void) | null,
  ): void {
    this.#parts.backend.store({
      taskId: request.id,
      state: name,
      document,
      // Another worker may have ended the next attempt by now.
      guard: request.isGuarded || name === "RETRY",
      replyTo: request.replyTo,
    }, done ?? this.#stored);
  }

  // One function for all early-acked results.
  #stored = (error: Error | null): void => {
    if (error) this.#storeFailed(error);
  };

  #storeFailed(error: Error): void {
    this.#parts.world.log.error(`Cannot store a result: ${errorText(error)}`);
  }

  #storeStarted(request: Request): void {
    const result = { pid: request.pid, hostname: this.#parts.options.hostname };
    this.#store(request, "STARTED", this.#document(request, "STARTED", result), null);
  }

  #document(request: Request, state: string, result: unknown): string | Uint8Array {
    return encodeResultMeta({
      taskId: request.id,
      state,
      result,
      traceback: null,
      children: [],
      dateDone: null,
      groupId: request.headers.group,
      parentId: request.headers.parentId,
    }, this.#parts.options.resultSerializer);
  }

  #failedEvent(request: Request, type: string, outcome: Outcome): void {
    if (!this.#sendsEvents || !request.strategy.sendEvents) return;
    // A retry without a cause: Python prints its None.
    const fields = { exception: outcome.exception ?? "None", traceback: outcome.traceback };
    this.#parts.events!.task(type, request, fields);
  }

  #log(level: "INFO" | "WARNING" | "ERROR", text: string): void {
    this.#parts.world.log.emit(level, text, this.#slot);
  }
}

/** Ids whose crashes are counted at most. */
const CRASHES_MAX = 10_000;

/** The exception of a task that a cold shutdown cut off. Source: celery 5.6.3, protocol.md 10.8. */
const CANCELLED = {
  excType: "Retry",
  excModule: "celery.exceptions",
  args: ["Retry(Retry(...), None, None)", null, null],
};

function kindState(outcome: Outcome): string {
  return outcome.kind === "success" ? "SUCCESS" : "FAILURE";
}
