/**
 * Heartbeats: announce that this worker is alive, and its state.
 *
 * Every worker receives every other's heartbeats, so their number grows with the square of the cluster. With
 * more than `CROWD` neighbours each worker sends fewer, and announces its interval in `freq`, by which
 * readers judge whether it lives. An interval given by `--heartbeat-interval` is kept.
 *
 * Source: celery 5.2.6 worker/consumer/heart.py, worker/heartbeat.py; protocol.md 7.4.
 */

import { signals } from "../../app/mod.ts";
import type { Deadline } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import type { Consumer } from "./consumer.ts";
import { software } from "./events_step.ts";

/** Seconds between heartbeats. */
const INTERVAL = 2;
/** The longest such interval. */
const INTERVAL_MAX = 60;
/** With up to this many neighbours the interval is INTERVAL. */
const CROWD = 50;

/** The step. */
export class HeartStep extends StartStopStep<Consumer> {
  readonly name = "Heart";
  override readonly requires = ["Events"];
  override readonly conditional = true;
  #deadline: Deadline | null = null;
  #isBeating = false;

  override isIncluded(consumer: Consumer): boolean {
    return consumer.worker.options.withHeartbeat;
  }

  override start(consumer: Consumer): void {
    this.#isBeating = true;
    this.#send(consumer, "worker-online");
    this.#arm(consumer, consumer.worker.world.clock.monoMs());
  }

  override stop(consumer: Consumer): void {
    if (!this.#isBeating) return;
    this.#isBeating = false;
    consumer.worker.timers.disarm(this.#deadline);
    this.#deadline = null;
    // After a lost connection nothing is sent: either the worker is back before others miss it, or they do
    // miss it.
    if (!consumer.isLost) this.#send(consumer, "worker-offline");
  }

  /** Does the same as `stop`, if the consumer was not stopped before. */
  override shutdown(consumer: Consumer): void {
    this.stop(consumer);
  }

  #arm(consumer: Consumer, plannedMs: number): void {
    const { timers, world } = consumer.worker;
    // Counted from the planned time, unless a stall has passed it.
    const nextMs = Math.max(plannedMs + interval(consumer) * 1000, world.clock.monoMs());
    this.#deadline = timers.arm(nextMs, () => {
      this.#send(consumer, "worker-heartbeat");
      this.#arm(consumer, nextMs);
    });
  }

  #send(consumer: Consumer, type: string): void {
    const { world, state } = consumer.worker;
    if (signals.heartbeatSent.hasReceivers) signals.heartbeatSent.send(this, {}, world.log);
    consumer.events?.send(type, {
      freq: interval(consumer),
      active: consumer.worker.active().length,
      processed: state.processed,
      loadavg: world.host.loadavg().map((load) => Math.round(load * 100) / 100),
      ...software(consumer.worker),
    });
  }
}

function interval({ worker, neighbours }: Consumer): number {
  return worker.options.given.heartbeatInterval || crowdInterval(neighbours);
}

/**
 * Returns the seconds between heartbeats with so many neighbours, at most 60. With 1500 neighbours each
 * worker receives 25 a second.
 */
export function crowdInterval(neighbours: number): number {
  return Math.min(INTERVAL_MAX, INTERVAL * Math.max(1, neighbours / CROWD));
}
