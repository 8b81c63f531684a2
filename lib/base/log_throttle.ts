/** Log lines that come in floods, or that a remote peer can trigger: so many in a period, and the rest is counted. */

import type { Level } from "./log.ts";
import type { TimerHeap } from "./timer_heap.ts";
import type { World } from "./world.ts";

/** How many lines are written, and how it is told that there were more. */
export interface LogThrottleOptions {
  /** The length of a period, milliseconds. */
  readonly everyMs: number;
  /** Lines written in one; default 1. */
  readonly lines?: number;
  /**
   * If given, the number left out is written when a period ends, in a line that names them ("control messages"); else
   * it is appended to the next line.
   */
  readonly atEnd?: { readonly timers: TimerHeap; readonly about: string };
}

/** One kind of such lines. */
export class LogThrottle {
  readonly #world: Pick<World, "clock" | "log">;
  readonly #options: LogThrottleOptions;
  #endMs = -Infinity;
  #lines = 0;
  #leftOut = 0;

  /** Writes nothing yet, and arms nothing. */
  constructor(world: Pick<World, "clock" | "log">, options: LogThrottleOptions) {
    this.#world = world;
    this.#options = options;
  }

  /** Writes a line, or only counts it if there have been too many. */
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
