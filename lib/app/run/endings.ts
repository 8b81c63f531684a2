/**
 * The end of a run: makes an outcome of what its function returned or threw. Messages that others wait for
 * (callbacks, the next step of a chain, a retry, a replacement, errbacks) are published before.
 *
 * Source: celery 5.2.6 app/trace.py handle_success, handle_failure, handle_retry, handle_reject; protocol.md
 * 8.2, 8.6.
 */

import { UsageError } from "../../base/mod.ts";
import {
  EncodeError,
  Ignore,
  pythonRepr,
  Reject,
  type ResultTuple,
  Retry,
  toWireException,
} from "../../wire/mod.ts";
import { runAsTask } from "../call/current_task.ts";
import { bareOutcome, type Outcome, type OutcomeKind } from "../call/outcome.ts";
import type { SendCall } from "../call/send_options.ts";
import type { ErrorClass } from "../conf/task_options.ts";
import type { AppCore } from "../core.ts";
import { applySignature } from "../send/canvas_send.ts";
import { Context } from "./context.ts";
import { type Done, runErrbacks, sendNext } from "./dispatch.ts";
import { hooksOf } from "./hooks.ts";
import { replacementOf } from "./replacing.ts";
import { autoRetry, isOneOf, isSoftLimit } from "./retrying.ts";
import type { Run } from "./run.ts";
import {
  alsoFailed,
  chordOfError,
  chordOfValue,
  errorDocument,
  type ErrorFacts,
  errorFacts,
  plainErrorFacts,
  type ResultStyle,
  storable,
  valueDocument,
} from "./trace_outcome.ts";

/** Makes the outcomes of one tracer's runs. */
export class Endings {
  readonly #app: AppCore;
  readonly #style: ResultStyle;
  readonly #isExtended: boolean;
  readonly #inheritsPriority: boolean;
  readonly #onState: (seq: number, state: string, document: string | Uint8Array) => void;

  /** `onState` stores a state before the run has ended. */
  constructor(
    app: AppCore,
    style: ResultStyle,
    onState: (seq: number, state: string, document: string | Uint8Array) => void,
  ) {
    this.#app = app;
    this.#style = style;
    this.#isExtended = app.conf.result_extended;
    this.#inheritsPriority = app.conf.task_inherit_parent_priority;
    this.#onState = onState;
  }

  succeeded(run: Run, value: unknown): Outcome | Promise<Outcome> {
    if (run.replacement !== null) return this.#replaced(run);
    const retry = isReadable(value) && value instanceof Retry ? value : run.retry;
    if (retry !== null) return this.#retried(run, retry);
    run.value = value;
    const { callbacks, chain } = run.body.embed;
    if (callbacks !== null || chain !== null) return this.#sendNext(run, value);
    return this.#success(run, value);
  }

