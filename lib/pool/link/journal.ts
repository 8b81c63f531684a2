/**
 * The journal of a slot: which frame it has begun, and the outcomes of that frame so far, in memory that
 * outlives the slot.
 *
 * A slot reports outcomes in batches. If it is killed, up to a millisecond of outcomes is lost with it, and
 * the running job could not be told from those behind it. So each outcome is appended to the journal at once,
 * without a promise, before the next job begins. For a child process the journal is a file whose name is
 * removed at once (in /dev/shm if that exists: 1.2 microseconds per job), for an isolate a SharedArrayBuffer.
 *
 * The file also has a word that the parent writes: the number of the last frame from which it takes back
 * unbegun jobs. Each side writes its own word before it reads the other's, so at most one of them claims a
 * frame. If neither does, the slot returns the jobs.
 */

import type { World } from "../../base/mod.ts";
import { createAppendFile, type OpenFile, openToUpdate, removeFile } from "../../platform/mod.ts";
import { FRAME, FrameReader } from "./frame.ts";
import { decodeOutcome } from "./slot_message.ts";
import type { Outcome } from "../../app/mod.ts";

/** Larger outcomes, in bytes, are not journalled; the slot sends them at once instead. */
const JOURNAL_OUTCOME_MAX_BYTES = 64 * 1024;
const SHARED_BYTES = 256 * 1024;
/** Length of the parent's word at the start of a file journal. The slot's data follows it. */
const PARENT_BYTES = 4;

/** The slot's end of a journal. */
export interface JournalWriter {
  /** Starts a frame and discards the outcomes of the previous one. */
  begin(frameNumber: number): void;
  /** Appends the outcome frame of a job that has ended. Returns false if it was not journalled. */
  append(outcomeFrame: Uint8Array): boolean;
  /**
   * Returns true if the parent has taken a frame back; call `begin` before. Absent if the journal has no
   * parent's word.
   */
  isRecalled?(frameNumber: number): boolean;
  close(): void;
}

/** The content of a dead slot's journal. */
export interface JournalRecord {
  /** The number of the frame that was begun last. */
  readonly frameNumber: number;
  /** Outcomes of that frame, in order. */
  readonly outcomes: readonly Outcome[];
}

/** The parent's end of a journal. */
export interface JournalReader {
  /** Returns null if the journal is empty or cannot be read. */
  read(): JournalRecord | null;
  /**
   * Takes a frame back. Returns false if the slot may have begun it. Absent if the journal has no parent's
   * word.
   */
  recall?(frameNumber: number): boolean;
  close(): void;
}

function decodeJournal(bytes: Uint8Array): JournalRecord | null {
  if (bytes.length < 4) return null;
  const frameNumber = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const outcomes: Outcome[] = [];
  new FrameReader().feed(bytes.subarray(4), (frame) => {
    if (frame.type === FRAME.outcome) outcomes.push(decodeOutcome(frame));
  });
  return { frameNumber, outcomes };
}

/** Returns paths at which a child may create its journal, the best one first. */
export function journalPaths(world: World): string[] {
  const name = `lovage-${world.host.pid}-${world.random.id()}`;
  return ["/dev/shm", world.host.env("TMPDIR") ?? "/tmp"].map((folder) => `${folder}/${name}`);
}

/** Creates the journal in the child, in the first folder that allows it. Returns null if none does. */
export function createFileJournal(paths: readonly string[]): { path: string; writer: JournalWriter } | null {
  for (const path of paths) {
    try {
      // Append mode: after a truncation the next write is at the new end.
      return { path, writer: new FileJournalWriter(createAppendFile(path)) };
    } catch {
      continue; // Try the next folder; without a journal the pool only knows less about a killed slot.
    }
  }
  return null;
}

/** Removes journals that were never opened because the child died. */
export function dropFileJournals(paths: readonly string[]): void {
  for (const path of paths) removeFile(path);
}

/**
 * Opens a child's journal and removes its name, so that it vanishes with parent and child. Returns null if
 * that fails.
 */
