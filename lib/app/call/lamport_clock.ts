/**
 * The logical clock of events and remote control. Source: celery/kombu 5.2 clocks.py LamportClock;
 * protocol.md 7.5.
 */
export class LamportClock {
  #value = 0;

  /** The current logical time. */
  get value(): number {
    return this.#value;
  }

  /** Advances the clock by one, for a local event, and returns the new time. */
  forward(): number {
    return ++this.#value;
  }

  /** Advances the clock past a received time, and returns the new time. */
  adjust(other: number): number {
    if (Number.isFinite(other)) this.#value = Math.max(this.#value, other) + 1;
    return this.#value;
  }
}
