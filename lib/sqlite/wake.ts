/**
 * Wake files: processes that share a database notify each other of new entries by touching files next to it.
 * A touch can be missed, so a waiting process must also check from time to time.
 */

import type { Clock } from "../base/mod.ts";
import { touchFile, type TouchWatch, watchTouches } from "../platform/mod.ts";

/** Touches and watches wake files. */
export class WakeFiles {
  readonly #clock: Clock;
  readonly #onTouch: (path: string) => void;
  readonly #paths = new Set<string>();
  #watch: TouchWatch | null = null;

  /** `onTouch` is called with the path of a touched file, even if this process touched it. */
  constructor(clock: Clock, onTouch: (path: string) => void) {
    this.#clock = clock;
    this.#onTouch = onTouch;
  }

  /** Wakes the processes that watch a file. Never throws. */
  touch(path: string): void {
    touchFile(path, this.#clock.wallMs());
  }

  /**
   * Adds files to those that are watched. Throws OperatingError if the system has no watches left; then
   * nothing is watched any more.
   */
  watch(paths: Iterable<string>): void {
    const before = this.#paths.size;
    for (const path of paths) this.#paths.add(path);
    if (this.#paths.size === before) return;
    const replaced = this.#watch;
    this.#watch = null;
    try {
      this.#watch = watchTouches([...this.#paths], this.#onTouch);
    } finally {
      replaced?.close();
    }
  }

  /** Ends the watch. `watch` may be called again. */
  close(): void {
    this.#paths.clear();
    this.#watch?.close();
    this.#watch = null;
  }
}
