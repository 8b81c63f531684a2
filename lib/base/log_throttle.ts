/**
 * Limits log lines that come in floods or that a remote peer can trigger: a few are written in each period,
 * and the rest is counted.
 */

import type { Level } from "./log.ts";
import type { TimerHeap } from "./timer_heap.ts";
import type { World } from "./world.ts";

/** How many lines are written, and how the number left out is logged. */
export interface LogThrottleOptions {
  /** The length of a period, milliseconds. */
  readonly everyMs: number;
  /** The number of lines written in a period; default 1. */
  readonly lines?: number;
  /**
   * If given, the number left out is logged at the end of a period, in a line that says what they were
   * `about` ("control messages"). Else it is appended to the next line.
   */
  readonly atEnd?: { readonly timers: TimerHeap; readonly about: string };
}

/** The throttle of one kind of lines. */
export class LogThrottle {
  readonly #world: Pick<World, "clock" | "log">;
  readonly #options: LogThrottleOptions;
  #endMs = -Infinity;
  #lines = 0;
  #leftOut = 0;

  /** Writes nothing, and arms no timer. */
  constructor(world: Pick<World, "clock" | "log">, options: LogThrottleOptions) {
    this.#world = world;
    this.#options = options;
  }

  /** Writes a line, or only counts it if the limit of this period is reached. */
  log(level: Level, text: string): void {
    const { everyMs, lines = 1, atEnd } = this.#options;
    const nowMs = this.#world.clock.monoMs();
    if (nowMs >= this.#endMs) {
      this.#endMs = nowMs + everyMs;
      this.#lines = 0;
      if (atEnd) atEnd.timers.armIn(everyMs, () => this.#end(atEnd.about));
    }
    if (++this.#lines > lines) {
      this.#leftOut++;
      return;
    }
    this.#world.log.emit(level, this.#leftOut > 0 ? `${text} (and ${this.#leftOut} more like it)` : text);
    this.#leftOut = 0;
  }

  #end(about: string): void {
    const count = this.#leftOut;
    this.#leftOut = 0;
    this.#endMs = -Infinity;
    if (count === 0) return;
    const seconds = this.#options.everyMs / 1000;
    this.#world.log.warning(`${count} more lines about ${about} were left out in ${seconds} s`);
  }
}
