/**
 * Measures the memory of one sandboxed isolate from outside it.
 *
 * V8 can limit a heap, but reaching that limit ends the whole process, and Deno does not offer a limit for a
 * Worker. So the isolate reports the size of its heap whenever its event loop turns. While it does not turn
 * (a busy loop), the growth of the process is used as an estimate. The estimate is exact if the isolate is
 * the only one of its process that works, as in a pool process. If others work at the same time, or an ended
 * isolate went on for a while, the isolate is ended only when the process has grown by more than twice the
 * limit and some slack.
 *
 * V8 does not count everything: a database in memory, Blobs, memory of a native module. If the isolate works
 * alone, the growth of the process beyond the heaps of the two isolates is counted as its own too.
 */

import type { World } from "../../base/mod.ts";
import { collectGarbage, countedBytes, heapBytes } from "../../platform/mod.ts";

/** Milliseconds between two measurements, in the isolate and outside it. */
const MEASURE_MS = 20;
/** Milliseconds without a report after which the isolate is taken to be in a busy loop. */
const SILENT_MS = 60;
/**
 * Growth of a process that is not blamed on an isolate, KiB: if the isolate works alone, and if others work
 * too.
 */
const SLACK_KIB = 16 * 1024;
const SLACK_SHARED_KIB = 64 * 1024;

/** Indices of the shared words: KiB grown since loading, and number of reports; */
const GROWN = 0;
const REPORTS = 1;
/** KiB that V8 counts in the isolate, and 1 if garbage must be collected before the next report. */
const COUNTED = 2;
const COLLECT = 3;

/** Allocates the shared words. */
export function createHeapWords(): SharedArrayBuffer {
  return new SharedArrayBuffer(16);
}

/**
 * The isolate's end. `begin` records the heap before any task. Call `touch` when a task begins: then the heap
 * is reported until `isBusy` returns false.
 */
export class HeapReporter {
  #world: World;
  #words: Int32Array;
  #limitKib: number;
  #isBusy: () => boolean;
  #baseKib = 0;
  #isArmed = false;

  constructor(world: World, words: SharedArrayBuffer, limitKib: number, isBusy: () => boolean) {
    this.#world = world;
    this.#words = new Int32Array(words);
    this.#limitKib = limitKib;
    this.#isBusy = isBusy;
  }

  begin(): void {
    collectGarbage();
    this.#baseKib = heapBytes() / 1024;
    this.#report();
  }

