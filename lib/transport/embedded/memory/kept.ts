/** Other data of the memory broker: tasks that failed for good, leases and records of the ledger. */

import type { FailedLimits } from "../../failed.ts";
import type { DeadLetter } from "../../message.ts";
import type { FailedStore, LeaseRow, LedgerStore } from "../store.ts";

/** Tasks that failed for good, oldest first. */
export class MemoryFailed implements FailedStore {
  #tasks: DeadLetter[] = [];

  keep(tasks: readonly DeadLetter[], { count, seconds }: FailedLimits, nowMs: number): void {
    const oldestMs = nowMs - seconds * 1000;
    this.#tasks = [...this.#tasks, ...tasks].filter(({ atMs }) => atMs >= oldestMs).slice(-count);
  }

  count(): number {
    return this.#tasks.length;
  }

  list(limit: number): DeadLetter[] {
    return this.#tasks.toReversed().slice(0, Math.max(0, limit));
  }

  take(id: string): boolean {
    const index = this.#tasks.findIndex((task) => task.id === id);
    if (index >= 0) this.#tasks.splice(index, 1);
    return index >= 0;
  }
}

/** Leases and records. */
export class MemoryLedger implements LedgerStore {
  readonly #leases = new Map<string, LeaseRow>();
  readonly #namespaces = new Map<string, Map<string, string>>();

  readLease(name: string): LeaseRow | null {
    return this.#leases.get(name) ?? null;
  }

  writeLease(name: string, lease: LeaseRow): void {
    this.#leases.set(name, lease);
  }

  records(namespace: string): Map<string, string> {
    return new Map(this.#namespaces.get(namespace));
  }

  readRecord(namespace: string, key: string): string | null {
    return this.#namespaces.get(namespace)?.get(key) ?? null;
  }

  writeRecord(namespace: string, key: string, value: string | null): void {
    let records = this.#namespaces.get(namespace);
    if (!records) this.#namespaces.set(namespace, records = new Map());
    if (value === null) records.delete(key);
    else records.set(key, value);
  }
}
