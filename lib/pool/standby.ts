/**
 * Slots that are loaded before those that they will stand in for have had their number of tasks: a recycled slot is
 * not missed while its successor comes up.
 */

import type { Slot } from "./slot.ts";

/** How long a slot takes to load, until one was measured. */
const LOAD_FIRST_MS = 500;
/** One standby slot for so many slots, and always one. */
const SLOTS_PER_STANDBY = 4;

/** The standby slots of one pool. They are among its slots, marked, and are given no jobs. */
export class Standby {
  #maxTasks: number;
  #open: () => Slot;
  #nowMs: () => number;
  #slots: Slot[] = [];
  #loadMs = LOAD_FIRST_MS;
  /** One could not start: none is tried again before another slot could. */
  #isBarred = false;

  /** `maxTasks`: of one slot; null: none is ever recycled. `open` opens a slot of the pool. */
  constructor(maxTasks: number | null, open: () => Slot, nowMs: () => number) {
    this.#maxTasks = maxTasks ?? Infinity;
    this.#open = open;
    this.#nowMs = nowMs;
  }

  /** A slot is up, on standby or not. */
  onReady(slot: Slot): void {
    this.#loadMs = (this.#loadMs + this.#nowMs() - slot.openedMs) / 2;
    this.#isBarred = false;
  }

  /** Opens what the slots, of which some are at their end, will soon need. Cheap where nothing is recycled. */
  consider(slots: readonly Slot[]): void {
    if (this.#maxTasks === Infinity || this.#isBarred) return;
    let due = 0, inService = 0;
    for (const slot of slots) {
      if (slot.isStandby) continue;
      inService++;
      if (slot.isFeedable && this.#isDue(slot)) due++;
    }
    const wanted = Math.min(due, Math.max(1, Math.floor(inService / SLOTS_PER_STANDBY)));
    while (this.#slots.length < wanted) {
      const spare = this.#open();
      spare.isStandby = true;
      this.#slots.push(spare);
    }
  }

  /** How many there are. */
  get size(): number {
    return this.#slots.length;
  }

  /** One beyond those: a slot will perhaps have to be replaced. Null if one is on standby already. */
  standBy(): Slot | null {
    if (this.#slots.length > 0 || this.#isBarred) return null;
    const spare = this.#open();
    spare.isStandby = true;
    this.#slots.push(spare);
    return spare;
  }

  /** One to go into service, the first that is up if any is; null where there is none. */
  take(): Slot | null {
    const spare = this.#slots.find((slot) => slot.state === "ready") ?? this.#slots[0];
    if (spare === undefined) return null;
    this.#slots.splice(this.#slots.indexOf(spare), 1);
    spare.isStandby = false;
    spare.inServiceMs = this.#nowMs();
    return spare;
  }

  /** It has ended or is to end. `isFailure`: it could not start. */
  drop(slot: Slot, isFailure: boolean): void {
    const at = this.#slots.indexOf(slot);
    if (at >= 0) this.#slots.splice(at, 1);
    if (isFailure) this.#isBarred = true;
  }

  /** Whether its last jobs will have ended before a new slot could be up. */
  #isDue(slot: Slot): boolean {
    const left = this.#maxTasks - slot.sent;
    if (left <= 1) return true;
    if (slot.sent === 0) return false;
    return left * (this.#nowMs() - slot.inServiceMs) / slot.sent < this.#loadMs * 2;
  }
}
