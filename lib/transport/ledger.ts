/**
 * The ledger of a broker: leases, and records that change in one step with a publish. Beats use it to elect
 * one of them, and to share the record of what they have sent.
 *
 * Names are chosen by the caller; those of one kind of use share a prefix. Unused records expire: on Redis
 * after 400 days, on RabbitMQ after 49.
 */

import type { OutgoingMessage } from "./message.ts";

/** The result of asking for a lease. */
export interface LeaseState {
  /** The fencing token, which grows with every new holder; 0 if somebody else holds the lease. */
  readonly token: number;
  /** Milliseconds until the lease ends, unless it is prolonged. */
  readonly leftMs: number;
}

/** A change of one record, and the message that is published with it. */
export interface LedgerEntry {
  readonly key: string;
  /**
   * The record's value when it was read; null: there was none. A record that is deleted meanwhile does not
   * conflict.
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
  /** Milliseconds, from now, to which the lease is prolonged. */
  readonly leaseMs: number;
}

/** The ledger. Calls reject as those of the connection do; then the change may or may not have been made. */
export interface Ledger {
  /**
   * Asks for a lease of `ms` milliseconds. `token` 0: takes the lease under a new token if it is free or held
   * by the same owner (a process that was restarted). Else: prolongs the lease if it still has that token, or
   * takes it again if it has ended and is free.
   */
  lease(name: string, owner: string, ms: number, token: number): Promise<LeaseState>;
  /** Resolves with the `owner` that holds a lease; null: nobody. Absent if the broker cannot tell. */
  holder?(name: string): Promise<string | null>;
  /**
   * Returns the queue that implements a lease. Present only if the holder is known to the broker's management
   * API alone.
   */
  queueOf?(name: string): string;
  /** Releases a lease; no effect if it has another token by now. */
  release(name: string, token: number): Promise<void>;
  /** Reads all records of a namespace. */
  records(namespace: string): Promise<Map<string, string>>;
  /** Deletes records. */
  forget(namespace: string, keys: readonly string[]): Promise<void>;
  /**
   * Makes each change and publishes its message in one step, or neither. Resolves with one item per entry:
   * null if the change was made, else the record found instead of the expected one. Resolves with null, and
   * changes nothing, if the lease has another token.
   */
  commit(under: LedgerScope, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null>;
}
