/**
 * Inspect commands: they read and change nothing (except `hello`, which merges revoked ids).
 *
 * Source: celery 5.2.6 worker/control.py.
 */

import { camelCase, shownLine } from "../../base/mod.ts";
import { isTruthy, pythonText } from "../../wire/mod.ts";
import { bugReport } from "../../app/mod.ts";
import { demand, PythonError } from "./error.ts";
import { brokerInfo, humanBytes, jsonable, queueInfo, requestInfo, resourceUse } from "./info.ts";
import type { Request } from "../lane/request.ts";
import { RequestState } from "../lane/request_states.ts";
import { mergeRevoked, revokedToWire } from "./revoked_wire.ts";
import type { WorkerCore } from "../core.ts";
import type { WorkerTask } from "../worker_app.ts";

/** Runs one command on one worker. What it returns, or resolves with, is the reply. */
export type PanelHandler = (worker: WorkerCore, args: Record<string, unknown>) => unknown;

/** Attributes of a task that `registered` shows if none are asked for. */
const TASK_ATTRIBUTES = ["exchange", "routing_key", "rate_limit"];
const IDENTIFIER = /^[\p{ID_Start}_][\p{ID_Continue}]*$/u;
/** The priority of Celery's timers, shown by `scheduled`. */
const TIMER_PRIORITY = 6;
/** Maximum number of memory samples kept. */
const SAMPLES_MAX = 1000;

/** The commands by name. */
export const INSPECT_HANDLERS: Readonly<Record<string, PanelHandler>> = {
  ping: () => ({ ok: "pong" }),
  clock: ({ app }) => ({ clock: app.clock.value }),
  report: ({ support }) => ({ ok: bugReport(support.app) }),
  // Celery's reply always has the first two.
  conf: ({ support }, args) =>
    jsonable({
      include: support.app.conf.include ?? [],
      deprecated_settings: null,
      ...support.app.conf.table({ withDefaults: isTruthy(args["with_defaults"]) }),
    }),
  active: (worker, args) =>
    worker.active().map((request) => requestInfo(worker, request, isTruthy(args["safe"]))),
  reserved: (worker) => reserved(worker).map((request) => requestInfo(worker, request)),
  scheduled,
  revoked: ({ revoked }) => [...revoked.entries()].map(([id]) => id),
  registered,
  stats,
  active_queues: ({ consumer }) => (consumer.tasks?.queues ?? []).map(queueInfo),
  query_task: queryTask,
  hello,
  memsample: (worker) => sample(worker),
  memdump,
  objgraph: () => {
    throw new PythonError("ImportError", "Requires the objgraph library");
  },
};

/** Returns requests that wait for a slot or a token: neither running nor waiting for their eta. */
export function reserved(worker: WorkerCore): Request[] {
  const waiting = worker.lane.waiting().filter(({ state }) => state !== RequestState.eta);
  const given = [...worker.state.inPool.values()].filter(({ pid }) => pid === 0);
  return [...given, ...waiting];
}

function scheduled(worker: WorkerCore): unknown[] {
  const held = worker.lane.waiting().filter(({ state }) => state === RequestState.eta);
  const parked = worker.lane.pending.parked.list(worker.world.clock.wallMs());
  return [...held, ...parked].map((request) => ({
    eta: isoSeconds(request.etaWallMs),
    priority: TIMER_PRIORITY,
    // A task not yet due is never acknowledged: a parked one belongs to the broker again.
    request: {
      ...requestInfo(worker, request),
      acknowledged: false,
    },
  }));
}

/** Formats as Python's isoformat does: microseconds, and the offset with a colon. */
function isoSeconds(wallMs: number): string {
  const micros = String(Math.round((wallMs % 1000 + 1000) % 1000 * 1000)).padStart(6, "0");
  const text = new Date(Math.floor(wallMs / 1000) * 1000).toISOString().slice(0, 19);
  return `${text}${micros === "000000" ? "" : `.${micros}`}+00:00`;
}

function registered(worker: WorkerCore, args: Record<string, unknown>): string[] {
  const given = args["taskinfoitems"];
  const names = Array.isArray(given) && given.length > 0 ? given.map(String) : TASK_ATTRIBUTES;
  const lines: [string, string][] = [];
  for (const [name, task] of worker.app.tasks) {
    if (name.startsWith("celery.") && !isTruthy(args["builtins"])) continue;
    const fields: string[] = [];
    for (const attribute of names) {
      if (attribute === "__annotations__") {
        fields.push(`${attribute}=${annotationsText(task.parameters)}`);
        continue;
      }
      const value = attributeOf(name, task.options, attribute) ??
        settingOf(worker, attribute);
      if (value !== null && value !== undefined) fields.push(`${attribute}=${pythonText(value)}`);
    }
    lines.push([name, fields.length > 0 ? `${name} [${fields.join(" ")}]` : name]);
  }
  return lines.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0).map(([, line]) => line);
}

