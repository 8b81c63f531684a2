/** Tasks as the API shows them. */

import { atMost, isRecord, OperatingError, textOrNull } from "../../base/mod.ts";
import { DecodeError, EXCEPTION_STATES, type ResultMeta, shownJson, strictRepr } from "../../wire/mod.ts";
import type { TaskRecord } from "../history/record.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import { findOriginal, KeptLetters, type Original } from "./letters.ts";

type Row = Shape<"TaskRow">;

/** Maximum number of tasks in a graph, and of children listed. */
const NODES_MAX = 500;
const CHILDREN_MAX = 200;
/** How long a page waits for the result store and the broker. */
const LOOK_MS = 1500;
/** Maximum number of steps shown of a chain that were not sent yet. */
const PLANNED_MAX = 20;

/** Returns a task as a row of a list. */
export function taskRow(record: TaskRecord): Row {
  const { state } = record;
  return {
    id: state.uuid,
    name: state.name,
    state: state.state,
    args: state.args,
    kwargs: state.kwargs,
    result: state.result,
    exception: state.exception,
    worker: record.worker,
    queue: state.queue,
    sent: state.sent,
    received: state.received,
    started: state.started,
    ended: record.ended,
    updated: state.timestamp ?? 0,
    runtime: state.runtime,
    waited: record.waited,
    retries: state.retries,
    eta: state.eta,
    expires: state.expires,
    rootId: state.rootId,
    parentId: state.parentId,
  };
}

/**
 * Returns a task's details: its events and related tasks, and its result and message if result store and
 * broker answer in time. Null if nothing is known.
 */
export async function taskView(cluster: Cluster, id: string): Promise<Shape<"Task"> | null> {
  const { history } = cluster;
  const record = history.task(id);
  const stored = await within(cluster, () => storedResult(cluster, id));
  const original = await within(cluster, () => findOriginal(new KeptLetters(cluster), id, stored));
  if (record === null && stored === null && (original === null || "whyNot" in original)) return null;
  const row = record === null ? bareRow(id, stored) : taskRow(record);
  const rootId = row.rootId ?? id;
  const exact = original === null || "whyNot" in original ? null : original;
  return {
    row,
    client: record?.state.client ?? null,
    exchange: record?.state.exchange ?? null,
    routingKey: record?.state.routingKey ?? null,
    traceback: record?.state.traceback ?? stored?.traceback ?? null,
    extra: { ...record?.state.extra },
    timeline: (record?.entries() ?? []).map(([subject, at, sender]) => ({
      type: `task-${subject}`,
      at,
      worker: sender === "" ? null : sender,
      detail: record === null ? null : detailOf(subject, record),
    })),
    parent: row.parentId === null || row.parentId === id ? null : rowOf(history.task(row.parentId)),
    root: rootId === id ? null : rowOf(history.task(rootId)),
    children: history.tasks.childrenOf(id, CHILDREN_MAX).map(taskRow),
    graph: graphOf(cluster, { id, rootId, row, exact }),
    stored: stored === null ? null : storedShape(stored),
    exact: exact === null ? null : {
      source: exact.source,
      args: exact.args,
      kwargs: exact.kwargs,
      headers: exact.headers,
      queue: exact.queue,
    },
    canRetry: exact !== null,
    whyNot: original === null
      ? "The broker or the result store does not answer"
      : "whyNot" in original
      ? original.whyNot
      : null,
  };
}

/**
 * Returns a task's stored result; null if there is none, or no store. Rejects if the store cannot be reached.
 */
export async function storedResult({ app }: Cluster, id: string): Promise<ResultMeta | null> {
  const backend = await app.openBackend();
  if (backend.kind === "disabled" || backend.kind === "rpc") return null;
  return await backend.fetch(id);
}

/** Returns a stored result as JSON text; an exception in Python's notation. */
function storedText({ state, result }: ResultMeta): string | null {
  if (result === null || result === undefined) return null;
  if (EXCEPTION_STATES.has(state)) return exceptionText(result);
  return shownJson(result, { charsMax: 256 * 1024 });
}

/** Returns an exception in Python's notation: `ValueError('bad')`. */
export function exceptionText(error: unknown): string {
  if (!isRecord(error) || typeof error["excType"] !== "string" || !Array.isArray(error["args"])) {
    return strictRepr(error);
  }
  return `${error["excType"]}(${error["args"].map(strictRepr).join(", ")})`;
}

