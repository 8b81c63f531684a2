/**
 * What a service tells systemd: that it is ready, what it does, that it lives, that it stops.
 *
 * The protocol is systemd's sd_notify: one datagram of NAME=value lines to the socket in NOTIFY_SOCKET. Without that
 * variable everything here does nothing. Source: systemd sd_notify(3), sd_watchdog_enabled(3).
 */

import type { Clock, Disarm } from "../base/mod.ts";
import { monotonicMicros, sendDatagram } from "./libc.ts";

/** How often the status is told where no watchdog asks for more. */
const STATUS_MS = 10_000;
/** What is asked for while starting, each time the start is told to go on. */
const EXTEND_MS = 30_000;

/** The service manager as a service sees it. Every method does nothing where there is none. */
export class ServiceManager {
  readonly #clock: Clock;
  readonly #socket: string | null;
  /** How long may pass between two signs of life, milliseconds; null: nobody watches. */
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

  /** True where somebody listens. */
  get isThere(): boolean {
    return this.#socket !== null;
  }

  /** Tells fields as they are. */
  send(fields: Readonly<Record<string, string | number>>): void {
    if (this.#socket === null) return;
    const text = Object.entries(fields).map(([name, value]) =>
      `${name}=${String(value).replaceAll("\n", " ")}`
    );
    try {
      sendDatagram(this.#socket, text.join("\n"));
    } catch {
      // A service must not end because nobody listens to it.
    }
  }

  /** Starting: asks for more time for as long as the program turns, however long a broker is away. */
  starting(status: () => string): void {
    if (this.#socket === null) return;
    this.#every(EXTEND_MS / 2, () => {
      this.send({ EXTEND_TIMEOUT_USEC: EXTEND_MS * 1000, STATUS: status() });
    });
  }

  /**
   * Ready; from now on tells the status and, where systemd watches, that the service lives: twice as often as it must,
   * from a timer of the program's own loop, and only while `isAlive` says so.
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

  /** About to start again under the same pid: READY follows. */
  reloading(): void {
    if (this.#socket === null) return;
    this.send({ RELOADING: 1, MONOTONIC_USEC: String(monotonicMicros()), STATUS: "restarting" });
  }

  /** Stopping. Signs of life go on: a warm shutdown may take its time. */
  stopping(status: string): void {
    this.send({ STOPPING: 1, STATUS: status });
  }

  /** Says no more. */
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
