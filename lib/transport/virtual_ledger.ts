/** The ledger of memory and sqlite: one transaction holds the record and its message. */

import type { World } from "../base/mod.ts";
import type { LeaseState, Ledger, LedgerBook, LedgerEntry } from "./ledger.ts";
import type { OutgoingMessage } from "./transport.ts";
import type { Store } from "./virtual_store.ts";

/** What the ledger needs of its connection. */
export interface LedgerHost {
  readonly world: World;
  readonly store: Store;
  /** Runs a transaction; waits where other processes write. */
  write<T>(fn: () => T): Promise<T>;
  /** Inside one: puts messages where they go; the topics to wake are added. */
  insert(messages: readonly OutgoingMessage[], topics: Set<string>): void;
}

/** The ledger over a Store. */
export class VirtualLedger implements Ledger {
  #host: LedgerHost;

  constructor(host: LedgerHost) {
    this.#host = host;
  }

  lease(name: string, owner: string, ms: number, token: number): Promise<LeaseState> {
    const { store } = this.#host;
    return this.#host.write(() => {
      const nowMs = this.#nowMs();
      const held = store.readLease(name);
      if (held !== null && isHeld(held, nowMs)) {
        const isOurs = token === 0 ? held.owner === owner : held.token === token;
        if (!isOurs) return { token: 0, leftMs: held.endsMs - nowMs };
      }
      const isProlonged = held !== null && held.token === token && held.owner === owner;
      const mine = isProlonged ? token : (held?.token ?? 0) + 1;
      store.writeLease(name, { owner, token: mine, sinceMs: nowMs, endsMs: nowMs + ms });
      return { token: mine, leftMs: ms };
    });
  }

  release(name: string, token: number): Promise<void> {
    const { store } = this.#host;
    return this.#host.write(() => {
      const held = store.readLease(name);
      // The row stays, since the next token is counted from it.
      if (held?.token === token) store.writeLease(name, { ...held, owner: "", endsMs: held.sinceMs });
    });
  }

  records(book: string): Promise<Map<string, string>> {
    return this.#host.write(() => this.#host.store.records(book));
  }

  forget(book: string, keys: readonly string[]): Promise<void> {
    const { store } = this.#host;
    return this.#host.write(() => {
      for (const key of keys) store.writeRecord(book, key, null);
    });
  }

  async commit(under: LedgerBook, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null> {
    const { store } = this.#host;
    const topics = new Set<string>();
    const found = await this.#host.write(() => {
      topics.clear();
      const nowMs = this.#nowMs();
      const held = store.readLease(under.lease);
      if (held === null || held.token !== under.token || !isHeld(held, nowMs)) return null;
      store.writeLease(under.lease, { ...held, sinceMs: nowMs, endsMs: nowMs + under.leaseMs });
      return entries.map(({ key, expected, value, message }) => {
        const there = store.readRecord(under.book, key);
        if (there !== null && there !== expected) return there;
        store.writeRecord(under.book, key, value);
        if (message !== null) this.#host.insert([message], topics);
        return null;
      });
    });
    if (topics.size > 0) store.wake(topics);
    return found;
  }

  #nowMs(): number {
    return this.#host.world.clock.wallMs();
  }
}

/** A lease whose beginning lies in the future is of a clock that was set back since: it ended. */
function isHeld(lease: { owner: string; sinceMs: number; endsMs: number }, nowMs: number): boolean {
  return lease.owner !== "" && nowMs < lease.endsMs && nowMs >= lease.sinceMs - 1000;
}
