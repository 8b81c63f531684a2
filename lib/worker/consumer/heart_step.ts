/**
 * Heartbeats: that this worker is there, and how it is.
 *
 * Every worker hears every other's heartbeats, so that their number grows with the square of the cluster. Beyond
 * `CROWD` neighbours each beats the more rarely the more there are, and says so in `freq`, by which readers judge
 * whether it lives. A period that was given (`--heartbeat-interval`) is kept.
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
/** And at most, however many there seem to be. */
const INTERVAL_MAX = 60;
/** Neighbours up to which everybody beats at that pace. */
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
    // After a lost connection nothing is said: the worker is back before anybody misses it, or it is missed.
    if (!consumer.isLost) this.#send(consumer, "worker-offline");
  }

  /** As `stop`, for a worker whose consumer never stopped in order. */
  shutdown(consumer: Consumer): void {
    this.stop(consumer);
  }

  #arm(consumer: Consumer, plannedMs: number): void {
    const { timers, world } = consumer.worker;
    // From the planned time, unless a stall has left that behind.
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

/** Seconds between heartbeats among so many neighbours, 60 at most: of 1500, everybody hears 25 a second. */
export function crowdInterval(neighbours: number): number {
  return Math.min(INTERVAL_MAX, INTERVAL * Math.max(1, neighbours / CROWD));
}
