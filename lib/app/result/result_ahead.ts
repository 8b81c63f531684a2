/**
 * Waiting ahead for a result, if the broker confirms messages late (RabbitMQ): saves a round trip for a
 * caller that sends a call, waits for its result, sends the next call, and so on.
 *
 * Celery subscribes to the result of every call it sends, which is wasted if no code waits for the result.
 * Here it is done only if the caller asked for the result of the previous call. If the result arrives before
 * the broker's confirm, the call counts as sent: the task cannot have run without the broker having the
 * message.
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend.on_task_call.
 */

import type { Backend, Watch } from "../../backend/mod.ts";
import { READY_STATES, type ResultMeta } from "../../wire/mod.ts";

/** The wait ahead of an App; there is at most one at a time. */
export class ResultAhead {
  /** The id of the call that was sent last, until its result is asked for. */
  #last: string | null = null;
  /** True if the result of the last call was asked for before the next call was sent. */
  #isExpected = false;
  /** Open until its result is asked for, or the next call is sent. The store keeps the result until then. */
  #watch: Watch | null = null;
  #watched: string | null = null;
  /** The final state that the wait has received. */
  #received: ResultMeta | null = null;

  /**
   * Call it when a call is being sent. The promise resolves when the result is there, and never rejects.
   * Returns null if a request for the result is unlikely; then only the publish reports success.
   */
  sending(taskId: string, backend: Backend | null): Promise<void> | null {
    const isExpected = this.#isExpected && this.#last === null;
    this.#last = taskId;
    this.#end();
    this.#isExpected = false;
    if (!isExpected || backend === null) return null;
    return new Promise((resolve) => {
      this.#watched = taskId;
      this.#watch = backend.watch([taskId], (meta) => {
        if (!READY_STATES.has(meta.state)) return;
        this.#received = meta;
        resolve();
      }, () => {
        if (this.#watched === taskId) this.#end();
      });
    });
  }

  /** Call it when a result is asked for. Returns the final state if the wait has received it, else null. */
  take(taskId: string): ResultMeta | null {
    const received = this.#watched === taskId ? this.#received : null;
    if (received !== null) this.asked([taskId]);
    return received;
  }

  /** Call it when code has started its own wait for these results. */
  asked(taskIds: readonly string[]): void {
    if (this.#last === null || !taskIds.includes(this.#last)) return;
    this.#last = null;
    this.#isExpected = true;
    this.#end();
  }

  /** Ends the wait, because the store is closed. */
  close(): void {
    this.#last = null;
    this.#isExpected = false;
    this.#end();
  }

  #end(): void {
    this.#watch?.close();
    this.#watch = this.#watched = this.#received = null;
  }
}
