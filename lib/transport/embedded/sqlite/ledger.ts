/** Leases and records of the ledger in the embedded database. */

import type { Database } from "../../../sqlite/mod.ts";
import type { LeaseRow, LedgerStore } from "../store.ts";

/** The tables broker_lease and broker_record. */
export class SqliteLedger implements LedgerStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  readLease(name: string): LeaseRow | null {
    const row = this.#database.get("SELECT owner, token, since, ends FROM broker_lease WHERE name = ?", name);
    return row
      ? {
        owner: row["owner"] as string,
        token: row["token"] as number,
        sinceMs: row["since"] as number,
        endsMs: row["ends"] as number,
      }
      : null;
  }

  writeLease(name: string, { owner, token, sinceMs, endsMs }: LeaseRow): void {
    this.#database.run(
      "INSERT OR REPLACE INTO broker_lease VALUES (?, ?, ?, ?, ?)",
      name,
      owner,
      token,
      sinceMs,
      endsMs,
    );
  }

  records(namespace: string): Map<string, string> {
    const rows = this.#database.all("SELECT key, value FROM broker_record WHERE book = ?", namespace);
    return new Map(rows.map((row) => [row["key"] as string, row["value"] as string]));
  }

  readRecord(namespace: string, key: string): string | null {
    const row = this.#database.get(
      "SELECT value FROM broker_record WHERE book = ? AND key = ?",
      namespace,
      key,
    );
    return row ? row["value"] as string : null;
  }

  writeRecord(namespace: string, key: string, value: string | null): void {
    if (value === null) {
      this.#database.run("DELETE FROM broker_record WHERE book = ? AND key = ?", namespace, key);
    } else this.#database.run("INSERT OR REPLACE INTO broker_record VALUES (?, ?, ?)", namespace, key, value);
  }
}
