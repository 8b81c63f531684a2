/**
 * The journal of a slot: which frame it has begun, and the outcomes of that frame so far, in memory that outlives the
 * slot.
 *
 * A slot reports outcomes in batches. If it is killed, up to a millisecond of outcomes is lost with it, and the job
 * that ran could not be told from those behind it. So each outcome is appended to the journal at once, without a
 * promise, before the next job begins. For a child process the journal is a file whose name is removed at once (in
 * /dev/shm if there is one: 1.2 microseconds for a job), for an isolate a SharedArrayBuffer.
 *
 * The file also has a word that the parent writes: up to which frame it takes back jobs that have not begun. Each side
 * writes its own word before it reads the other's, so at most one of them claims a frame. If neither does, the slot
 * gives its jobs back.
 */

import type { World } from "../../base/mod.ts";
import { createAppendFile, type OpenFile, openToUpdate, removeFile } from "../../platform/mod.ts";
import { FRAME, FrameReader } from "./frame.ts";
import { decodeOutcome } from "./slot_message.ts";
import type { Outcome } from "../../app/mod.ts";

/** Outcomes above this many bytes are not journalled; the slot sends them at once instead. */
const JOURNAL_OUTCOME_MAX_BYTES = 64 * 1024;
const SHARED_BYTES = 256 * 1024;
/** The parent's word at the start of a file journal: 32 bits. What the slot writes comes after it. */
const PARENT_BYTES = 4;

/** The slot's side. */
export interface JournalWriter {
  /** Starts a frame and forgets the one before. */
  begin(frameNumber: number): void;
  /** Appends the outcome frame of a job that has ended. False if it was not kept. */
  append(outcomeFrame: Uint8Array): boolean;
  /** Whether the parent has taken a frame back; `begin` comes first. Absent if the journal has no parent's word. */
  isRecalled?(frameNumber: number): boolean;
  close(): void;
}

/** What the journal of a dead slot holds. */
export interface JournalRecord {
  /** The frame begun last. */
  readonly frameNumber: number;
  /** Outcomes of that frame, in order. */
  readonly outcomes: readonly Outcome[];
}

/** The parent's side. */
export interface JournalReader {
  /** Null if it is empty or cannot be read. */
  read(): JournalRecord | null;
  /** Takes a frame back. False: the slot may have begun it. Absent if the journal has no parent's word. */
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

/** Paths at which a child may make its journal, the best one first. */
export function journalPaths(world: World): string[] {
  const name = `lovage-${world.host.pid}-${world.random.id()}`;
  return ["/dev/shm", world.host.env("TMPDIR") ?? "/tmp"].map((folder) => `${folder}/${name}`);
}

/** Makes the journal on the child's side, in the first folder that allows it; null if none does. */
export function createFileJournal(paths: readonly string[]): { path: string; writer: JournalWriter } | null {
  for (const path of paths) {
    try {
      // Appending: after a truncation the next write is at the start again.
      return { path, writer: new FileJournalWriter(createAppendFile(path)) };
    } catch {
      continue; // The next folder may take it; without any the pool only knows less about a killed slot.
    }
  }
  return null;
}

/** Removes journals that were not opened, because the child died before. */
export function dropFileJournals(paths: readonly string[]): void {
  for (const path of paths) removeFile(path);
}

/** Opens a child's journal and removes its name, so that it ends with parent and child. Null if that fails. */
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
      return null; // A torn journal is not a journal: the caller then takes every job of the frame for begun.
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
      // Without a file nobody can tell whether the parent has it: who gives it back is never wrong.
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

  /** A full disk: a wrong journal is worse than an empty one. */
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

/** Memory for the journal of an isolate: two 32-bit words (frame number, bytes used), then the bytes. */
export function createSharedJournal(): SharedArrayBuffer {
  return new SharedArrayBuffer(8 + SHARED_BYTES);
}

/** The outcome frames in it, as they would have been sent; a copy. */
export function sharedJournalBytes(memory: SharedArrayBuffer): Uint8Array {
  const bytes = new Uint8Array(Atomics.load(new Int32Array(memory, 0, 2), 1));
  bytes.set(new Uint8Array(memory, 8, bytes.length));
  return bytes;
}

/** The parent's side of it. */
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

/** The isolate's side of it. */
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
      // The length last: a slot ended in the middle leaves no torn outcome.
      Atomics.store(words, 1, used + outcomeFrame.length);
      return true;
    },
    close(): void {},
  };
}
