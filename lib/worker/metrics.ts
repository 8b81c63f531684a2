/**
 * A worker's own metrics for Prometheus: exact, and independent of the broker. Made when they are asked for.
 */

import {
  FAMILIES,
  type Family,
  hostLabel,
  MetricsText,
  type MetricsTextOptions,
  type TaskMetrics,
  writeProcess,
  writeTasks,
} from "../metrics/mod.ts";
import type { OutgoingMessage } from "../transport/mod.ts";
import type { WorkerCore } from "./core.ts";

/** Returns the text of a worker's metrics. `writeMore` adds the metrics of other parts of the process. */
export function workerMetrics(
  worker: WorkerCore,
  options: MetricsTextOptions = {},
  writeMore: (text: MetricsText) => void = () => {},
): string {
  const text = new MetricsText(options);
  const host = { hostname: hostLabel(worker.hostname) };
  const { consumer, metrics, state } = worker;
  if (metrics !== null) writeTasks(text, metrics);
  text.single(FAMILIES.workerUp, host, 1);
  text.single(FAMILIES.workerTasksActive, host, worker.active().length);
  if (worker.hasLane) writeLane(text, worker, host);
  const totals: [Family, number][] = [
    [FAMILIES.unacked, state.unsettled],
    [FAMILIES.rateLimited, state.limited],
    [FAMILIES.connected, consumer.isAway ? 0 : 1],
    [FAMILIES.reconnects, Math.max(0, consumer.connections - 1)],
    [FAMILIES.storeErrors, state.storeErrors],
    [FAMILIES.deadLettered, state.deadLettered],
    [FAMILIES.slotsLost, state.slotsLost],
  ];
  for (const [family, value] of totals) text.single(family, host, value);
  writeMore(text);
  writeProcess(text, worker.world, worker.startedWallMs);
  return text.end();
}

function writeLane(text: MetricsText, { lane, pool }: WorkerCore, host: { hostname: string }): void {
  const busy = Math.min(pool.busy, pool.size);
  text.family(FAMILIES.poolSlots);
  text.sample({ ...host, state: "busy" }, busy);
  text.sample({ ...host, state: "idle" }, pool.size - busy);
  text.single(FAMILIES.prefetch, host, lane.prefetch());
  const limited = lane.pending.limitedCount;
  text.family(FAMILIES.waiting);
  text.sample({ ...host, for: "slot" }, lane.readyCount);
  text.sample({ ...host, for: "eta" }, lane.pending.size - limited);
  text.sample({ ...host, for: "rate_limit" }, limited);
}

/** Returns a function that counts tasks sent by this worker and its slots, by queue. */
export function countSent(metrics: TaskMetrics, node: string): (batch: readonly OutgoingMessage[]) => void {
  const host = hostLabel(node);
  return (batch) => {
    for (const { message, queue, routingKey } of batch) {
      const name = message.headers["task"];
      if (typeof name === "string") metrics.of(name, host, queue?.name ?? routingKey).sent++;
    }
  };
}
