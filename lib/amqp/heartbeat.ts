/**
 * Heartbeats both ways, on a timer of their own.
 *
 * One is sent where nothing else was for half the interval. A peer of which nothing was heard for two intervals is
 * dead, however open its socket looks.
 *
 * Source: AMQP 0-9-1 specification 4.2.7; RabbitMQ "Detecting Dead TCP Connections with Heartbeats".
 */

import type { Clock, Disarm } from "../base/mod.ts";

/** Who sends, and who is told. */
export interface HeartbeatEvents {
  /** Nothing was sent for half an interval. */
  onQuiet(): void;
  /** Nothing was heard for two intervals; `seconds` of them. Told once. */
  onDead(seconds: number): void;
}

/** The heartbeat of one connection. `heard` and `sent` are called whenever bytes come or go. */
export class Heartbeat {
  #clock: Clock;
  #intervalMs: number;
  #events: HeartbeatEvents;
  #heardMs: number;
  #sentMs: number;
  #disarm: Disarm | null = null;

  /** `intervalSeconds` is what was agreed on, more than 0. */
  constructor(clock: Clock, intervalSeconds: number, events: HeartbeatEvents) {
    this.#clock = clock;
    this.#intervalMs = intervalSeconds * 1000;
    this.#events = events;
    this.#heardMs = this.#sentMs = clock.monoMs();
    this.#arm();
  }

  /** Bytes have come. */
  heard(): void {
    this.#heardMs = this.#clock.monoMs();
  }

  /** Bytes have gone. */
  sent(): void {
    this.#sentMs = this.#clock.monoMs();
  }

  /** Twice is once. */
  stop(): void {
    this.#disarm?.();
    this.#disarm = null;
  }

  #arm(): void {
    const everyMs = this.#intervalMs / 4;
    const plannedMs = this.#clock.monoMs() + everyMs;
    this.#disarm = this.#clock.arm(plannedMs, () => {
      const nowMs = this.#clock.monoMs();
      // We ourselves were stopped (a suspended machine, a long turn): the peer gets its time anew.
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