function storedShape(meta: ResultMeta): Shape<"StoredResult"> {
  return { state: meta.state, result: storedText(meta), traceback: meta.traceback, dateDone: meta.dateDone };
}

async function within<T>({ world }: Cluster, look: () => Promise<T>): Promise<T | null> {
  let found: T | null = null;
  const looking = look().then((value) => {
    found = value;
  }, (error) => {
    // The page shows what is known, and leaves out what cannot be reached or decoded.
    if (!(error instanceof OperatingError) && !(error instanceof DecodeError)) throw error;
  });
  await atMost(world.clock, LOOK_MS, looking);
  return found;
}

function rowOf(record: TaskRecord | null): Row | null {
  return record === null ? null : taskRow(record);
}

/** Returns the row of a task without events, from its result. */
function bareRow(id: string, stored: ResultMeta | null): Row {
  const done = stored?.dateDone ? Date.parse(stored.dateDone) / 1000 : NaN;
  const ended = Number.isFinite(done) ? done : null;
  const failed = stored !== null && EXCEPTION_STATES.has(stored.state);
  const text = stored === null ? null : storedText(stored);
  const nothing = { args: null, kwargs: null, sent: null, received: null, started: null };
  const unknown = { runtime: null, waited: null, eta: null, expires: null, rootId: null };
  return {
    ...nothing,
    ...unknown,
    id,
    name: stored?.name ?? null,
    state: stored?.state ?? "PENDING",
    result: failed ? null : text,
    exception: failed ? text : null,
    worker: stored?.worker ?? null,
    queue: stored?.queue ?? null,
    ended,
    updated: ended ?? 0,
    retries: stored?.retries ?? null,
    parentId: stored?.parentId ?? null,
  };
}

function detailOf(subject: string, { state }: TaskRecord): string | null {
  if (subject === "failed" || subject === "retried") return state.exception;
  if (subject === "succeeded") return state.result?.slice(0, 500) ?? null;
  return null;
}

/** Returns the graph of all tasks of one root, and of those that this task's message sends after it. */
function graphOf(
  { history }: Cluster,
  { id, rootId, row, exact }: { id: string; rootId: string; row: Row; exact: Original | null },
): Shape<"Graph"> {
  const tree = history.tasks.treeOf(rootId, NODES_MAX + 1);
  const nodes: Shape<"GraphNode">[] = tree.slice(0, NODES_MAX).map((one) => node(taskRow(one), id));
  if (!nodes.some((one) => one.isThis)) nodes.push(node(row, id));
  const ids = new Set(nodes.map((one) => one.id));
  const edges: Shape<"GraphEdge">[] = [];
  for (const one of tree) {
    const { parentId, uuid } = one.state;
    if (parentId !== null && parentId !== uuid && ids.has(parentId)) {
      edges.push({ from: parentId, to: uuid, kind: "child" });
    }
  }
  const planned = exact?.read?.embed ?? {};
  let last = id;
  const plan = (signature: unknown, kind: Shape<"GraphEdge">["kind"], from: string): string => {
    if (!isRecord(signature) || nodes.length >= NODES_MAX) return from;
    const options = isRecord(signature["options"]) ? signature["options"] : {};
    const to = typeof options["task_id"] === "string" ? options["task_id"] : `planned-${nodes.length}`;
    if (!ids.has(to)) {
      nodes.push({
        id: to,
        name: textOrNull(signature["task"]),
        state: "PENDING",
        runtime: null,
        started: null,
        isThis: false,
        isPlanned: true,
      });
      ids.add(to);
      edges.push({ from, to, kind });
    }
    return to;
  };
  const chain = Array.isArray(planned["chain"]) ? [...planned["chain"]].reverse() : [];
  for (const step of chain.slice(0, PLANNED_MAX)) last = plan(step, "chain", last);
  for (const [key, kind] of [["callbacks", "callback"], ["errbacks", "errback"]] as const) {
    const all = planned[key];
    if (Array.isArray(all)) { for (const one of all.slice(0, PLANNED_MAX)) plan(one, kind, id); }
  }
  plan(planned["chord"], "chord", id);
  return { nodes, edges, isCut: tree.length > NODES_MAX };
}

function node(row: Row, id: string): Shape<"GraphNode"> {
  const { name, state, runtime, started } = row;
  return { id: row.id, name, state, runtime, started, isThis: row.id === id, isPlanned: false };
}
