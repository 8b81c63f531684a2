/** Promises that resolve when something has become true. */

/** Whoever waits; told to look by `check`. */
export class Waiters {
  #waiting: { isDone: () => boolean; resolve: () => void }[] = [];

  /** Resolves once `isDone` says so; looks now, and at each `check`. */
  until(isDone: () => boolean): Promise<void> {
    if (isDone()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ isDone, resolve });
    return promise;
  }

  /** Something has changed. */
  check(): void {
    if (this.#waiting.length === 0) return;
    const done = this.#waiting.filter((waiter) => waiter.isDone());
    if (done.length === 0) return;
    this.#waiting = this.#waiting.filter((waiter) => !done.includes(waiter));
    for (const waiter of done) waiter.resolve();
  }
}
