/**
 * Heartbeats in both directions, on a timer of their own.
 *
 * One is sent if nothing else was sent for half the interval. A peer that sends nothing for two intervals
 * counts as dead, even if its socket is open.
 *
 * Source: AMQP 0-9-1 specification 4.2.7; RabbitMQ "Detecting Dead TCP Connections with Heartbeats".
 */

import type { Clock, Disarm } from "../base/mod.ts";

/** The owner's callbacks. */
export interface HeartbeatEvents {
  /** Called when nothing was sent for half an interval. */
  onQuiet(): void;
  /** Called once when nothing was received for two intervals, which are `seconds` together. */
  onDead(seconds: number): void;
}

/**
 * The heartbeat of one connection. The owner calls `heard` and `sent` whenever bytes are received or sent.
 */
export class Heartbeat {
  #clock: Clock;
  #intervalMs: number;
  #events: HeartbeatEvents;
  #heardMs: number;
  #sentMs: number;
  #disarm: Disarm | null = null;

  /** `intervalSeconds` is the agreed interval, greater than 0. */
  constructor(clock: Clock, intervalSeconds: number, events: HeartbeatEvents) {
    this.#clock = clock;
    this.#intervalMs = intervalSeconds * 1000;
    this.#events = events;
    this.#heardMs = this.#sentMs = clock.monoMs();
    this.#arm();
  }

  /** Notes that bytes were received. */
  heard(): void {
    this.#heardMs = this.#clock.monoMs();
  }

  /** Notes that bytes were sent. */
  sent(): void {
    this.#sentMs = this.#clock.monoMs();
  }

  /** Stops the heartbeat. Idempotent. */
  stop(): void {
    this.#disarm?.();
    this.#disarm = null;
  }

  #arm(): void {
    const everyMs = this.#intervalMs / 4;
    const plannedMs = this.#clock.monoMs() + everyMs;
    this.#disarm = this.#clock.arm(plannedMs, () => {
      const nowMs = this.#clock.monoMs();
      // This process was stopped (a suspended machine, a long turn): the peer gets at least one more
      // interval.
      if (nowMs - plannedMs > everyMs) this.#heardMs = Math.max(this.#heardMs, nowMs - this.#intervalMs);
      if (nowMs - this.#heardMs >= 2 * this.#intervalMs) {
        this.#disarm = null;
        return this.#events.onDead(2 * this.#intervalMs / 1000);
      }
      if (nowMs - this.#sentMs >= this.#intervalMs / 2) {
        this.#sentMs = nowMs;
        this.#events.onQuiet();
      }
      this.#arm();
    });
  }
}
