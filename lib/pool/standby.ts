/**
 * Slots that are started before they are needed, to replace slots that reach their maximum number of tasks.
 * So a recycled slot leaves no gap while its successor starts.
 */

import type { Slot } from "./slot.ts";

/** Assumed milliseconds that a slot takes to load, until that has been measured. */
const LOAD_FIRST_MS = 500;
/** One standby slot for this many slots, and at least one. */
const SLOTS_PER_STANDBY = 4;

/**
 * The standby slots of one pool. They are also in the pool's list of slots, marked `isStandby`, and get no
 * jobs.
 */
export class Standby {
  #maxTasks: number;
  #open: () => Slot;
  #nowMs: () => number;
  #slots: Slot[] = [];
  #loadMs = LOAD_FIRST_MS;
  /** True after a standby slot failed to start: no other is opened until some slot has started. */
  #isBarred = false;

  /** `maxTasks`: per slot; null: slots are never recycled. `open` opens a slot of the pool. */
  constructor(maxTasks: number | null, open: () => Slot, nowMs: () => number) {
    this.#maxTasks = maxTasks ?? Infinity;
    this.#open = open;
    this.#nowMs = nowMs;
  }

  /** Call it when a slot is ready, standby or not. Updates the measured load time. */
  onReady(slot: Slot): void {
    this.#loadMs = (this.#loadMs + this.#nowMs() - slot.openedMs) / 2;
    this.#isBarred = false;
  }

  /**
   * Opens standby slots for those of `slots` that will soon reach their limit. Cheap if slots are not
   * recycled.
   */
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
      const standby = this.#open();
      standby.isStandby = true;
      this.#slots.push(standby);
    }
  }

  /** Number of standby slots. */
  get size(): number {
    return this.#slots.length;
  }

  /**
   * Opens a standby slot for a slot that may have to be replaced. Returns null if there is a standby slot
   * already.
   */
  standBy(): Slot | null {
    if (this.#slots.length > 0 || this.#isBarred) return null;
    const standby = this.#open();
    standby.isStandby = true;
    this.#slots.push(standby);
    return standby;
  }

  /** Takes a standby slot into service, a ready one if there is any. Returns null if there is none. */
  take(): Slot | null {
    const standby = this.#slots.find((slot) => slot.state === "ready") ?? this.#slots[0];
    if (standby === undefined) return null;
    this.#slots.splice(this.#slots.indexOf(standby), 1);
    standby.isStandby = false;
    standby.inServiceMs = this.#nowMs();
    return standby;
  }

  /** Removes a slot that has ended or will end. `isFailure`: it could not start. */
  drop(slot: Slot, isFailure: boolean): void {
    const at = this.#slots.indexOf(slot);
    if (at >= 0) this.#slots.splice(at, 1);
    if (isFailure) this.#isBarred = true;
  }

  /** Returns true if its last jobs will probably end before a new slot could be ready. */
  #isDue(slot: Slot): boolean {
    const left = this.#maxTasks - slot.sent;
    if (left <= 1) return true;
    if (slot.sent === 0) return false;
    return left * (this.#nowMs() - slot.inServiceMs) / slot.sent < this.#loadMs * 2;
  }
}
