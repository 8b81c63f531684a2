/** Lines of the log that strangers can cause: the first few of a while are written, the rest is counted. */

import type { Level, TimerHeap, World } from "../base/mod.ts";

/** Lines written in one while. */
const LINES_MAX = 20;
/** How long a while is. */
const WHILE_MS = 10_000;

/** One kind of such lines. */
export class Complaints {
  #world: World;
  #timers: TimerHeap;
  #about: string;
  #lines = 0;
  #leftOut = 0;

  /** `about` names them in the line that tells how many were left out: "control messages". */
  constructor(world: World, timers: TimerHeap, about: string) {
    this.#world = world;
    this.#timers = timers;
    this.#about = about;
  }

  /** Writes a line, or counts it where there have been too many. */
  tell(level: Level, text: string): void {
    if (this.#lines === 0) this.#timers.armIn(WHILE_MS, () => this.#end());
    if (++this.#lines <= LINES_MAX) this.#world.log.emit(level, text);
    else this.#leftOut++;
  }

  #end(): void {
    const count = this.#leftOut;
    this.#lines = 0;
    this.#leftOut = 0;
    if (count > 0) {
      this.#world.log.warning(
        `${count} more lines about ${this.#about} were left out in ${WHILE_MS / 1000} s`,
      );
    }
  }
}