  touch(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#world.clock.arm(this.#world.clock.monoMs() + MEASURE_MS, () => {
      this.#isArmed = false;
      this.#report();
      if (this.#isBusy()) this.touch();
    });
  }

  #report(): void {
    let grown = heapBytes() / 1024 - this.#baseKib;
    if (grown > this.#limitKib || Atomics.load(this.#words, COLLECT) === 1) {
      // Garbage does not count against the task.
      collectGarbage();
      grown = heapBytes() / 1024 - this.#baseKib;
    }
    Atomics.store(this.#words, GROWN, Math.max(0, Math.ceil(grown)));
    Atomics.store(this.#words, COUNTED, Math.ceil(countedBytes() / 1024));
    Atomics.store(this.#words, COLLECT, 0);
    Atomics.add(this.#words, REPORTS, 1);
  }
}

/** The watching end. */
export class HeapWatch {
  #world: World;
  #words: Int32Array;
  #limitKib: number;
  #isShared: boolean;
  #isOtherDying: () => boolean;
  #isBusy: () => boolean;
  #onExceeded: () => void;
  #reports = 0;
  #reportedMs = 0;
  /**
   * Resident bytes of the process at the last report, or the minimum since then while an ended isolate was
   * dying.
   */
  #rssAtReport = 0;
  /** True if `#rssAtReport` is uncertain, because memory of a dying isolate may have been a part of it. */
  #isBaseUncertain = false;
  /**
   * KiB that V8 did not count when the task began (null: not measured), and KiB of such memory left by
   * earlier tasks.
   */
  #uncountedBase: number | null = null;
  #uncountedLeft = 0;
  /** True if the isolate was asked to collect garbage; then the memory is checked again. */
  #isAsked = false;
  /** Disarms the next check; null if nothing is watched. */
  #disarm: (() => void) | null = null;
  #isClosed = false;

  constructor(
    world: World,
    options: {
      words: SharedArrayBuffer;
      limitKib: number;
      isShared: boolean;
      /** Returns true while an isolate that was ended earlier may still allocate in this process. */
      isOtherDying: () => boolean;
      isBusy: () => boolean;
      onExceeded: () => void;
    },
  ) {
    this.#world = world;
    this.#words = new Int32Array(options.words);
    this.#limitKib = options.limitKib;
    this.#isShared = options.isShared;
    this.#isOtherDying = options.isOtherDying;
    this.#isBusy = options.isBusy;
    this.#onExceeded = options.onExceeded;
  }

  /** KiB that the isolate holds beyond what was loaded, as far as known. */
  get grownKib(): number {
    return this.#reportedKib + this.#uncountedKib();
  }

  /** KiB of the last report, and KiB left by its earlier tasks that V8 does not count. */
  get #reportedKib(): number {
    return Atomics.load(this.#words, GROWN) + this.#uncountedLeft;
  }

  /** Starts watching, when a task begins. */
  touch(): void {
    if (this.#disarm !== null || this.#isClosed) return;
    this.#noteReport();
    this.#uncountedKib();
    this.#arm();
  }

  close(): void {
    this.#isClosed = true;
    this.#disarm?.();
    this.#disarm = null;
  }

  #arm(): void {
    this.#disarm = this.#world.clock.arm(this.#world.clock.monoMs() + MEASURE_MS, () => {
      this.#disarm = null;
      if (!this.#isBusy()) return this.#rest();
      if (this.#isExceeded()) this.#onExceeded();
      else this.#arm();
    });
  }

  #noteReport(): void {
    this.#reports = Atomics.load(this.#words, REPORTS);
    this.#reportedMs = this.#world.clock.monoMs();
    this.#rssAtReport = this.#world.host.rssBytes();
    this.#isBaseUncertain = this.#isOtherDying();
  }

  /** Adds the uncounted memory that ended tasks have left, which still belongs to the isolate. */
  #rest(): void {
    this.#uncountedLeft += this.#uncountedKib();
    this.#uncountedBase = null;
    this.#isAsked = false;
  }

  /**
   * Returns the KiB by which the process has grown since the tasks began, beyond the heaps that V8 counts and
   * some slack.
   */
  #uncountedKib(): number {
    // If others work in this process, the growth cannot be assigned.
    if (this.#isShared || Atomics.load(this.#words, REPORTS) === 0) return 0;
    const counted = Atomics.load(this.#words, COUNTED) + countedBytes() / 1024;
    const uncounted = this.#world.host.rssBytes() / 1024 - counted;
    this.#uncountedBase ??= uncounted;
    if (this.#isOtherDying()) {
      // The ended isolate will free its memory; what it allocates until then is not counted here.
      this.#uncountedBase = Math.min(this.#uncountedBase, uncounted);
      return 0;
    }
    return Math.max(0, Math.floor(uncounted - this.#uncountedBase - SLACK_KIB));
  }

  /** Returns true if memory that V8 does not count exceeds the limit even after a garbage collection. */
  #isUncountedExceeded(): boolean {
    if (this.grownKib <= this.#limitKib) {
      this.#isAsked = false;
      return false;
    }
    if (this.#isAsked) return Atomics.load(this.#words, COLLECT) === 0;
    this.#isAsked = true;
    Atomics.store(this.#words, COLLECT, 1);
    return false;
  }

  #isExceeded(): boolean {
    const grown = this.#reportedKib;
    if (grown > this.#limitKib) return true;
    if (Atomics.load(this.#words, REPORTS) !== this.#reports) {
      this.#noteReport();
      return this.#isUncountedExceeded();
    }
    const rss = this.#world.host.rssBytes();
    if (this.#isOtherDying()) {
      // Neither blame this isolate nor keep the old base: the dying isolate will end soon and free its
      // memory.
      this.#rssAtReport = Math.min(this.#rssAtReport, rss);
      this.#isBaseUncertain = true;
      return false;
    }
    // No report has come yet: the isolate is still loading.
    if (this.#reports === 0 || this.#world.clock.monoMs() - this.#reportedMs < SILENT_MS) return false;
    const guess = grown + (rss - this.#rssAtReport) / 1024;
    const isSure = !this.#isShared && !this.#isBaseUncertain;
    return guess > (isSure ? this.#limitKib + SLACK_KIB : this.#limitKib * 2 + SLACK_SHARED_KIB);
  }
}
