/** Sessions of the embedded broker: who holds messages, and whether they still live. */

import type { SQLInputValue } from "node:sqlite";
import { processMark, processSpace } from "../platform/mod.ts";
import type { SqliteHub } from "./sqlite_hub.ts";
import type { Statements } from "./sqlite_statements.ts";

/** What a session is entered with. `expires` is wall-clock milliseconds. */
export interface NewSession {
  readonly id: number;
  readonly name: string;
  readonly instance: string;
  readonly pid: number;
  readonly expires: number;
}

/** The columns of broker_session in their order. */
export function sessionRow(session: NewSession): SQLInputValue[] {
  const space = processSpace();
  return [
    session.id,
    session.name,
    session.instance,
    session.pid,
    space?.boot ?? null,
    space?.namespace ?? null,
    processMark(session.pid),
    session.expires,
  ];
}

/**
 * The sessions whose processes are gone. Those of this isolate are known; of others the process table tells, where
 * their ids mean the same to us; of the rest the lease. A process that lives but does not renew (stopped, hung) is
 * left alone for `visibilityMs` past its lease, so that no work runs twice because a machine was slow.
 */
export function deadSessions(
  sql: Statements,
  options: { hub: SqliteHub; nowMs: number; visibilityMs: number },
): number[] {
  const { hub, nowMs, visibilityMs } = options;
  const rows = sql.all("SELECT * FROM broker_session");
  // The usual case costs nothing: nobody but us.
  if (rows.every((row) => row["instance"] === hub.instance && hub.sessions.has(row["id"] as number))) {
    return [];
  }
  const dead: number[] = [];
  const space = processSpace();
  for (const row of rows) {
    const id = row["id"] as number;
    const expires = row["expires"] as number;
    let isDead = expires < nowMs;
    if (row["instance"] === hub.instance) {
      isDead = !hub.sessions.has(id);
    } else if (space && row["boot"] !== null && row["boot"] !== space.boot) {
      isDead = true; // the machine was started anew since
    } else if (space && row["namespace"] === space.namespace && row["started"] !== null) {
      isDead = processMark(row["pid"] as number) !== row["started"] || expires + visibilityMs < nowMs;
    }
    if (isDead) dead.push(id);
  }
  return dead;
}
