/**
 * Waiting ahead, where the broker confirms what is published (RabbitMQ, which takes its time): a caller that sends one
 * call, waits for its result, sends the next, is spared a round trip.
 *
 * Celery subscribes to the result of every call it sends. That is wasted on calls nobody waits for; so here it is done
 * only while the caller has come for the result of the call before. Where the result is there before the broker's
 * confirm, the call is sent: nothing runs that the broker does not have.
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend.on_task_call.
 */

import type { Backend, Watch } from "../../backend/mod.ts";
import { READY_STATES, type ResultMeta } from "../../wire/mod.ts";

/** The one wait ahead of an App. */
export class ResultAhead {
  /** The call that was sent last, until somebody asks for its result. */
  #last: string | null = null;
  /** The result of the last call was asked for before the next was sent. */
  #isExpected = false;
  /** Open until its result is asked for, or the next call is sent: the store keeps what it has told until then. */
  #watch: Watch | null = null;
  #watched: string | null = null;
  /** What the wait has told. */
  #received: ResultMeta | null = null;

  /**
   * A call is being sent. Resolves when its result is there, and never rejects; null if nothing says that anybody
   * will ask for it, and then the publish alone tells.
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

  /** Somebody asks for a result: its end, where the wait has told it already; null: it is to be waited for. */
  take(taskId: string): ResultMeta | null {
    const received = this.#watched === taskId ? this.#received : null;
    if (received !== null) this.asked([taskId]);
    return received;
  }

  /** Somebody waits for results, and has opened a wait of their own. */
  asked(taskIds: readonly string[]): void {
    if (this.#last === null || !taskIds.includes(this.#last)) return;
    this.#last = null;
    this.#isExpected = true;
    this.#end();
  }

  /** The store is closed. */
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
