/**
 * Notifies systemd of a service's state: ready, status, alive, stopping.
 *
 * The protocol is systemd's sd_notify: one datagram of NAME=value lines to the socket in NOTIFY_SOCKET.
 * Without that variable, all methods do nothing. Source: systemd sd_notify(3), sd_watchdog_enabled(3).
 */

import type { Clock, Disarm } from "../base/mod.ts";
import { monotonicMicros, sendDatagram } from "./libc.ts";

/** How often the status is sent, unless the watchdog requires more, milliseconds. */
const STATUS_MS = 10_000;
/** The extra time that each notification during the start requests, milliseconds. */
const EXTEND_MS = 30_000;

/** The service manager. Without one, every method does nothing. */
export class ServiceManager {
  readonly #clock: Clock;
  readonly #socket: string | null;
  /** The longest time between two watchdog notifications, milliseconds; null: no watchdog. */
  readonly watchdogMs: number | null;
  #disarm: Disarm | null = null;

  /** Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID through `env`. */
  constructor(clock: Clock, env: (name: string) => string | null, pid: number) {
    this.#clock = clock;
    const socket = env("NOTIFY_SOCKET");
    this.#socket = socket && /^[/@]/.test(socket) ? socket : null;
    const micros = Number(env("WATCHDOG_USEC") ?? 0);
    const watched = env("WATCHDOG_PID");
    const isWatched = this.#socket !== null && micros > 0 && (watched === null || Number(watched) === pid);
    this.watchdogMs = isWatched ? micros / 1000 : null;
  }

  /** Sends fields as they are. Never throws. */
  send(fields: Readonly<Record<string, string | number>>): void {
    if (this.#socket === null) return;
    const text = Object.entries(fields).map(([name, value]) =>
      `${name}=${String(value).replaceAll("\n", " ")}`
    );
    try {
      sendDatagram(this.#socket, text.join("\n"));
    } catch {
      // A failed notification must not end the service.
    }
  }

  /**
   * Sends the status during the start, and extends the start's time limit as long as the event loop runs,
   * however long the broker is unreachable.
   */
  starting(status: () => string): void {
    if (this.#socket === null) return;
    this.#every(EXTEND_MS / 2, () => {
      this.send({ EXTEND_TIMEOUT_USEC: EXTEND_MS * 1000, STATUS: status() });
    });
  }

  /**
   * Reports that the service is ready, and from now on sends its status. If systemd watches the service, also
   * sends watchdog notifications twice as often as required, from a timer of the event loop, and only while
   * `isAlive` returns true.
   */
  ready(status: () => string, isAlive: () => boolean = () => true): void {
    if (this.#socket === null) return;
    this.send({ READY: 1, STATUS: status() });
    const every = this.watchdogMs === null ? STATUS_MS : Math.min(STATUS_MS, this.watchdogMs / 2);
    this.#every(every, () => {
      const isWatched = this.watchdogMs !== null && isAlive();
      this.send({ STATUS: status(), ...(isWatched ? { WATCHDOG: 1 } : {}) });
    });
  }

  /** Reports that the program will start again under the same pid; `ready` follows. */
  reloading(): void {
    if (this.#socket === null) return;
    this.send({ RELOADING: 1, MONOTONIC_USEC: String(monotonicMicros()), STATUS: "restarting" });
  }

  /**
   * Reports that the service is stopping. Watchdog notifications go on, since a warm shutdown may take long.
   */
  stopping(status: string): void {
    this.send({ STOPPING: 1, STATUS: status });
  }

  /** Ends the periodic notifications. Idempotent. */
  close(): void {
    this.#disarm?.();
    this.#disarm = null;
  }

  #every(ms: number, notify: () => void): void {
    this.close();
    let at = this.#clock.monoMs();
    const next = () => {
      notify();
      at += ms;
      this.#disarm = this.#clock.arm(at, next);
    };
    next();
  }
}
