/**
 * The consumer of task messages.
 *
 * Source: celery 5.2.6 worker/consumer/tasks.py.
 */

import { assert, logFrom } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import type { Consumer } from "./consumer.ts";

/** The logger that Celery uses for these lines. */
const FROM = { logger: "celery.worker.consumer.tasks" };

/** Declares the queues and starts the data lane. */
export class TasksStep extends StartStopStep<Consumer> {
  readonly name = "Tasks";
  override readonly requires = ["Mingle", "Connection"];

  override async start(consumer: Consumer): Promise<void> {
    const { connection, worker } = consumer;
    const { app } = worker;
    assert(connection, "the Connection step has started");
    worker.updateStrategies();
    const queues = [...app.amqp.queues.consumeFrom.values()];
    for (const queue of queues) await connection.declare(queue);
    await consumer.openTasks(queues);
  }

  override async stop(consumer: Consumer): Promise<void> {
    if (consumer.tasks === null) return;
    logFrom(consumer.worker.world.log, FROM).debug("Canceling task consumer...");
    if (consumer.isLost) {
      consumer.lostTasks = consumer.tasks;
      consumer.tasks = null;
      return;
    }
    await consumer.pauseTasks();
  }

  /**
   * Closes the task consumer, after the pool has ended: unsettled messages go back to the heads of their
   * queues.
   */
  override async shutdown(consumer: Consumer): Promise<void> {
    const { tasks, worker } = consumer;
    const { state } = worker;
    let count = state.restored;
    if (tasks !== null) {
      logFrom(worker.world.log, FROM).debug("Closing consumer channel...");
      consumer.tasks = null;
      state.consumer = null;
      count += await tasks.close();
    }
    if (count > 0) logFrom(worker.world.log, FROM).warning(`Restoring ${count} unacknowledged message(s)`);
  }

  override info(consumer: Consumer): Record<string, unknown> {
    return { prefetch_count: consumer.tasks ? consumer.worker.window.limit : "N/A" };
  }
}
