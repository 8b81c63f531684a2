/**
 * A World of doubles: a clock that the test moves, seeded randomness, a terminal and a log that keep what
 * they are given. Sockets and processes are refused unless a test provides its own.
 */

import {
  type Clock,
  type Dialer,
  DialError,
  type Disarm,
  type Host,
  type Level,
  LevelLog,
  type LogContext,
  OperatingError,
  type Random,
  shown,
  type Spawner,
  type Terminal,
  type World,
} from "../../lib/base/mod.ts";
import { realHost } from "../../lib/platform/host.ts";

/** A log record. `task` is set for lines of a task's own logger. */
interface LogRecord {
  readonly level: Level;
  readonly message: string;
  /** Wall-clock milliseconds. */
  readonly atMs: number;
  /** Celery's process name, such as "MainProcess" or "ForkPoolWorker-1". */
  readonly process: string;
  readonly task: { readonly name: string; readonly id: string } | null;
}

/** A timer that a FakeClock holds. */
export interface ArmedTimer {
  readonly atMs: number;
  readonly order: number;
  readonly fn: () => void;
}

/** A clock that moves only by `advance`. `defer` needs no `advance`: it runs at the end of the real turn. */
export class FakeClock implements Clock {
  #monoMs = 1000;
  #wallMs: number;
  #order = 0;
  #armed = new Set<ArmedTimer>();
  #deferred: (() => void)[] = [];

  /** `wallMs` is the start of the wall clock; default 2024-01-02T03:04:05.678Z. */
  constructor(wallMs = Date.UTC(2024, 0, 2, 3, 4, 5, 678)) {
    this.#wallMs = wallMs;
  }

  monoMs(): number {
    return this.#monoMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  arm(atMonoMs: number, fn: () => void): Disarm {
    const timer: ArmedTimer = { atMs: atMonoMs, order: this.#order++, fn };
    this.#armed.add(timer);
    return () => {
      this.#armed.delete(timer);
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        disarm();
        reject(signal!.reason);
      };
      const disarm = this.arm(this.#monoMs + ms, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  defer(fn: () => void): void {
    this.#deferred.push(fn);
    if (this.#deferred.length === 1) setImmediate(() => this.#runDeferred());
  }

  /** The armed timers, soonest first. */
  get armed(): ArmedTimer[] {
    return [...this.#armed].sort((a, b) => a.atMs - b.atMs || a.order - b.order);
  }

  /** Moves only the wall clock, as an operator or NTP does. */
  shiftWall(ms: number): void {
    this.#wallMs += ms;
  }

  /**
   * Moves the clock and fires timers in order; lets promises and deferred work run after each and at the end.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#monoMs + ms;
    for (;;) {
      await this.settle();
      const next = this.armed[0];
      if (!next || next.atMs > end) break;
      this.#armed.delete(next);
      this.#moveTo(Math.max(next.atMs, this.#monoMs));
      next.fn();
    }
    this.#moveTo(end);
    await this.settle();
  }

  /** Lets promises and deferred work run until none is left; the clock does not move. */
  async settle(): Promise<void> {
    do {
      await new Promise<void>((resolve) => setImmediate(resolve));
    } while (this.#deferred.length > 0);
  }

  /** Throws if a timer is still armed, because something was not closed. */
  checkNothingArmed(): void {
    if (this.#armed.size > 0) {
      throw new Error(
        `${this.#armed.size} timer(s) still armed, next in ${this.armed[0]!.atMs - this.#monoMs} ms`,
      );
    }
  }

  #moveTo(monoMs: number): void {
    this.#wallMs += monoMs - this.#monoMs;
    this.#monoMs = monoMs;
  }

  #runDeferred(): void {
    const batch = this.#deferred;
    this.#deferred = [];
    for (const fn of batch) fn();
  }
}

/** Random numbers from a seed (mulberry32): the same seed gives the same numbers and ids. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed = 1) {
    this.#state = seed >>> 0;
  }

  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  fraction(): number {
    return this.u32() / 0x1_0000_0000;
  }

  id(): string {
    const hex = Array.from({ length: 4 }, () => this.u32().toString(16).padStart(8, "0")).join("");
    const variant = ((parseInt(hex[16]!, 16) & 3) | 8).toString(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${
      hex.slice(20)
    }`;
  }
}

/** A terminal that keeps its text. `prompt` returns the `answers` in order, then null. */
export class TextTerminal implements Terminal {
  outText = "";
  errText = "";
  columns = 80;
  outIsTty = false;
  inIsTty = false;
  answers: string[] = [];
  /** All questions asked. */
  readonly questions: string[] = [];

  out(text: string): void {
    this.outText += shown(text);
  }

  err(text: string): void {
    this.errText += shown(text);
  }

  styled(text: string): void {
    this.outText += text;
  }

  prompt(question: string): string | null {
    this.questions.push(question);
    return this.answers.shift() ?? null;
  }
}

/** A log that keeps its records. */
export class RecordingLog extends LevelLog {
  readonly records: LogRecord[] = [];
  #clock: Clock;

  constructor(clock: Clock) {
    super("DEBUG");
    this.#clock = clock;
  }

  emit(level: Level, message: string, options: LogContext = {}): void {
    if (!this.isOn(level)) return;
    const traceback = options.error?.traceback;
    this.records.push({
      level,
      message: traceback ? `${message}\n${traceback.trimEnd()}` : message,
      atMs: this.#clock.wallMs(),
      process: options.process ?? "MainProcess",
      task: options.task ?? null,
    });
  }

  /** Returns the messages, optionally of one level. */
  messages(level?: Level): string[] {
    return this.records.filter((record) => !level || record.level === level).map((record) => record.message);
  }
}

/** A World whose parts a test can inspect. */
export interface FakeWorld extends World {
  readonly clock: FakeClock;
  readonly random: SeededRandom;
  readonly terminal: TextTerminal;
  readonly log: RecordingLog;
}

/** Parts that a test may provide. */
export interface FakeWorldOptions {
  readonly seed?: number;
  readonly wallMs?: number;
  readonly dialer?: Dialer;
  readonly spawner?: Spawner;
  readonly env?: Readonly<Record<string, string>>;
  readonly host?: Partial<Host>;
}

/** Makes a World of doubles. */
export function fakeWorld(options: FakeWorldOptions = {}): FakeWorld {
  const clock = new FakeClock(options.wallMs);
  return {
    clock,
    random: new SeededRandom(options.seed ?? 1),
    listener: {
      serve() {
        throw new Error("Cannot listen: no network here");
      },
    },
    dialer: options.dialer ?? { dial: () => Promise.reject(new DialError("Cannot dial: no network here")) },
    spawner: options.spawner ?? {
      spawn() {
        throw new OperatingError("Cannot spawn: no processes here");
      },
      spawnSelf() {
        throw new OperatingError("Cannot spawn: no processes here");
      },
    },
    terminal: new TextTerminal(),
    host: {
      hostname: "host.example.org",
      pid: 4242,
      cpus: 2,
      platform: "linux",
      loadavg: () => [0.25, 0.5, 0.75],
      rssBytes: () => 50 * 1024 * 1024,
      env: (name) => options.env?.[name] ?? null,
      cwd: "/here",
      fileKind: (path) => realHost().fileKind(path),
      ...options.host,
    },
    log: new RecordingLog(clock),
  };
}
