/** Flower's routes about tasks. Source: flower api/tasks.py; celery events/state.py Task.as_dict. */

import { errorText, isRecord, UsageError } from "../../../base/mod.ts";
import type { AsyncResult } from "../../../app/mod.ts";
import { EXCEPTION_STATES, READY_STATES, type ResultMeta, TimeoutError } from "../../../wire/mod.ts";
import type { TaskRecord } from "../../history/record.ts";
import { SearchError } from "../../history/search.ts";
import { exceptionText, storedResult } from "../../cluster/tasks.ts";
import type { Parts } from "../request.ts";
import { webJson } from "../json.ts";
import { mustBeTask } from "./control.ts";
import { type FlowerCall, type FlowerRoute, HttpError } from "./parts.ts";

const SORT_KEYS = new Set(["name", "state", "received", "started"]);
/** Flower's own limit of tasks in memory. */
const TASKS_MAX = 100_000;

/** The routes that take no name, by their path behind /api/. */
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

/** The routes that end in a name or id, looking. */
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

/** The routes that end in a name or id, acting. */
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

/** A task as Celery's `Task.as_dict` gives it, keys in its order. */
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
    // The search alone first, so that a mistake in it is told by its own place.
    if (search !== null) history.compile(search);
    const query = [...terms, ...(search === null ? [] : [`(${search})`])].join(" ");
    const { records } = history.slice({ search: query, sort: flowerSort(sort), offset, limit });
    const rows = records.map((record): [string, unknown] => {
      const { worker, ...rest } = asDict(record, parts);
      return [record.id, worker === null ? rest : { ...rest, worker }];
    });
    // Ids that look like numbers keep their place: an object would put them first.
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
 * Tasks as Flower's table asks for them: a page, sorted by a column, the columns named one by one. A mistake in the
 * search is told in the answer. Source: flower views/tasks.py TasksDataTable.
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
      // -1 is how the table says all.
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

/** Flower's lists begin with what happened last; a key sorts upwards unless a dash says otherwise. */
function flowerSort(sort: string | null): string {
  return sort === null ? "-updated" : sort.replace(/^-+/, "-").replace(/received$/, "receivedAt");
}

function filterOf(field: string, value: string | null): string[] {
  return value === null ? [] : [`${field}:"=${value.replace(/["\\]/g, "\\$&")}"`];
}

function stateOf(value: string | null): string[] {
  return value === null ? [] : [`state:"${value.replace(/["\\]/g, "\\$&")}"`];
}

/** `2026-11-30 10:00`, which is local time to Flower, and UTC here as all times are. */
function timeOf(head: string, value: string | null): string[] {
  if (value === null) return [];
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d$/.test(value)) throw new HttpError(500);
  return [`${head}${value.replace(" ", "T")}:00Z`];
}

async function send(call: FlowerCall, name: string, isKnown: boolean): Promise<AsyncResult> {
  const { args, kwargs, options } = call.task();
  if (isKnown) await mustBeTask(call.parts, name);
  const given = Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), value]));
  if (isKnown) normalize(given);
  try {
    return await call.parts.cluster.app.sendTask(name, { ...given, args, kwargs });
  } catch (error) {
    if (error instanceof UsageError) throw new HttpError(400, errorText(error));
    throw error;
  }
}

/** Options as Flower reads them: times without a zone, of the App's. */
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

/** Waits for a result, whatever it is; a wait that takes too long is not an error here. */
async function ended({ cluster }: Parts, result: AsyncResult, timeout: number | null): Promise<void> {
  try {
    await result.get({ propagate: false, timeout, signal: cluster.ending });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
  }
}

function resultOf(meta: ResultMeta | null): Record<string, unknown> {
  if (meta === null) return { result: null };
  // As Python: an exception is not JSON, and is told by its repr.
  const result = EXCEPTION_STATES.has(meta.state) ? exceptionText(meta.result) : meta.result;
  return meta.state === "FAILURE" ? { result, traceback: meta.traceback } : { result };
}

function camel(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