/**
 * Returns a task's parameters as Python shows annotations. All types are Any, since TypeScript's are gone at
 * run time.
 */
function annotationsText({ names, takesObject }: WorkerTask["parameters"]): string {
  const plain = (takesObject ? names.slice(0, -1) : names).filter((name) => IDENTIFIER.test(name));
  return `{${plain.map((name) => `'${name}': typing.Any`).join(", ")}}`;
}

/** Returns a task's attribute by its Python name: `rate_limit` is `rateLimit` here. */
function attributeOf(name: string, options: object, attribute: string): unknown {
  if (attribute === "name") return name;
  const key = camelCase(attribute);
  const value: unknown = Object.hasOwn(options, key) ? Reflect.get(options, key) : null;
  return typeof value === "function" || typeof value === "object" ? null : value;
}

/**
 * Returns the setting that applies if a task does not set the attribute. Source: celery 5.2.6 app/task.py
 * Task.from_config.
 */
function settingOf({ support }: WorkerCore, attribute: string): unknown {
  const { conf } = support.app;
  return attribute === "serializer"
    ? conf.task_serializer
    : attribute === "priority"
    ? conf.task_default_priority
    : null;
}

function stats(worker: WorkerCore): Record<string, unknown> {
  const all = worker.stats();
  const pool = all["pool"] as Record<string, unknown> | string;
  const { state } = worker;
  const { processed } = state;
  return {
    ...all,
    clock: String(worker.app.clock.value),
    broker: brokerInfo(worker),
    ...(typeof pool === "object"
      ? {
        pool: {
          ...pool,
          timeouts: [worker.options.softTimeLimit ?? 0, worker.options.timeLimit ?? 0],
          writes: {
            ...shares(pool["writes"] as readonly number[], processed),
            strategy: "fair",
            inqueues: { total: worker.pool.size, active: state.inPool.size },
          },
        },
      }
      : {}),
    rusage: resourceUse(worker),
  };
}

/**
 * How tasks are distributed over slots. Source: celery 5.2.6 concurrency/prefork.py, asynpool.py
 * human_write_stats.
 */
function shares(writes: readonly number[], processed: number): Record<string, unknown> {
  const counts = writes.length > 0 ? writes : [processed];
  const total = counts.reduce((sum, count) => sum + count, 0);
  const share = (count: number): string => (total > 0 ? count / total : 0).toFixed(2);
  return {
    total,
    avg: share(total / counts.length),
    all: counts.map(share).join(", "),
    raw: counts.join(", "),
  };
}

function queryTask(worker: WorkerCore, args: Record<string, unknown>): Record<string, unknown> {
  const ids = args["ids"];
  demand(args, "query_task", ["ids"]);
  const wanted = new Set(Array.isArray(ids) ? ids.map(String) : [String(ids)]);
  const found: Record<string, unknown> = {};
  for (const request of worker.active()) {
    if (wanted.has(request.id)) found[request.id] = ["active", requestInfo(worker, request)];
  }
  for (const request of reserved(worker)) {
    if (wanted.has(request.id)) found[request.id] = ["reserved", requestInfo(worker, request)];
  }
  return found;
}

function hello(worker: WorkerCore, args: Record<string, unknown>): unknown {
  demand(args, "hello", ["from_node"]);
  const from = args["from_node"];
  if (from === worker.hostname) return null;
  const { world, revoked } = worker;
  world.log.info(`sync with ${shownLine(pythonText(from), 200)}`);
  mergeRevoked(world, revoked, args["revoked"]);
  return { revoked: revokedToWire(world, revoked), clock: worker.app.clock.forward() };
}

const samples = new WeakMap<WorkerCore, string[]>();

function sample(worker: WorkerCore): string {
  const text = humanBytes(worker.world.host.rssBytes());
  const list = samples.get(worker) ?? [];
  samples.set(worker, list);
  list.push(text);
  if (list.length > SAMPLES_MAX) list.shift();
  return text;
}

function memdump(worker: WorkerCore, args: Record<string, unknown>): string {
  const count = typeof args["samples"] === "number" ? args["samples"] : 10;
  const list = samples.get(worker) ?? [];
  samples.delete(worker);
  // Evenly spaced over all samples, as Celery picks them.
  const step = Math.max(1, list.length / Math.max(1, count));
  const picked = list.filter((_, n) => Math.floor(n / step) !== Math.floor((n - 1) / step));
  const lines = picked.length > 0 ? ["- rss (sample):", ...picked.map((one) => `-    > ${one},`)] : [];
  return [...lines, `- rss (end): ${humanBytes(worker.world.host.rssBytes())}.`, ""].join("\n");
}
