/**
 * The memory of one sandboxed isolate, watched from beside it.
 *
 * V8 knows a limit for a heap, and reaching it ends the whole process; Deno hands none to a Worker. So the isolate
 * tells its heap whenever its loop turns, and while it does not turn (a busy loop) the growth of the process stands
 * for it. That is exact where the isolate is the only one of its process that works, as in a pool process; where
 * others work beside it, or one that was ended went on for a while, twice the limit and some is let pass before the
 * blame is laid.
 *
 * V8 does not count everything: a database in memory, Blobs, what a module of C holds. Where the isolate works alone,
 * what the process has grown by beyond the heaps of the two is its own as well.
 */

import type { World } from "../../base/mod.ts";
import { collectGarbage, countedBytes, heapBytes } from "../../platform/mod.ts";

/** Milliseconds between two measurements, on either side. */
const LOOK_MS = 20;
/** Milliseconds without a word from the isolate after which it is taken to be busy. */
const SILENT_MS = 60;
/** What a process may grow by without any isolate's fault, KiB: alone, and beside others. */
const SLACK_KIB = 16 * 1024;
const SLACK_SHARED_KIB = 64 * 1024;

/** The words: KiB grown since everything was loaded, how often that was told, */
const GROWN = 0;
const BEAT = 1;
/** all that V8 counts in the isolate, KiB, and 1 where garbage is to be collected before the next telling. */
const COUNTED = 2;
const ASKED = 3;

/** Memory for the words. */
export function createHeapWords(): SharedArrayBuffer {
  return new SharedArrayBuffer(16);
}

/**
 * The isolate's side. Call `touch` when a task begins: from then on the heap is told until `isBusy` says no.
 * `begin` sets what the program itself takes.
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
    this.#deliver();
  }

  touch(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#world.clock.arm(this.#world.clock.monoMs() + LOOK_MS, () => {
      this.#isArmed = false;
      this.#deliver();
      if (this.#isBusy()) this.touch();
    });
  }

  #deliver(): void {
    let grown = heapBytes() / 1024 - this.#baseKib;
    if (grown > this.#limitKib || Atomics.load(this.#words, ASKED) === 1) {
      // What nobody holds any more is not the task's.
      collectGarbage();
      grown = heapBytes() / 1024 - this.#baseKib;
    }
    Atomics.store(this.#words, GROWN, Math.max(0, Math.ceil(grown)));
    Atomics.store(this.#words, COUNTED, Math.ceil(countedBytes() / 1024));
    Atomics.store(this.#words, ASKED, 0);
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
  /** Of the process when it was heard last, or the least since, while what was ended went on. */
  #rssAtBeat = 0;
  /** The line above is a guess: what was ended before may have been a part of it. */
  #isRough = false;
  /** What V8 did not count when the task began, and what earlier ones have left of it, KiB; null: nothing is known. */
  #uncountedBase: number | null = null;
  #uncountedLeft = 0;
  /** It was asked to collect its garbage, and this is to be looked at again. */
  #isAsked = false;
  /** Disarms the next look; null: nothing is watched. */
  #disarm: (() => void) | null = null;
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

  /** KiB that it holds beyond what was loaded, as far as is known. */
  get grownKib(): number {
    return this.#reportedKib + this.#uncountedKib();
  }

  /** What was told last, and what its earlier tasks have left that V8 does not count. */
  get #reportedKib(): number {
    return Atomics.load(this.#words, GROWN) + this.#uncountedLeft;
  }

  /** A task begins. */
  touch(): void {
    if (this.#disarm !== null || this.#isClosed) return;
    this.#heard();
    this.#uncountedKib();
    this.#arm();
  }

  close(): void {
    this.#isClosed = true;
    this.#disarm?.();
    this.#disarm = null;
  }

  #arm(): void {
    this.#disarm = this.#world.clock.arm(this.#world.clock.monoMs() + LOOK_MS, () => {
      this.#disarm = null;
      if (!this.#isBusy()) return this.#rest();
      if (this.#isExceeded()) this.#onExceeded();
      else this.#arm();
    });
  }

  #heard(): void {
    this.#beat = Atomics.load(this.#words, BEAT);
    this.#beatMs = this.#world.clock.monoMs();
    this.#rssAtBeat = this.#world.host.rssBytes();
    this.#isRough = this.#isBlurred();
  }

  /** Its tasks have ended: what they have left stays theirs. */
  #rest(): void {
    this.#uncountedLeft += this.#uncountedKib();
    this.#uncountedBase = null;
    this.#isAsked = false;
  }

  /** KiB that its process has grown by since its tasks began, beyond what V8 counts here and there, and some. */
  #uncountedKib(): number {
    // Where others work beside it nobody knows whose it is.
    if (this.#isShared || Atomics.load(this.#words, BEAT) === 0) return 0;
    const counted = Atomics.load(this.#words, COUNTED) + countedBytes() / 1024;
    const uncounted = this.#world.host.rssBytes() / 1024 - counted;
    this.#uncountedBase ??= uncounted;
    if (this.#isBlurred()) {
      // What was ended gives back what it has; what it takes until then is not this one's.
      this.#uncountedBase = Math.min(this.#uncountedBase, uncounted);
      return 0;
    }
    return Math.max(0, Math.floor(uncounted - this.#uncountedBase - SLACK_KIB));
  }

  /** Whether what V8 does not count makes it too much, when nothing is left that nobody holds. */
  #isUncountedExceeded(): boolean {
    if (this.grownKib <= this.#limitKib) {
      this.#isAsked = false;
      return false;
    }
    if (this.#isAsked) return Atomics.load(this.#words, ASKED) === 0;
    this.#isAsked = true;
    Atomics.store(this.#words, ASKED, 1);
    return false;
  }

  #isExceeded(): boolean {
    const grown = this.#reportedKib;
    if (grown > this.#limitKib) return true;
    if (Atomics.load(this.#words, BEAT) !== this.#beat) {
      this.#heard();
      return this.#isUncountedExceeded();
    }
    const rss = this.#world.host.rssBytes();
    if (this.#isBlurred()) {
      // Nobody is blamed yet, and nothing forgotten: what was ended is gone soon, and its memory with it.
      this.#rssAtBeat = Math.min(this.#rssAtBeat, rss);
      this.#isRough = true;
      return false;
    }
    // Nothing was told at all: it is loading still.
    if (this.#beat === 0 || this.#world.clock.monoMs() - this.#beatMs < SILENT_MS) return false;
    const guess = grown + (rss - this.#rssAtBeat) / 1024;
    const isSure = !this.#isShared && !this.#isRough;
    return guess > (isSure ? this.#limitKib + SLACK_KIB : this.#limitKib * 2 + SLACK_SHARED_KIB);
  }
}
