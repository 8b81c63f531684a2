/**
 * The parent's end of one slot, as far as processes and isolates differ: sending bytes, hearing bytes,
 * ending it.
 */

import type { JournalReader } from "./journal.ts";
import type { SlotInit } from "./slot_message.ts";

/** How a slot ended. `signal` is a name such as "SIGKILL", or null. */
export interface SlotEnd {
  readonly code: number;
  readonly signal: string | null;
  /** What it said last on stderr where it died before it was ready, else "". */
  readonly lastWords: string;
  /** True: an isolate that could not be stopped, and goes on in its process. */
  readonly isStuck?: boolean;
  /** How many jobs it had begun in its life, where all run at once and that is known. */
  readonly begun?: number;
}

/** What a link tells its slot. */
export interface LinkEvents {
  /** Bytes from the slot, in any pieces; the receiver is done with them when it returns. */
  onBytes(bytes: Uint8Array): void;
  /** Once, after the last `onBytes`. Never called from within another call on the link. */
  onEnded(end: SlotEnd): void;
  /** Its process should be left as soon as its jobs allow: something that cannot be stopped goes on in it. */
  onWorn?(): void;
}

/** A running slot. */
export interface Link {
  /** Process id; for isolates that of the worker itself. */
  readonly pid: number;
  /** Null until it is open: jobs are then sent one by one. */
  readonly journal: JournalReader | null;
  /** Asks the slot for a journal, once it is ready; nothing happens where it cannot be had. */
  askJournal(): void;
  /** The slot has made its journal at `path`. */
  openJournal(path: string): void;
  /** In order. Buffers until the slot is connected; never throws. */
  send(bytes: Uint8Array): void;
  /** Ends it by a signal ("SIGKILL" always does); isolates know one way to end only. */
  kill(signal: string): void;
  /** The slot says that its process is worn (LinkEvents.onWorn). */
  wear?(): void;
  /** After `onEnded`: frees what is left. */
  release(): void;
}

/** Starts slots of one kind. */
export interface LinkFactory {
  /** Whether slots are told apart by process id and can be sent signals. */
  readonly isProcess: boolean;
  /** Starts one; failures arrive as `onEnded`. */
  open(init: Omit<SlotInit, "watchParent">, events: LinkEvents): Link;
  /** Something may have to be replaced soon: what takes long may be begun now. */
  prepare?(init: Omit<SlotInit, "watchParent">): void;
  /** After all its links have ended. Idempotent. */
  close(): void;
}
