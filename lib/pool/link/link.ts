/**
 * The connection from the pool to one slot, implemented for processes and for isolates: sends bytes, receives
 * bytes, and ends the slot.
 */

import type { JournalReader } from "./journal.ts";
import type { SlotInit } from "./slot_message.ts";

/** How a slot ended. `signal` is a name such as "SIGKILL", or null. */
export interface SlotEnd {
  readonly code: number;
  readonly signal: string | null;
  /** The last lines of its stderr if it died before it was ready, else "". */
  readonly lastOutput: string;
  /** True for an isolate that could not be stopped and still runs in its process. */
  readonly isStuck?: boolean;
  /** How many jobs a concurrent slot had begun in total, if known. */
  readonly begun?: number;
}

/** What a link reports to its slot. */
export interface LinkEvents {
  /** Bytes from the slot, in pieces of any length; valid until the call returns. */
  onBytes(bytes: Uint8Array): void;
  /**
   * The slot has ended. Called once, after the last `onBytes`, and never from within another call on the
   * link.
   */
  onEnded(end: SlotEnd): void;
  /**
   * The slot's process is draining, because something in it cannot be stopped. Replace the slot when its jobs
   * have ended.
   */
  onDraining?(): void;
}

/** A running slot. */
export interface Link {
  /** Process id; for an isolate that of the process it runs in. */
  readonly pid: number;
  /** The slot's journal; null until it is open. Without it jobs are sent one by one. */
  readonly journal: JournalReader | null;
  /** Asks a ready slot to create a journal. No effect if the link supports none. */
  askJournal(): void;
  /** Opens the journal that the slot has created at `path`. */
  openJournal(path: string): void;
  /** Sends bytes in order; buffers them until the slot is connected. Never throws. */
  send(bytes: Uint8Array): void;
  /** Sends the slot a signal; "SIGKILL" always ends it. An isolate is ended by any signal. */
  kill(signal: string): void;
  /** Marks the slot's process as draining, after the slot has reported it (LinkEvents.onDraining). */
  drain?(): void;
  /** Frees remaining resources; called after `onEnded`. */
  release(): void;
}

/** Starts slots of one kind. */
export interface LinkFactory {
  /** Starts a slot. Failures are reported by `onEnded`. */
  open(init: Omit<SlotInit, "watchParent">, events: LinkEvents): Link;
  /** Prepares for a slot that may be opened soon, if that takes long. */
  prepare?(init: Omit<SlotInit, "watchParent">): void;
  /**
   * Called after all links have ended. Resolves when no process that the factory started is left. Idempotent.
   */
  close(): Promise<void>;
}
