/**
 * The memory of one sandboxed isolate, watched from beside it.
 *
 * V8 knows a limit for a heap, and reaching it ends the whole process; Deno hands none to a Worker. So the isolate
 * tells its heap whenever its loop turns, and while it does not turn (a busy loop) the growth of the process stands
 * for it. That is exact where the isolate is the only one of its process that works, as in a pool process; where
 * others work beside it, twice the limit and some is let pass before the blame is laid.
 */

import type { World } from "../base/mod.ts";
import { collectGarbage, heapBytes } from "../platform/mod.ts";

/** Milliseconds between two measurements, on either side. */
const LOOK_MS = 20;
/** Milliseconds without a word from the isolate after which it is taken to be busy. */
const SILENT_MS = 60;
/** What a process may grow by without any isolate's fault, KiB: alone, and beside others. */
const SLACK_KIB = 16 * 1024;
const SLACK_SHARED_KIB = 64 * 1024;

const GROWN = 0;
const BEAT = 1;

/** Memory for the two words: KiB grown since everything was loaded, and how often that was told. */
export function createHeapWords(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

/**
 * The isolate's side. Call `touch` when a task begins: from then on the heap is told until `isBusy` says no.
 * `begin` sets what the program itself takes.
 */
export class HeapTeller {
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
    this.#tell();
  }

  touch(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#world.clock.arm(this.#world.clock.monoMs() + LOOK_MS, () => {
      this.#isArmed = false;
      this.#tell();
      if (this.#isBusy()) this.touch();
    });
  }

  #tell(): void {
    let grown = heapBytes() / 1024 - this.#baseKib;
    if (grown > this.#limitKib) {
      // What nobody holds any more is not the task's.
      collectGarbage();
      grown = heapBytes() / 1024 - this.#baseKib;
    }
    Atomics.store(this.#words, GROWN, Math.max(0, Math.ceil(grown)));
    Atomics.add(this.#words, BEAT, 1);
  }
}

/** The side that watches. */
export class HeapWatch {
  #world: World;
  #words: Int32Array;
  #limitKib: number;
  #isShared: boolean;
  #isBlurred: () => boolean;
  #isBusy: () => boolean;
  #onExceeded: () => void;
  #beat = 0;
  #beatMs = 0;
  #rssAtBeat = 0;
  #isArmed = false;
  #isClosed = false;

  constructor(
    world: World,
    options: {
      words: SharedArrayBuffer;
      limitKib: number;
      isShared: boolean;
      /** True while the process may grow by what was ended before. */
      isBlurred: () => boolean;
      isBusy: () => boolean;
      onExceeded: () => void;
    },
  ) {
    this.#world = world;
    this.#words = new Int32Array(options.words);
    this.#limitKib = options.limitKib;
    this.#isShared = options.isShared;
    this.#isBlurred = options.isBlurred;
    this.#isBusy = options.isBusy;
    this.#onExceeded = options.onExceeded;
  }

  /** KiB told last. */
  get grownKib(): number {
    return Atomics.load(this.#words, GROWN);
  }

  /** A task begins. */
  touch(): void {
    if (this.#isArmed || this.#isClosed) return;
    this.#heard();
    this.#arm();
  }

  close(): void {
    this.#isClosed = true;
  }

  #arm(): void {
    this.#isArmed = true;
    this.#world.clock.arm(this.#world.clock.monoMs() + LOOK_MS, () => {
      this.#isArmed = false;
      if (this.#isClosed || !this.#isBusy()) return;
      if (this.#isExceeded()) this.#onExceeded();
      else this.#arm();
    });
  }

  #heard(): void {
    this.#beat = Atomics.load(this.#words, BEAT);
    this.#beatMs = this.#world.clock.monoMs();
    this.#rssAtBeat = this.#world.host.rssBytes();
  }

  #isExceeded(): boolean {
    const grown = this.grownKib;
    if (grown > this.#limitKib) return true;
    if (Atomics.load(this.#words, BEAT) !== this.#beat || this.#isBlurred()) {
      this.#heard();
      return false;
    }
    // Nothing was told at all: it is loading still.
    if (this.#beat === 0 || this.#world.clock.monoMs() - this.#beatMs < SILENT_MS) return false;
    const guess = grown + (this.#world.host.rssBytes() - this.#rssAtBeat) / 1024;
    return guess > (this.#isShared ? this.#limitKib * 2 + SLACK_SHARED_KIB : this.#limitKib + SLACK_KIB);
  }
}
