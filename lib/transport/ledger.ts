/**
 * The ledger of a broker: leases, and records that change together with what is published. Beats elect one
 * by it, and share what they have sent.
 *
 * Names are chosen by the caller; those of one kind of use share a prefix. Records are deleted after a year
 * without use.
 */

import type { OutgoingMessage } from "./message.ts";

/** The answer to asking for a lease. */
export interface LeaseState {
  /**
   * The fencing token if the lease is ours: grows with every new holder. 0: somebody else holds it.
   */
  readonly token: number;
  /** Milliseconds until it ends, unless it is prolonged. */
  readonly leftMs: number;
}

/** One change of a record, and the message that goes out with it. */
export interface LedgerEntry {
  readonly key: string;
  /**
   * The record's value as read; null: there was none. A record that is missing by now does not conflict.
   */
  readonly expected: string | null;
  readonly value: string;
  readonly message: OutgoingMessage | null;
}

/** The lease that a change needs, and the namespace of its records. */
export interface LedgerScope {
  readonly namespace: string;
  readonly lease: string;
  readonly token: number;
  /** The lease is prolonged to this from now, milliseconds. */
  readonly leaseMs: number;
}

/** The ledger. Calls reject as those of the connection do; then the change may or may not have been made. */
export interface Ledger {
  /**
   * Asks for a lease for `ms`. `token` 0: takes it under a new token if it is free or of the same owner (a process
   * that was started again). Else: prolongs it if it still has that token, or takes it anew if it ended and is
   * free.
   */
  lease(name: string, owner: string, ms: number, token: number): Promise<LeaseState>;
  /** Who holds a lease, by the name it was asked for with; null: nobody. Absent if the broker does not tell. */
  holder?(name: string): Promise<string | null>;
  /** The queue that a lease is, if the broker's management API tells who holds it and the broker does not. */
  queueOf?(name: string): string;
  /** Gives a lease up; no effect if it has another token by now. */
  release(name: string, token: number): Promise<void>;
  /** All records of a namespace. */
  records(namespace: string): Promise<Map<string, string>>;
  /** Deletes records. */
  forget(namespace: string, keys: readonly string[]): Promise<void>;
  /**
   * Makes each change and publishes its message in one step, or neither. Resolves with null for each entry that was
   * made, or with the record found instead of the expected one; with null alone if the lease has another token, and
   * then nothing was done.
   */
  commit(under: LedgerScope, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null>;
}
