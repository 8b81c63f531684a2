/** Flower's routes about tasks. Source: flower api/tasks.py; celery events/state.py Task.as_dict. */

import { camelCase, errorText, isRecord, UsageError } from "../../../base/mod.ts";
import type { AsyncResult } from "../../../app/mod.ts";
import { EXCEPTION_STATES, READY_STATES, type ResultMeta, TimeoutError } from "../../../wire/mod.ts";
import type { TaskRecord } from "../../history/record.ts";
import { phrase, SearchError } from "../../history/search.ts";
import { exceptionText, storedResult } from "../../cluster/tasks.ts";
import type { Parts } from "../request.ts";
import { webJson } from "../json.ts";
import { mustBeTask } from "./control.ts";
import { type FlowerCall, type FlowerRoute, HttpError } from "./parts.ts";

const SORT_KEYS = new Set(["name", "state", "received", "started"]);
/** Flower's limit on tasks in memory. */
const TASKS_MAX = 100_000;

/** The routes without a name, by their path after /api/. */
export const TASK_LISTS: Readonly<Record<string, FlowerRoute>> = {
  "tasks": { scope: "read", isSilent: true, run: listTasks },
  "task/types": {
    scope: "read",
    isSilent: true,
    run: ({ parts: { cluster } }) => {
      const { figures, words } = cluster.history;
      const names = [...figures.sums(30 * 86_400, cluster.world.clock.wallMs() / 1000).keys()]
        .map((name) => words.text(name)).filter((name) => name !== null);
      return { "task-types": names.sort() };
    },
  },
};

/** The routes that read and end in a name or id, by their path after /api/. */
export const TASK_LOOKS: Readonly<Record<string, FlowerRoute>> = {
  "task/info": {
    scope: "read",
    isSilent: true,
    run({ parts }, id) {
      const record = parts.cluster.history.task(id);
      if (record === null) throw new HttpError(404, `Unknown task '${id}'`);
      return asDict(record, parts);
    },
  },
  "task/result": {
    scope: "read",
    isSilent: true,
    async run(call, id) {
      const timeout = call.number("timeout", "float");
      await mustHaveStore(call.parts);
      const result = call.parts.cluster.app.AsyncResult(id);
      if (timeout) await ended(call.parts, result, timeout);
      const meta = await storedResult(call.parts.cluster, id);
      const state = meta?.state ?? "PENDING";
      return { "task-id": id, state, ...(timeout || READY_STATES.has(state) ? resultOf(meta) : {}) };
    },
  },
};

/** The routes that act and end in a name or id, by their path after /api/. */
export const TASK_ACTIONS: Readonly<Record<string, FlowerRoute>> = {
  "task/apply": {
    scope: "operate",
    action: "run",
    isSilent: true,
    async run(call, name) {
      const result = await send(call, name, true);
      await mustHaveStore(call.parts);
      await ended(call.parts, result, null);
      const meta = await storedResult(call.parts.cluster, result.id);
      return { "task-id": result.id, ...resultOf(meta), state: meta?.state ?? "PENDING" };
    },
  },
  "task/async-apply": {
    scope: "operate",
    action: "run",
    isSilent: true,
    run: async (call, name) => await sent(call, await send(call, name, true)),
  },
  "task/send-task": {
    scope: "operate",
    action: "run",
    isSilent: true,
    run: async (call, name) => await sent(call, await send(call, name, false)),
  },
  "task/abort": {
    scope: "operate",
    action: "abort",
    isSilent: true,
    async run({ parts }, id) {
      await mustHaveStore(parts);
      await parts.cluster.app.backend.storeResult(id, null, "ABORTED");
      return { message: `Aborted '${id}'` };
    },
  },
};

/** Returns a task in the form of Celery's `Task.as_dict`, keys in the same order. */
function asDict(record: TaskRecord, { cluster }: Parts): Record<string, unknown> {
  const { state } = record;
  const { sent, received, started, rejected, succeeded, failed, retried, revoked } = state;
  return {
    uuid: state.uuid,
    name: state.name,
    state: state.state,
    received,
    sent,
    started,
    rejected,
    succeeded,
    failed,
    retried,
    revoked,
    args: state.args,
    kwargs: state.kwargs,
    eta: state.eta,
    expires: state.expires,
    retries: state.retries,
    worker: record.worker,
    result: state.result,
    exception: state.exception,
    timestamp: state.timestamp,
    runtime: state.runtime,
    traceback: state.traceback,
    exchange: state.exchange,
    routing_key: state.routingKey,
    clock: state.clock,
    client: state.client,
    root: state.rootId,
    root_id: state.rootId,
    parent: state.parentId,
    parent_id: state.parentId,
    children: cluster.history.tasks.childrenOf(state.uuid, 1000).map(({ id }) => id),
  };
}

function listTasks(call: FlowerCall): Response {
  const { parts } = call;
  const named = (name: string) => {
    const value = call.text(name);
    return value === "All" ? null : value;
  };
  const sort = call.text("sort_by");
  if (sort !== null && !SORT_KEYS.has(sort.replace(/^-+/, ""))) throw new HttpError(500);
  const terms = [
    ...filterOf("name", named("taskname")),
    ...filterOf("worker", named("workername")),
    ...stateOf(named("state")),
    ...timeOf("received:>", call.text("received_start")),
    ...timeOf("received:<", call.text("received_end")),
  ];
  const search = call.text("search");
  try {
    const offset = Math.max(0, call.number("offset", "int") ?? 0);
    const limit = Math.min(call.number("limit", "int") ?? TASKS_MAX, TASKS_MAX);
    const { history } = parts.cluster;
    history.write();
    // Compiled alone first, so that the position in an error refers to this text.
    if (search !== null) history.compile(search);
    const query = [...terms, ...(search === null ? [] : [`(${search})`])].join(" ");
    const { records } = history.slice({ search: query, sort: flowerSort(sort), offset, limit });
    const rows = records.map((record): [string, unknown] => {
      const { worker, ...rest } = asDict(record, parts);
      return [record.id, worker === null ? rest : { ...rest, worker }];
    });
    // Built as text, because an object would put numeric ids first.
    const text = rows.map(([id, row]) => `${webJson(id)}:${webJson(row)}`).join(",");
    return new Response(`{${text}}`, { headers: { "content-type": "application/json; charset=UTF-8" } });
  } catch (error) {
    if (!(error instanceof SearchError)) throw error;
    return new Response(webJson({ error: error.message }), {
      status: 400,
      headers: { "content-type": "application/json; charset=UTF-8" },
    });
  }
}

