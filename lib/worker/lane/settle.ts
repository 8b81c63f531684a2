/**
 * The second half of the data lane: turns the pool's reports on its jobs into acknowledgements, results, log
 * lines and events.
 *
 * The order is Celery's: store → chord part → log → late acknowledgement → event. The late acknowledgement is
 * sent by the store's callback.
 *
 * Source: celery 5.2.6 worker/request.py Request.on_accepted … reject, app/trace.py; protocol.md 8.1, 8.2,
 * 10.2.
 */

import { errorText, forgetOldest, type LogError, MAIN_PROCESS } from "../../base/mod.ts";
import type { Outcome } from "../../app/mod.ts";
import type { Job, PoolEvents } from "../../pool/mod.ts";
import { encodeResultMeta, pythonFloat, TimeLimitExceeded, WorkerLostError } from "../../wire/mod.ts";
import type { Lane } from "./lane.ts";
import type { LaneParts } from "./parts.ts";
import type { Request } from "./request.ts";
import { advance, RequestState } from "./request_states.ts";
import { SIGNUMS } from "../signums.ts";

/** How a message is settled after its outcome; "done": acknowledged, and recorded as succeeded. */
type Settlement = "ack" | "done" | "drop" | "requeue";

/** Handles acceptance and outcomes of jobs. */
export class Settler implements PoolEvents {
  #parts: LaneParts;
  #lane: Lane;
  #logsInfo = false;
  /** Context of log lines: the slot whose outcomes are being settled, and the request. */
  #slot = {
    process: MAIN_PROCESS as string,
    /** 0: the worker's own process. */
    pid: 0,
    logger: LOGGER,
    about: null as Request | null,
    error: null as LogError | null,
  };
  /** True from the start of a cold shutdown: tasks that are cut off go back instead of failing. */
  isCold = false;
  /**
   * Lost processes and hard time limits seen here, by task id. The transport counts only deaths of whole
   * workers.
   */
  #crashes = new Map<string, number>();

  constructor(parts: LaneParts, lane: Lane) {
    this.#parts = parts;
    this.#lane = lane;
  }

  /** Handles the start of jobs in a live slot. Data lane: per batch. */
  onAccepted(jobs: readonly Job[], pid: number): void {
    const { state, world, events } = this.#parts;
    const now = world.clock.monoMs();
    const logsDebug = world.log.isOn("DEBUG");
    for (let i = 0; i < jobs.length; i++) {
      const request = state.inPool.get(jobs[i]!.seq);
      if (request === undefined || request.state !== RequestState.submitted) continue;
      advance(request, RequestState.accepted);
      request.pid = pid;
      request.acceptedMonoMs = now;
      request.strategy.total++;
      if (request.series !== null) request.series.started++;
      state.processed++;
      if (!request.isLate) state.ack(request);
      else if (request.delivery.attempts > 0) state.begun(request);
      if (request.strategy.trackStarted && request.storesStates) this.#storeStarted(request);
      if (events.wants(request)) events.task("task-started", request, {});
      if (logsDebug) world.log.debug(`Task accepted: ${request.human} pid:${pid}`);
      if (request.terminateSignal !== null) this.#parts.pool.terminate(request.seq, request.terminateSignal);
    }
    state.consumer?.wake();
  }

  onState(job: Job, name: string, document: string | Uint8Array): void {
    const request = this.#parts.state.inPool.get(job.seq);
    if (request === undefined) return;
    this.#store(request, name, document, null);
  }

  onEvent(job: Job, type: string, fields: Record<string, unknown>): void {
    const { events, state } = this.#parts;
    const request = state.inPool.get(job.seq);
    if (request !== undefined) events.custom(type, request, fields);
  }

  /** Handles ended jobs. `process` is the slot's name in log lines. Data lane: per batch. */
  onOutcomes(batch: readonly Outcome[], process: string): void {
    const { state, world, window } = this.#parts;
    this.#slot.process = process;
    this.#logsInfo = world.log.isOn("INFO");
    let count = 0;
    let sumMs = 0;
    let longestMs = 0;
    // Backwards, so that several returned jobs stand at the head of the ready queue in their old order.
    for (let i = batch.length - 1; i >= 0; i--) {
      const outcome = batch[i]!;
      if (outcome.kind !== "returned") continue;
      const request = state.inPool.get(outcome.seq);
      if (request === undefined) this.#parts.afterEnd.settle(outcome);
      else this.#returned(request);
    }
    for (let i = 0; i < batch.length; i++) {
      const outcome = batch[i]!;
      if (outcome.kind === "returned") continue;
      const request = state.inPool.get(outcome.seq);
      if (request === undefined) {
        this.#parts.afterEnd.settle(outcome);
        continue;
      }
      const runtimeMs = outcome.runtime * 1000;
      request.strategy.observe(runtimeMs);
      count++;
      sumMs += runtimeMs;
      if (runtimeMs > longestMs) longestMs = runtimeMs;
      this.#end(request, outcome);
    }
    window.observe(count, sumMs, longestMs);
    this.#lane.dispatch();
    this.#lane.sendPrefetch();
    state.consumer?.wake();
  }

  onFree(): void {
    this.#lane.dispatch();
  }

  onSlot(change: "started" | "ended", slot: { name: string; pid: number; reason: string | null }): void {
    if (change !== "ended" || slot.reason === null || this.#parts.stopRequest.mode !== null) return;
    this.#parts.state.slotsLost++;
    this.#parts.world.log.error(`Process '${slot.name}' pid:${slot.pid} exited with '${slot.reason}'`);
  }

  /**
   * Terminates a running late-acknowledged task whose connection is lost, since its message is delivered
   * again.
   */
  cancel(request: Request): void {
    const { events, pool } = this.#parts;
    if (!pool.terminate(request.seq, "SIGTERM")) return;
    advance(request, RequestState.cancelled);
    if (events.wants(request)) events.task("task-cancelled", request, {});
    if (request.storesStates) {
      this.#store(request, "RETRY", this.#document(request, "RETRY", CANCELLED), null);
    }
  }

  #end(request: Request, outcome: Outcome): void {
    const isCancelled = request.state === RequestState.cancelled;
    this.#parts.state.inPool.delete(request.seq);
    advance(request, RequestState.done);
    if (request.isLeftover) this.#leftoverEnded(request);
    this.#slot.about = request;
    this.#slot.pid = this.#slot.process === MAIN_PROCESS ? 0 : request.pid;
    if (isCancelled) {
      // The copy of a cancelled request must run.
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
        if (this.#logsInfo) this.#log("INFO", `Task ${request.human} ignored`);
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
    this.#storeOutcome(request, outcome, "done");
    if (this.#logsInfo) {
      this.#log(
        "INFO",
        `Task ${request.human} succeeded in ${pythonFloat(outcome.runtime)}s: ${outcome.summary}`,
      );
    }
    const { series } = request;
    if (series !== null) {
      series.succeeded++;
      series.runtime.observe(outcome.runtime);
    }
    const { events } = this.#parts;
    if (!events.wants(request)) return;
    events.task("task-succeeded", request, { result: outcome.summary, runtime: outcome.runtime });
  }

  #failed(request: Request, outcome: Outcome): void {
    this.#parts.state.failed++;
    this.#parts.failures?.add(request, outcome.summary);
    this.#storeOutcome(request, outcome, request.strategy.acksOnFailure ? "ack" : "drop");
    if (outcome.also) this.#parts.finalizer.alsoFailed(outcome.also, request);
    const how = outcome.expected ? "raised expected" : "raised unexpected";
    if (!outcome.expected || this.#logsInfo) {
      this.#slot.error = errorOf(outcome);
      this.#log(outcome.expected ? "INFO" : "ERROR", `Task ${request.human} ${how}: ${outcome.summary}`);
      this.#slot.error = null;
    }
    this.#failedEvent(request, "task-failed", outcome.exception, outcome.traceback);
  }

  #retried(request: Request, outcome: Outcome): void {
    this.#storeOutcome(request, outcome, "ack");
    if (this.#logsInfo) this.#log("INFO", `Task ${request.human} retry: ${outcome.summary}`);
    if (request.series !== null) request.series.retried++;
    this.#failedEvent(request, "task-retried", outcome.exception, outcome.traceback);
  }

  #rejected(request: Request, outcome: Outcome): void {
    const { events, state, world } = this.#parts;
    const requeue = outcome.requeue ? "True" : "False";
    if (world.log.isOn("WARNING")) {
      const reason = outcome.summary.replace(/^reject requeue=(True|False): /, "");
      this.#log("WARNING", `Task ${request.human} reject requeue=${requeue}: ${reason}`);
    }
    const isOpen = !request.isSettled;
    if (outcome.requeue) {
      if (isOpen) state.reject(request, "requeue");
    } else {
      // The task will not run again, so it counts as failed.
      state.failed++;
      this.#parts.failures?.add(request, outcome.exception);
      this.#storeOutcome(request, outcome, "drop");
      if (outcome.also) this.#parts.finalizer.alsoFailed(outcome.also, request);
      this.#failedEvent(request, "task-failed", outcome.exception, outcome.traceback);
    }
    // Celery sends no such event if the message was acknowledged early.
    if (!isOpen) return;
    if (request.series !== null) request.series.rejected++;
    if (events.wants(request)) {
      events.task("task-rejected", request, { requeue: outcome.requeue });
    }
  }

  #lost(request: Request, outcome: Outcome): void {
    if (request.terminateSignal !== null) return this.#terminated(request);
    const text = /^WorkerLostError\('(.*)',?\)$/s.exec(outcome.summary)?.[1] ?? outcome.summary;
    this.#log("ERROR", `Task handler raised error: WorkerLostError('${text}')`);
    this.#parts.state.failed++;
    if (request.isLate && request.strategy.rejectOnWorkerLost) {
      if (!this.#isExhausted(request)) {
        this.#parts.state.reject(request, "requeue");
        return;
      }
      this.#deadLetter(request, new WorkerLostError(text), {
        why: "has lost its process too often",
        reason: text,
      });
    } else {
      this.#parts.failures?.add(request, `WorkerLostError('${text}')`);
      this.#failHere(request, new WorkerLostError(text), request.strategy.acksOnFailure ? "ack" : "drop");
    }
    this.#failedEvent(request, "task-failed", `WorkerLostError('${text}')`, null);
  }

  #timedOut(request: Request): void {
    const limit = String(request.timeLimit ?? 0);
    this.#log("ERROR", `Hard time limit (${limit}s) exceeded for ${request.human}`);
    this.#log("ERROR", `Task handler raised error: TimeLimitExceeded(${limit})`);
    this.#parts.state.failed++;
    const error = new TimeLimitExceeded(request.timeLimit ?? 0);
    if (request.strategy.acksOnTimeout) this.#parts.failures?.add(request, `TimeLimitExceeded(${limit})`);
    if (request.strategy.acksOnTimeout || request.isSettled) this.#failHere(request, error, "ack");
    else if (!this.#isExhausted(request)) this.#failHere(request, error, "requeue");
    else {
      const reason = `Hard time limit (${limit}s) exceeded`;
      this.#deadLetter(request, error, { why: "has exceeded its time limit too often", reason });
    }
    this.#failedEvent(request, "task-failed", `TimeLimitExceeded(${limit})`, null);
  }

  #terminated(request: Request): void {
    const signum = SIGNUMS[request.terminateSignal ?? "SIGTERM"] ?? null;
    this.#parts.finalizer.revoke(request, { reason: "terminated", signum });
  }

  /** Fails a task after its last attempt, and makes its message a dead letter. */
  #deadLetter(request: Request, error: Error, given: { why: string; reason: string }): void {
    this.#log("ERROR", `Task ${request.human} ${given.why}: it is kept in the dead letters`);
    const settle = (): void => this.#parts.state.deadLetter(request, given.reason);
    this.#parts.finalizer.fail(request, error, "failure", settle);
  }

  #failHere(request: Request, error: Error, settlement: Settlement): void {
    this.#parts.finalizer.fail(request, error, "failure", () => this.#settle(request, settlement));
  }

  /**
   * Handles a task that a cold shutdown ended: a late-acknowledged message goes back, an early-acknowledged
   * task is stored as RETRY.
   */
  #cutOff(request: Request): void {
    const { state, events } = this.#parts;
    if (!request.isSettled) {
      if (state.reject(request, "restore")) state.restored++;
      return;
    }
    if (events.wants(request)) events.task("task-cancelled", request, {});
    if (!request.storesStates) return;
    this.#store(request, "RETRY", this.#document(request, "RETRY", CANCELLED), null);
  }

  #returned(request: Request): void {
    const { state } = this.#parts;
    if (request.isLeftover) this.#leftoverEnded(request);
    if (!request.isSettled && request.epoch !== state.epoch) {
      // Its connection is lost: the broker delivers the message again.
      state.inPool.delete(request.seq);
      state.orphans.forget(request);
      advance(request, RequestState.done);
      return;
    }
    this.#lane.onReturned(request);
  }

  // A message whose process dies each time must not be tried for ever. This worker counts deaths of its
  // slots' processes; the transport counts deaths of workers.
  #isExhausted(request: Request): boolean {
    const count = (this.#crashes.get(request.id) ?? 0) + 1;
    this.#crashes.delete(request.id);
    this.#crashes.set(request.id, count);
    forgetOldest(this.#crashes, CRASHES_MAX);
    return count + request.delivery.attempts >= this.#parts.options.attemptsMax;
  }

  /**
   * Stores an outcome's document, counts its chord part, and settles the message if it is acknowledged late.
   */
  #storeOutcome(request: Request, outcome: Outcome, settlement: Settlement): void {
    const { chord, state: name, document } = outcome;
    const isOpen = !request.isSettled;
    if (chord !== null) return this.#storeChordMember(request, outcome, settlement);
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

  // The part is counted only after the result is stored, because the task that completes the chord may read it.
  #storeChordMember(request: Request, outcome: Outcome, settlement: Settlement): void {
    const { chord, state: name, document } = outcome;
    const after = request.isSettled ? null : (): void => this.#settle(request, settlement);
    const count = (): void => this.#parts.finalizer.chord(request, name ?? kindState(outcome), chord!, after);
    if (name === null || document === null) return count();
    this.#store(request, name, document, (error) => {
      if (error) this.#storeFailed(error);
      count();
    });
  }

  #settle(request: Request, settlement: Settlement): void {
    const { state, options, successful } = this.#parts;
    if (settlement === "ack") state.ack(request);
    else if (settlement === "done") {
      if (options.deduplicates) successful.add(request.id);
      state.ack(request);
    } else state.reject(request, settlement);
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
      // Another worker may have stored the end of the next attempt by now.
      guard: request.isGuarded || name === "RETRY",
      replyTo: request.replyTo,
    }, done ?? this.#stored);
  }

  // One function for the results of all early-acknowledged tasks.
  #stored = (error: Error | null): void => {
    if (error) this.#storeFailed(error);
  };

  #storeFailed(error: Error): void {
    this.#parts.state.storeErrors++;
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

  #failedEvent(request: Request, type: string, exception: string | null, traceback: string | null): void {
    if (type === "task-failed") request.series?.fail(exception ?? "");
    const { events } = this.#parts;
    // A retry without a cause: Celery sends Python's None as text.
    if (events.wants(request)) events.task(type, request, { exception: exception ?? "None", traceback });
  }

  #log(level: "INFO" | "WARNING" | "ERROR", text: string): void {
    this.#parts.world.log.emit(level, text, this.#slot);
  }
}

/** The logger that Celery uses for ended tasks. Source: celery 5.2.6 app/trace.py. */
const LOGGER = "celery.app.trace";

/** Returns an outcome's error for the log. An expected error has no traceback there. */
function errorOf({ summary, exception, traceback, expected }: Outcome): LogError {
  const repr = exception ?? summary;
  return { type: /^[\w.]+/.exec(repr)?.[0] ?? "", repr, traceback: expected ? null : traceback };
}

/** Task ids whose crashes are counted at most. */
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
