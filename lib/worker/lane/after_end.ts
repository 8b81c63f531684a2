/**
 * Calls the user's code that follows a task which this worker ended itself: hooks, `taskFailure`, errbacks
 * that are functions. A slot of the pool runs it, as a job of its own, because this isolate renews leases and
 * sends heartbeats and must not be blocked.
 *
 * Source: celery main (5.7) worker/request.py Request.on_timeout, where the parent calls it itself.
 */

import type { World } from "../../base/mod.ts";
import type { EndedTask, Outcome } from "../../app/mod.ts";
import type { Job, Pool } from "../../pool/mod.ts";
import { type EncodedMessage, encodeEnvelope, exceptionRepr } from "../../wire/mod.ts";
import type { LaneState } from "./state.ts";

/** Seconds that all calls for one task have; then their slot is ended. */
const CALLS_MAX_SECONDS = 60;

/** Parts that the calls use. */
export interface AfterEndParts {
  readonly world: World;
  readonly state: LaneState;
  readonly pool: Pool;
}

/** The calls of one worker. */
export class AfterEnd {
  readonly #parts: AfterEndParts;
  readonly #waiting = new Map<number, { readonly job: EndedJob; readonly resolve: () => void }>();
  #isClosed = false;

  constructor(parts: AfterEndParts) {
    this.#parts = parts;
  }

  /**
   * Has a slot make the calls. Resolves when they were made or cannot be made; the latter is logged. Never
   * rejects.
   */
  call(message: EncodedMessage, ended: EndedTask): Promise<void> {
    const { state, pool } = this.#parts;
    const job = new EndedJob(++state.seq, message, ended);
    if (this.#isClosed) {
      this.#failed(job, "the worker is stopping");
      return Promise.resolve();
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(job.seq, { job, resolve });
    pool.submit([job]);
    return promise;
  }

  /** Takes the outcome of a job that belongs to no request. Data lane: per such outcome. */
  settle(outcome: Outcome): void {
    const waiting = this.#waiting.get(outcome.seq);
    if (waiting === undefined) return;
    this.#waiting.delete(outcome.seq);
    const { kind, summary, exception } = outcome;
    if (kind === "timeout") this.#failed(waiting.job, `they took more than ${CALLS_MAX_SECONDS} s`);
    else if (kind === "returned") this.#failed(waiting.job, "the worker is stopping");
    else if (kind !== "ignore") this.#failed(waiting.job, exception || summary || kind);
    waiting.resolve();
  }

  /** Refuses further calls, since the pool takes no more jobs. */
  close(): void {
    this.#isClosed = true;
  }

  #failed({ name, id, ended }: EndedJob, why: string): void {
    const about = `${name}[${id}], which ended by ${exceptionRepr(ended.exception)}`;
    this.#parts.world.log.error(`Cannot call the hooks and errbacks of ${about}: ${why}`);
  }
}

/** The job that makes the calls. */
class EndedJob implements Job {
  readonly seq: number;
  readonly name: string;
  readonly id: string;
  readonly queue = "";
  readonly redelivered = false;
  readonly timeLimit = CALLS_MAX_SECONDS;
  readonly softTimeLimit = null;
  /** Infinity, so that it gets a frame of its own and no task waits behind it. */
  readonly expectedMs = Infinity;
  readonly ended: EndedTask;
  readonly #message: EncodedMessage;

  constructor(seq: number, message: EncodedMessage, ended: EndedTask) {
    this.seq = seq;
    this.name = String(message.headers["task"] ?? "");
    this.id = String(message.headers["id"] ?? message.properties.correlationId ?? "");
    this.ended = ended;
    this.#message = message;
  }

  get envelope(): string {
    return encodeEnvelope(this.#message, { exchange: "", routingKey: "", deliveryTag: "" });
  }
}
