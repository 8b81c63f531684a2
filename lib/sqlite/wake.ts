/**
 * Wake files: processes that share a database tell each other through files beside it that there is something new. A
 * touch can be missed, so whoever relies on one also looks from time to time.
 */

import type { Clock } from "../base/mod.ts";
import { touchFile, type TouchWatch, watchTouches } from "../platform/mod.ts";

/** Touches wake files and watches those of other processes. */
export class WakeFiles {
  readonly #clock: Clock;
  readonly #onTouch: (path: string) => void;
  readonly #paths = new Set<string>();
  #watch: TouchWatch | null = null;

  /** `onTouch` is called with the path of a watched file, also for touches of our own. */
  constructor(clock: Clock, onTouch: (path: string) => void) {
    this.#clock = clock;
    this.#onTouch = onTouch;
  }

  /** Wakes whoever watches a file. Never throws. */
  touch(path: string): void {
    touchFile(path, this.#clock.wallMs());
  }

  /**
   * Watches files in addition to those watched already. Throws OperatingError if the system has no watch left; then
   * no file is watched any more.
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

  /** Ends the watch. `watch` begins anew. */
  close(): void {
    this.#paths.clear();
    this.#watch?.close();
    this.#watch = null;
  }
}