export function openFileJournal(path: string): JournalReader | null {
  try {
    const file = openToUpdate(path);
    removeFile(path);
    return new FileJournalReader(file);
  } catch {
    return null;
  }
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

class FileJournalReader implements JournalReader {
  #file: OpenFile | null;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  read(): JournalRecord | null {
    if (this.#file === null) return null;
    try {
      return decodeJournal(this.#file.readAll().subarray(PARENT_BYTES));
    } catch {
      return null; // Ignore a torn journal: the caller then counts every job of the frame as begun.
    }
  }

  recall(frameNumber: number): boolean {
    try {
      this.#file?.writeAt(0, word(frameNumber));
    } catch {
      return false;
    }
    const record = this.read();
    return record !== null && record.frameNumber < frameNumber;
  }

  close(): void {
    this.#file?.close();
    this.#file = null;
  }
}

class FileJournalWriter implements JournalWriter {
  #file: OpenFile | null;
  #word = new Uint8Array(PARENT_BYTES);

  constructor(file: OpenFile) {
    this.#file = file;
  }

  begin(frameNumber: number): void {
    if (this.#file === null) return;
    try {
      this.#file.cut(PARENT_BYTES);
      this.#file.write(word(frameNumber));
    } catch {
      this.#giveUp();
    }
  }

  isRecalled(frameNumber: number): boolean {
    try {
      // If the word cannot be read, assume that the parent has taken the frame back: returning the jobs is
      // always safe.
      if (this.#file?.readAt(0, this.#word) !== PARENT_BYTES) return true;
    } catch {
      return true;
    }
    return new DataView(this.#word.buffer).getUint32(0, true) >= frameNumber;
  }

  append(outcomeFrame: Uint8Array): boolean {
    if (this.#file === null || outcomeFrame.length > JOURNAL_OUTCOME_MAX_BYTES) return false;
    try {
      return this.#file.write(outcomeFrame) === outcomeFrame.length;
    } catch {
      this.#giveUp();
      return false;
    }
  }

  /** Empties and closes the journal, when the disk is full: a wrong journal is worse than an empty one. */
  #giveUp(): void {
    try {
      this.#file?.cut(0);
    } catch {
      // Nothing more can be done with it.
    }
    this.close();
  }

  close(): void {
    this.#file?.close();
    this.#file = null;
  }
}

/** Allocates the journal of an isolate: two 32-bit words (frame number, bytes used), then the data. */
export function createSharedJournal(): SharedArrayBuffer {
  return new SharedArrayBuffer(8 + SHARED_BYTES);
}

/** Returns a copy of the outcome frames in a shared journal, as they would have been sent. */
export function sharedJournalBytes(memory: SharedArrayBuffer): Uint8Array {
  const bytes = new Uint8Array(Atomics.load(new Int32Array(memory, 0, 2), 1));
  bytes.set(new Uint8Array(memory, 8, bytes.length));
  return bytes;
}

/** The parent's end of a shared journal. */
export function sharedJournalReader(memory: SharedArrayBuffer): JournalReader {
  const words = new Int32Array(memory, 0, 2);
  return {
    read(): JournalRecord | null {
      if (Atomics.load(words, 0) === 0) return null;
      const used = Atomics.load(words, 1);
      const bytes = new Uint8Array(4 + used);
      new DataView(bytes.buffer).setUint32(0, Atomics.load(words, 0), true);
      bytes.set(new Uint8Array(memory, 8, used), 4);
      return decodeJournal(bytes);
    },
    close(): void {},
  };
}

/** The isolate's end of a shared journal. */
export function sharedJournalWriter(memory: SharedArrayBuffer): JournalWriter {
  const words = new Int32Array(memory, 0, 2);
  const bytes = new Uint8Array(memory, 8);
  return {
    begin(frameNumber: number): void {
      Atomics.store(words, 1, 0);
      Atomics.store(words, 0, frameNumber);
    },
    append(outcomeFrame: Uint8Array): boolean {
      const used = Atomics.load(words, 1);
      if (used + outcomeFrame.length > SHARED_BYTES) return false;
      bytes.set(outcomeFrame, used);
      // Store the length last: if the slot is ended in the middle, no torn outcome is visible.
      Atomics.store(words, 1, used + outcomeFrame.length);
      return true;
    },
    close(): void {},
  };
}