/**
 * Returns a page of tasks for Flower's table, sorted by one of its columns. An error in the search is part of
 * the answer. Source: flower views/tasks.py TasksDataTable.
 */
export function tasksTable(call: FlowerCall): Record<string, unknown> {
  const whole = (name: string) => {
    call.need(name);
    return call.number(name, "int")!;
  };
  const [draw, start, length] = [whole("draw"), whole("start"), whole("length")];
  const search = call.text("search[value]") ?? "";
  const sort = call.need(`columns[${whole("order[0][column]")}][data]`);
  const isDescending = call.need("order[0][dir]") === "desc";
  if (!SORT_KEYS.has(sort)) throw new HttpError(500);
  const { history } = call.parts.cluster;
  history.write();
  const recordsTotal = history.tasks.count;
  try {
    const found = history.slice({
      search,
      sort: flowerSort(`${isDescending ? "-" : ""}${sort}`),
      offset: Math.max(0, start),
      // The table sends -1 for all.
      limit: length < 0 ? TASKS_MAX : Math.min(length, TASKS_MAX),
    });
    const data = found.records.map((record) => asDict(record, call.parts));
    const recordsFiltered = search.trim() === "" ? recordsTotal : found.total;
    return { draw, data, recordsTotal, recordsFiltered };
  } catch (error) {
    if (!(error instanceof SearchError)) throw error;
    return { draw, data: [], recordsTotal, recordsFiltered: 0, searchError: error.message };
  }
}

/**
 * Converts Flower's sort key: by default latest change first; a key sorts ascending, with a dash descending.
 */
function flowerSort(sort: string | null): string {
  return sort === null ? "-updated" : sort.replace(/^-+/, "-").replace(/received$/, "receivedAt");
}

function filterOf(field: string, value: string | null): string[] {
  return value === null ? [] : [`${field}:${phrase(`=${value}`)}`];
}

function stateOf(value: string | null): string[] {
  return value === null ? [] : [`state:${phrase(value)}`];
}

/** Reads `2026-11-30 10:00`: local time in Flower, but UTC here, as all times are. */
function timeOf(head: string, value: string | null): string[] {
  if (value === null) return [];
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d$/.test(value)) throw new HttpError(500);
  return [`${head}${value.replace(" ", "T")}:00Z`];
}

async function send(call: FlowerCall, name: string, isKnown: boolean): Promise<AsyncResult> {
  const { args, kwargs, options } = call.task();
  if (isKnown) await mustBeTask(call.parts, name);
  const given = Object.fromEntries(Object.entries(options).map(([key, value]) => [camelCase(key), value]));
  if (isKnown) normalize(given);
  try {
    return await call.parts.cluster.app.sendTask(name, { ...given, args, kwargs });
  } catch (error) {
    if (error instanceof UsageError) throw new HttpError(400, errorText(error));
    throw error;
  }
}

/** Converts options as Flower does; times have no zone and are read as UTC. */
function normalize(options: Record<string, unknown>): void {
  const moment = (value: unknown) => {
    const found = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{1,6})$/.exec(String(value));
    if (found === null) throw new HttpError(400, "Invalid option");
    return `${found[1]}T${found[2]}+00:00`;
  };
  const number = (value: unknown) => {
    const found = Number(isRecord(value) ? value["rawJSON"] : value);
    if (!Number.isFinite(found)) throw new HttpError(400, "Invalid option");
    return found;
  };
  if ("eta" in options) options["eta"] = moment(options["eta"]);
  if ("countdown" in options) options["countdown"] = number(options["countdown"]);
  if (!("expires" in options)) return;
  const { expires } = options;
  options["expires"] = Number.isFinite(Number(expires)) ? Number(expires) : moment(expires);
}

async function sent({ parts }: FlowerCall, { id }: AsyncResult): Promise<Record<string, unknown>> {
  const backend = await parts.cluster.app.openBackend();
  if (backend.kind === "disabled") return { "task-id": id };
  return { "task-id": id, state: (await storedResult(parts.cluster, id))?.state ?? "PENDING" };
}

async function mustHaveStore({ cluster }: Parts): Promise<void> {
  if ((await cluster.app.openBackend()).kind === "disabled") throw new HttpError(503);
}

/** Waits until a task has ended; a timeout is not an error here. */
async function ended({ cluster }: Parts, result: AsyncResult, timeout: number | null): Promise<void> {
  try {
    await result.get({ propagate: false, timeout, signal: cluster.ending });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
}

function resultOf(meta: ResultMeta | null): Record<string, unknown> {
  if (meta === null) return { result: null };
  // As in Flower, an exception is not JSON and is sent as its repr.
  const result = EXCEPTION_STATES.has(meta.state) ? exceptionText(meta.result) : meta.result;
  return meta.state === "FAILURE" ? { result, traceback: meta.traceback } : { result };
}