  async #sendNext(run: Run, value: unknown): Promise<Outcome> {
    run.isIdle = true;
    try {
      await runAsTask(run, () => sendNext(this.#app, this.#done(run), run.body.embed, storable(value)), null);
    } catch (error) {
      return await this.failed(run, error);
    }
    return await this.#success(run, value);
  }

  #success(run: Run, value: unknown): Outcome | Promise<Outcome> {
    const { options } = run;
    const outcome = this.#outcome(run, "success");
    let result: unknown;
    try {
      result = storable(value);
      if (!run.isIgnored && !this.#isUnstored(run)) {
        outcome.state = "SUCCESS";
        outcome.document = valueDocument(this.#style, run, {
          state: "SUCCESS",
          value: result,
          extended: this.#isExtended ? run.extended() : null,
        });
      }
      if (run.body.embed.chord !== null) outcome.chord = chordOfValue(run, result);
    } catch (error) {
      return this.#failure(run, error);
    }
    outcome.summary = pythonRepr(result, { maxChars: options.resultreprMaxsize });
    return outcome;
  }

  failed(run: Run, thrown: unknown): Outcome | Promise<Outcome> {
    if (run.replacement !== null) return this.#replaced(run);
    // Even `instanceof` would throw.
    if (!isReadable(thrown)) return this.#failure(run, thrown);
    if (thrown instanceof Retry) return this.#retried(run, thrown);
    if (thrown instanceof Reject) return this.#rejected(run, thrown);
    if (thrown instanceof Ignore) {
      run.error = thrown;
      return this.#outcome(run, "ignore");
    }
    let error = thrown;
    if (run.interruption !== null && error === run.interruption && !isSoftLimit(error)) {
      run.error = error;
      const outcome = this.#outcome(run, "terminated");
      outcome.exception = errorFacts(error, run.name).repr;
      return outcome;
    }
    try {
      const retry = autoRetry(run, error, this.#app.world.random);
      if (retry !== null) return this.#retried(run, retry);
    } catch (exhausted) {
      error = exhausted;
    }
    return this.#failure(run, error);
  }

  /**
   * Rejects the message: puts it back into its queue, or ends the task; then clients see a failure, and
   * errbacks are sent. Source: celery main (5.7) worker/request.py Request.on_failure; before 5.7 nothing was
   * stored.
   */
  #rejected(run: Run, error: Reject): Outcome | Promise<Outcome> {
    run.error = error;
    if (error.requeue || run.init.isEager) {
      const outcome = this.#outcome(run, "reject");
      const facts = errorFacts(error, run.name);
      outcome.summary = error.message;
      outcome.exception = facts.repr;
      outcome.traceback = facts.traceback;
      outcome.requeue = error.requeue;
      return outcome;
    }
    const outcome = this.#failureOutcome(run, error, "reject");
    outcome.summary = error.message;
    return this.#withErrbacks(run, error, outcome);
  }

  #failure(run: Run, error: unknown): Outcome | Promise<Outcome> {
    run.error = error;
    const outcome = this.#failureOutcome(run, error, "failure");
    outcome.expected = isExpected(error, run.options.throws);
    return this.#withErrbacks(run, error, outcome);
  }

  #failureOutcome(run: Run, error: unknown, kind: "failure" | "reject"): Outcome {
    const facts = errorFacts(error, run.name);
    try {
      return this.#storedFailure(run, facts, kind, this.#isExtended);
    } catch (second) {
      // The error's arguments, or the task's own if the task has changed them, cannot be encoded: report the
      // failure without them.
      return this.#storedFailure(run, plainErrorFacts(facts, second), kind, false);
    }
  }

  #storedFailure(run: Run, facts: ErrorFacts, kind: OutcomeKind, isExtended: boolean): Outcome {
    const outcome = this.#outcome(run, kind);
    outcome.summary = facts.repr;
    outcome.exception = facts.repr;
    outcome.traceback = facts.traceback;
    const isStored = this.#storesErrors(run);
    if (isStored) {
      outcome.state = "FAILURE";
      outcome.document = errorDocument(this.#style, run, {
        state: "FAILURE",
        exception: facts.exception,
        traceback: facts.traceback,
        extended: isExtended ? run.extended() : null,
      });
    }
    outcome.chord = chordOfError(run, facts.exception);
    outcome.also = alsoFailed(
      this.#style,
      run.body.embed.chain?.all() ?? null,
      { ...facts, state: "FAILURE", isStored },
      isExtended,
    );
    return outcome;
  }

  #withErrbacks(run: Run, error: unknown, outcome: Outcome): Outcome | Promise<Outcome> {
    const { errbacks } = run.body.embed;
    return errbacks !== null && errbacks.length > 0 ? this.#runErrbacks(run, error, outcome) : outcome;
  }

  async #runErrbacks(run: Run, error: unknown, outcome: Outcome): Promise<Outcome> {
    const failure = { request: () => run.request, error, traceback: outcome.traceback };
    try {
      const { errbacks } = run.body.embed;
      await runAsTask(run, () => runErrbacks(this.#app, this.#done(run), errbacks!, failure), null);
    } catch (error) {
      // The failure stands; that its errbacks were not sent is logged.
      run.log("ERROR", `Cannot send errbacks of ${run.name}[${run.id}]: ${errorFacts(error, run.name).repr}`);
    }
    return outcome;
  }

  async #retried(run: Run, retry: Retry): Promise<Outcome> {
    try {
      return await this.#retriedOutcome(run, retry);
    } catch (error) {
      // The state of the retry cannot be encoded.
      return await this.#failure(run, error);
    }
  }

  async #retriedOutcome(run: Run, retry: Retry): Promise<Outcome> {
    const { exc } = retry;
    run.error = retry.isEager ? retry : exc;
    const facts: ErrorFacts = errorFacts(retry, run.name);
    const exception = exc === null || exc === undefined ? null : toWireException(exc, run.name);
    const document = (moreChildren: ResultTuple[]): string | Uint8Array =>
      errorDocument(this.#style, run, {
        state: "RETRY",
        exception,
        traceback: facts.traceback,
        extended: this.#isExtended ? run.extended() : null,
        moreChildren,
      });
    const stores = this.#storesErrors(run);
    const call = run.init.isEager ? null : retry.signature as SendCall | null;
    if (call !== null) {
      // Store RETRY before the message leaves: stored with the outcome it could overwrite the result of the
      // next attempt.
      if (stores) {
        this.#onState(run.init.seq, "RETRY", document(run.trail ? [[[run.id, null], null]] : []));
      }
      try {
        await runAsTask(run, () => this.#app.send(call.name, call.args, call.kwargs, call.options), null);
      } catch (error) {
        // With late acknowledgement the message is still unacknowledged: put it back, unless it can never be
        // sent. Otherwise report a failure.
        const isUnsendable = error instanceof UsageError || error instanceof EncodeError;
        if (run.options.acksLate && !isUnsendable) {
          return await this.#rejected(run, new Reject(error, { requeue: true }));
        }
        return await this.#failure(run, error);
      }
    }
    const outcome = this.#outcome(run, "retry");
    outcome.summary = retry.message;
    outcome.exception = exception === null ? "None" : errorFacts(exc, run.name).repr;
    outcome.traceback = facts.traceback;
    if (stores && call === null) {
      outcome.state = "RETRY";
      outcome.document = document([]);
    }
    return outcome;
  }

  async #replaced(run: Run): Promise<Outcome> {
    if (run.init.isEager) return this.#outcome(run, "ignore");
    try {
      await hooksOf(run).onReplace?.(new Context(run), run.replacement);
      const signature = replacementOf(run, run.replacement!);
      run.replacement = null;
      await runAsTask(run, () => applySignature(this.#app, signature, [], {}, {}), null);
    } catch (error) {
      run.replacement = null;
      return await this.#failure(run, error);
    }
    return this.#outcome(run, "ignore");
  }

  #done(run: Run): Done {
    return { id: run.id, rootId: run.rootId, priority: this.#inheritsPriority ? run.priority : null };
  }

  #outcome(run: Run, kind: OutcomeKind): Outcome {
    const outcome = bareOutcome(run.init.seq, kind);
    // Whole nanoseconds: the rounding errors of the subtraction would take longer to write and read than the
    // rest of the head.
    outcome.runtime = Math.round((this.#app.world.clock.monoMs() - run.startedMs) * 1e6) / 1e9;
    return outcome;
  }

  #isUnstored(run: Run): boolean {
    return run.init.isEager && !run.options.storeEagerResult;
  }

  /**
   * Returns true if an error of this run is stored. Source: celery 5.6.3 app/trace.py
   * TraceInfo.handle_error_state.
   */
  #storesErrors(run: Run): boolean {
    if (run.isIgnored) return run.options.storeErrorsEvenIfIgnored;
    return !this.#isUnstored(run);
  }
}

/** Returns true if the task declares errors of this class in `throws`. */
function isExpected(error: unknown, throws: readonly ErrorClass[]): boolean {
  try {
    return isOneOf(error, throws);
  } catch {
    return false; // instanceof throws for this error
  }
}

/** Returns false for a value whose class cannot be determined because that throws: a revoked Proxy. */
function isReadable(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  try {
    Object.getPrototypeOf(value);
    return true;
  } catch {
    return false;
  }
}
