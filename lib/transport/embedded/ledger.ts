/** The ledger of memory and sqlite: one transaction writes the record and its message. */

import type { World } from "../../base/mod.ts";
import type { LeaseState, Ledger, LedgerEntry, LedgerScope } from "../ledger.ts";
import type { OutgoingMessage } from "../message.ts";
import type { Store } from "./store.ts";

/** The connection, as the ledger sees it. */
export interface LedgerHost {
  readonly world: World;
  readonly store: Store;
  /** Runs a transaction; waits while other processes write. */
  write<T>(fn: () => T): Promise<T>;
  /** Routes messages into their queues, inside a transaction; adds the topics to wake. */
  insert(messages: readonly OutgoingMessage[], topics: Set<string>): void;
}

/** The ledger over a Store. */
export class VirtualLedger implements Ledger {
  #host: LedgerHost;

  constructor(host: LedgerHost) {
    this.#host = host;
  }

  lease(name: string, owner: string, ms: number, token: number): Promise<LeaseState> {
    const { ledger } = this.#host.store;
    return this.#host.write(() => {
      const nowMs = this.#nowMs();
      const held = ledger.readLease(name);
      if (held !== null && isHeld(held, nowMs)) {
        const isOurs = token === 0 ? held.owner === owner : held.token === token;
        if (!isOurs) return { token: 0, leftMs: held.endsMs - nowMs };
      }
      const isProlonged = held !== null && held.token === token && held.owner === owner;
      const mine = isProlonged ? token : (held?.token ?? 0) + 1;
      ledger.writeLease(name, { owner, token: mine, sinceMs: nowMs, endsMs: nowMs + ms });
      return { token: mine, leftMs: ms };
    });
  }

  holder(name: string): Promise<string | null> {
    return this.#host.write(() => {
      const held = this.#host.store.ledger.readLease(name);
      return held !== null && isHeld(held, this.#nowMs()) ? held.owner : null;
    });
  }

  release(name: string, token: number): Promise<void> {
    const { ledger } = this.#host.store;
    return this.#host.write(() => {
      const held = ledger.readLease(name);
      // The row stays, since the next token is counted from it.
      if (held?.token === token) ledger.writeLease(name, { ...held, owner: "", endsMs: held.sinceMs });
    });
  }

  records(namespace: string): Promise<Map<string, string>> {
    return this.#host.write(() => this.#host.store.ledger.records(namespace));
  }

  forget(namespace: string, keys: readonly string[]): Promise<void> {
    const { ledger } = this.#host.store;
    return this.#host.write(() => {
      for (const key of keys) ledger.writeRecord(namespace, key, null);
    });
  }

  async commit(under: LedgerScope, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null> {
    const { store } = this.#host;
    const { ledger } = store;
    const topics = new Set<string>();
    const found = await this.#host.write(() => {
      topics.clear();
      const nowMs = this.#nowMs();
      const held = ledger.readLease(under.lease);
      if (held === null || held.token !== under.token || !isHeld(held, nowMs)) return null;
      ledger.writeLease(under.lease, { ...held, sinceMs: nowMs, endsMs: nowMs + under.leaseMs });
      return entries.map(({ key, expected, value, message }) => {
        const there = ledger.readRecord(under.namespace, key);
        if (there !== null && there !== expected) return there;
        ledger.writeRecord(under.namespace, key, value);
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

/** Whether a lease is held. A lease that begins in the future has ended: the clock was set back since. */
function isHeld(lease: { owner: string; sinceMs: number; endsMs: number }, nowMs: number): boolean {
  return lease.owner !== "" && nowMs < lease.endsMs && nowMs >= lease.sinceMs - 1000;
}
