/**
 * The ledger of a broker: leases, and records that change together with what is published. Beats elect one
 * by it, and share what they have sent.
 *
 * Names are the caller's own; those of one kind of use share a prefix. What is kept goes by itself after a
 * year without use.
 */

import type { OutgoingMessage } from "./transport.ts";

/** What came of asking for a lease. */
export interface LeaseState {
  /**
   * Ours: grows with every new holder, so that whoever was overtaken can be told. 0: somebody else holds
   * it.
   */
  readonly token: number;
  /** Milliseconds until it ends, unless it is prolonged. */
  readonly leftMs: number;
}

/** One change of a record, and the message that goes out with it. */
export interface LedgerEntry {
  readonly key: string;
  /**
   * What the record holds now, as read; null: there is none. A record that is missing never stands in the
   * way.
   */
  readonly expected: string | null;
  readonly value: string;
  readonly message: OutgoingMessage | null;
}

/** Under which lease, and in which book, records change. */
export interface LedgerBook {
  readonly book: string;
  readonly lease: string;
  readonly token: number;
  /** The lease is prolonged to this from now, milliseconds. */
  readonly leaseMs: number;
}

/** The ledger. Calls reject as those of the connection do; then the change was made or was not. */
export interface Ledger {
  /**
   * Asks for a lease for `ms`. `token` 0: takes it where nobody has it, or where the same owner does (a
   * process that follows its own dead predecessor), under a new token. Else: prolongs it where it is still
   * of that token, or takes it anew where it ended and nobody has it.
   */
  lease(name: string, owner: string, ms: number, token: number): Promise<LeaseState>;
  /** Gives a lease up; no effect where it is not of that token any more. */
  release(name: string, token: number): Promise<void>;
  /** All records of a book. */
  records(book: string): Promise<Map<string, string>>;
  /** Deletes records. */
  forget(book: string, keys: readonly string[]): Promise<void>;
  /**
   * Makes each change and publishes its message in one step, or neither. Per entry null, or the record that
   * stood in the way because it is not the one expected. The whole is null where the lease is of another
   * token: nothing was done.
   */
  commit(under: LedgerBook, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null>;
}
