/** Starts the data lane over the consumer's connection. Source: celery 5.2.6 worker/consumer/tasks.py. */

import { assert } from "../../base/mod.ts";
import type { Queue } from "../../transport/mod.ts";
import type { Consumer } from "./consumer.ts";

/** Consumes from `queues`, which are declared; takes over from the consumer of the connection that was lost. */
export async function openTasks(consumer: Consumer, queues: readonly Queue[]): Promise<void> {
  const { connection, worker } = consumer;
  const { app, lane, parts, world } = worker;
  assert(connection, "there is a connection");
  const epoch = ++parts.state.epoch;
  const isOurs = (): boolean => parts.state.epoch === epoch;
  parts.state.heardMonoMs = world.clock.monoMs();
  consumer.tasks = await connection.consume({
    queues,
    // The consumer asks from its first moment on; it is known to the lane when `consume` has resolved.
    window: () => isOurs() && parts.state.consumer !== null ? lane.window() : 0,
    owner: `${worker.hostname}:${world.host.pid}:${worker.startedWallMs}`,
    leaseSeconds: app.conf.lease,
    predecessor: consumer.lostTasks,
  }, {
    onDeliveries: (batch) => isOurs() && lane.onDeliveries(batch),
    onUndecodable: (message) => isOurs() && lane.onUndecodable(message),
    onStranded: (delivery) => parts.aside.republish(delivery),
    onLost: (error) => isOurs() && consumer.lost(error),
    onRestored: (count) => {
      world.log.info(`Restored ${count} message${count === 1 ? "" : "s"} of workers that are gone`);
    },
  });
  consumer.lostTasks = null;
  parts.state.consumer = consumer.tasks;
}
