/** Promises that resolve when a condition has become true. */

/** A set of pending conditions. They are evaluated at each `check`. */
export class Waiters {
  #waiting: { isDone: () => boolean; resolve: () => void }[] = [];

  /** Resolves when `isDone` returns true. Evaluates it now, and at each `check`. */
  until(isDone: () => boolean): Promise<void> {
    if (isDone()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ isDone, resolve });
    return promise;
  }

  /** Evaluates the pending conditions. Call it after a change. */
  check(): void {
    if (this.#waiting.length === 0) return;
    const done = this.#waiting.filter((waiter) => waiter.isDone());
    if (done.length === 0) return;
    this.#waiting = this.#waiting.filter((waiter) => !done.includes(waiter));
    for (const waiter of done) waiter.resolve();
  }
}
