/**
 * The event loop: opens the lane, then waits until the connection is lost or the worker stops.
 *
 * Meanwhile it watches two things. The watchdog reconnects a consumer that receives nothing although its
 * queue has messages. With `--burst`, the worker stops when there is nothing left to do.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py Evloop, worker/loops.py asynloop.
 */

import { signals } from "../../app/mod.ts";
import { ConnectionLost, type Deadline, errorText, logFrom } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import type { Consumer } from "./consumer.ts";

/** How often the watchdog checks, and for how long nothing must have been received. */
const WATCH_MS = 10_000;
/** Checks in a row that must find waiting messages and nothing received. */
const WATCH_STRIKES = 3;
/** How often `--burst` checks whether all is done. */
const BURST_MS = 50;

/** The last step. Its start ends only when the connection is lost or the worker stops. */
export class LoopStep extends StartStopStep<Consumer> {
  readonly name = "event loop";
  override readonly last = true;
  #watch: Deadline | null = null;

  override async start(consumer: Consumer): Promise<void> {
    const { worker } = consumer;
    await worker.blueprint.sendAll(worker, "register", { description: "Hub.register", forward: true });
    if (!consumer.wasReady) {
      consumer.wasReady = true;
      logFrom(worker.world.log, { logger: "celery.apps.worker" }).info(`${worker.hostname} ready.`);
      signals.workerReady.send(consumer, {}, worker.world.log);
    }
    logReduction(consumer);
    worker.lane.sendPrefetch();
    consumer.tasks?.wake();
    this.#watchSilence(consumer, 0);
    const watching = new AbortController();
    if (worker.options.given.burst) void this.#watchBurst(consumer, watching.signal);
    try {
      throw await consumer.untilLost();
    } finally {
      watching.abort();
      worker.timers.disarm(this.#watch);
    }
  }

  #watchSilence(consumer: Consumer, strikes: number): void {
    const { worker } = consumer;
    this.#watch = worker.timers.armIn(WATCH_MS, () => {
      this.#isStuck(consumer).then((isStuck) => {
        if (consumer.isLost || worker.stopRequest.mode !== null) return;
        const count = isStuck ? strikes + 1 : 0;
        if (count < WATCH_STRIKES) return this.#watchSilence(consumer, count);
        worker.world.log.warning(
          "consumer: No message received although a queue has messages: reconnecting",
        );
        const error = new ConnectionLost("no message received although a queue has messages");
        // Failed, not closed: closing in order would give back running tasks.
        consumer.connection?.fail?.(error);
        consumer.lost(error);
      }, () => {
        // The connection cannot be asked; its loss will be reported soon.
        if (!consumer.isLost && worker.stopRequest.mode === null) this.#watchSilence(consumer, strikes);
      });
    });
  }

  async #isStuck(consumer: Consumer): Promise<boolean> {
    const { worker, connection, tasks } = consumer;
    const { state } = worker;
    const receivedMs = state.receivedMonoMs;
    if (connection === null || tasks === null || worker.lane.window() === 0) return false;
    if (worker.world.clock.monoMs() - receivedMs < WATCH_MS) return false;
    for (const queue of tasks.queues) {
      if (((await connection.queueLength(queue.name)) ?? 0) > 0) return state.receivedMonoMs === receivedMs;
    }
    return false;
  }

  async #watchBurst(consumer: Consumer, signal: AbortSignal): Promise<void> {
    const { worker } = consumer;
    const { clock, log } = worker.world;
    try {
      for (let quiet = 0; quiet < 2;) {
        await clock.sleep(BURST_MS, signal);
        quiet = await isIdle(consumer) ? quiet + 1 : 0;
      }
      void worker.stop("warm", worker.state.failed > 0 ? 1 : null);
    } catch (error) {
      if (!signal.aborted) log.warning(`Cannot see whether the queues are empty: ${errorText(error)}`);
    }
  }
}

/**
 * Logs that the prefetch is lower after a reconnect, while tasks of the old connection run. Source: celery
 * 5.6.3 worker/consumer/consumer.py.
 */
function logReduction(consumer: Consumer): void {
  const { lane, state, window, world } = consumer.worker;
  const count = lane.prefetch();
  if (state.leftovers === 0 || count >= window.base) return;
  world.log.info(
    `Temporarily reducing the prefetch count to ${count} to avoid over-fetching since ${state.leftovers} ` +
      `tasks are currently being processed.\nThe prefetch count will be gradually restored to ` +
      `${window.base} as the tasks complete processing.`,
  );
}

/** True if this worker has nothing left to do and its queues are empty. */
async function isIdle(consumer: Consumer): Promise<boolean> {
  const { worker, connection, tasks } = consumer;
  const { state, parts: { finalizer } } = worker;
  const isBusy = (): boolean =>
    state.inPool.size > 0 || worker.lane.waitingCount > 0 || finalizer.pending > 0 ||
    state.unsettled > 0;
  if (connection === null || tasks === null || isBusy()) return false;
  for (const queue of tasks.queues) {
    if (((await connection.queueLength(queue.name)) ?? 0) > 0) return false;
  }
  return !isBusy();
}
