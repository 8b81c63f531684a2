/** Tasks that are not due yet: parked at the broker, and held by workers. */

import { isRecord } from "../../base/mod.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import type { Inspector } from "./inspector.ts";
import { readMessage, shownArguments } from "./messages.ts";
import { requestOf } from "./workers.ts";

type Row = Shape<"ScheduledRow">;

/** Lists them, soonest first, at most `limit`. Rejects if the broker is away. */
export async function listScheduled(
  cluster: Cluster,
  inspector: Inspector,
  limit: number,
): Promise<Shape<"ScheduledList">> {
  const connection = await cluster.connection();
  const [parked] = await Promise.all([
    connection.parked?.(limit + 1) ?? [],
    inspector.refresh(null, ["scheduled"]),
  ]);
  const rows = new Map<string, Row>();
  for (const { envelope, queue, dueMs, id } of parked) {
    const read = readMessage(envelope);
    const retries = read?.headers["retries"];
    const taskId = read?.id ?? id;
    rows.set(taskId, {
      id: taskId,
      name: read?.name ?? null,
      ...shownArguments(read),
      due: dueMs / 1000,
      queue,
      worker: null,
      retries: typeof retries === "number" ? retries : null,
    });
  }
  for (const [worker, { scheduled }] of inspector.workers) {
    if (!Array.isArray(scheduled) || !(cluster.workers.get(worker)?.alive ?? true)) continue;
    for (const entry of scheduled) {
      const row = isRecord(entry) ? heldRow(entry, worker) : null;
      // Lovage's workers also list tasks that they parked at the broker.
      if (row !== null && !rows.has(row.id)) rows.set(row.id, row);
    }
  }
  const all = [...rows.values()].sort((a, b) => a.due - b.due);
  return { rows: all.slice(0, limit), isCut: all.length > limit };
}

function heldRow(entry: Record<string, unknown>, worker: string): Row | null {
  const request = isRecord(entry["request"]) ? entry["request"] : null;
  const due = Date.parse(String(entry["eta"])) / 1000;
  if (request === null || !Number.isFinite(due)) return null;
  const { id, name, args, kwargs, queue } = requestOf(request);
  const retries = request["retries"];
  return {
    id,
    name,
    args,
    kwargs,
    due,
    queue,
    worker,
    retries: typeof retries === "number" ? retries : null,
  };
}
