/**
 * Whether a worker is ready: for load balancers, orchestrators and people.
 *
 * Liveness needs no check: any answer comes from a worker whose event loop turns, with or without a broker,
 * whatever its tasks do.
 */

import type { HealthCheck } from "../http/mod.ts";
import type { WorkerCore } from "./core.ts";

/**
 * Returns the conditions for a worker to be ready: running, connected, consuming, and with a pool. Sends
 * nothing to the broker.
 */
export function readinessOf(worker: WorkerCore): HealthCheck[] {
  const { blueprint, consumer, stopRequest } = worker;
  const isStopping = stopRequest.mode !== null;
  const isRunning = !isStopping && blueprint.state === "running";
  const hasBroker = !consumer.isAway;
  const queues = [...worker.app.amqp.queues.consumeFrom.keys()];
  const isConsuming = hasBroker && consumer.tasks !== null && queues.length > 0;
  const size = worker.hasLane ? worker.pool.size : 0;
  return [
    {
      name: "state",
      isOk: isRunning,
      text: isStopping ? `stopping (${stopRequest.mode})` : isRunning ? "running" : "starting",
    },
    {
      name: "broker",
      isOk: hasBroker,
      text: `${hasBroker ? "connected to" : "no connection to"} ${consumer.shownUrl()}`,
    },
    {
      name: "consumer",
      isOk: isConsuming,
      text: queues.length === 0
        ? "paused: it consumes from no queue"
        : isConsuming
        ? `consuming from ${queues.join(", ")}`
        : "not consuming",
    },
    { name: "pool", isOk: size > 0, text: size === 1 ? "1 slot" : `${size} slots` },
  ];
}
