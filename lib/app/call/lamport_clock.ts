/**
 * The logical clock of events and remote control. Source: celery/kombu 5.2 clocks.py LamportClock;
 * protocol.md 7.5.
 */
export class LamportClock {
  #value = 0;

  /** The time now. */
  get value(): number {
    return this.#value;
  }

  /** Something happens here: one later; the new time. */
  forward(): number {
    return ++this.#value;
  }

  /** Someone else's time was heard: later than both. The new time. */
  adjust(other: number): number {
    if (Number.isFinite(other)) this.#value = Math.max(this.#value, other) + 1;
    return this.#value;
  }
}
