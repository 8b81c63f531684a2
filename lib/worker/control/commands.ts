/**
 * Control commands: they change something.
 *
 * Source: celery 5.2.6 and 5.6.3 worker/control.py.
 */

import { loadMore } from "../../app/mod.ts";
import { errorText, logFrom, shownLine, UsageError } from "../../base/mod.ts";
import { stored } from "../../backend/mod.ts";
import { exchange, type ExchangeType, type Queue, queue } from "../../transport/mod.ts";
import {
  encodeResultMeta,
  isTruthy,
  pythonText,
  strictRepr,
  TaskRevokedError,
  toWireException,
} from "../../wire/mod.ts";
import { SLOTS_MAX } from "../options.ts";
import { demand, PythonError } from "./error.ts";
import { type PanelHandler, reserved } from "./inspect.ts";
import { parseRate } from "../lane/rate_limit.ts";
import { SIGNUMS } from "../signums.ts";
import type { Strategy } from "../lane/strategy.ts";
import type { WorkerCore } from "../core.ts";
import type { WorkerTaskOptions } from "../worker_app.ts";

/** The logger that Celery uses for these lines. */
const FROM = { logger: "celery.worker.control" };

/** What a command returns if it sends no reply. */
export const NO_REPLY: unique symbol = Symbol("no reply");

type Answer = { ok: unknown } | { error: unknown };
type Args = Record<string, unknown>;

const ok = (value: unknown): Answer => ({ ok: value });
const nok = (value: unknown): Answer => ({ error: value });

/** Maximum number of characters of revoked ids in a log line. */
const IDS_SHOWN_MAX = 4000;

/** The commands by name. */
export const CONTROL_HANDLERS: Readonly<Record<string, PanelHandler>> = {
  revoke: (worker, args) => revoke(worker, args, isTruthy(args["terminate"])),
  terminate: (worker, args) => revoke(worker, args, true),
  revoke_by_stamped_headers: revokeByStampedHeaders,
  rate_limit: rateLimit,
  time_limit: timeLimit,
  enable_events: ({ remote, world }) => {
    if (!remote.events?.enableTasks()) return ok("task events already enabled");
    logFrom(world.log, FROM).info("Events of group {task} enabled by remote.");
    return ok("task events enabled");
  },
  disable_events: ({ remote, world }) => {
    if (!remote.events?.disableTasks()) return ok("task events already disabled");
    logFrom(world.log, FROM).info("Events of group {task} disabled by remote.");
    return ok("task events disabled");
  },
  heartbeat: ({ remote, world }) => {
    logFrom(world.log, FROM).debug("Heartbeat requested by remote.");
    remote.events?.heartbeat();
    return null;
  },
  election: ({ remote }, args) => {
    demand(args, "election", ["id", "topic"]);
    remote.gossip?.election(
      required(args, "election", "id"),
      required(args, "election", "topic"),
      args["action"],
    );
    return null;
  },
  pool_grow: (worker, args) => resize(worker, "pool_grow", count(args["n"])),
  pool_shrink: (worker, args) => resize(worker, "pool_shrink", count(args["n"])),
  pool_restart: poolRestart,
  autoscale: ({ remote }, args) => {
    if (remote.autoscaler === null) throw new PythonError("ValueError", "Autoscale not enabled");
    const { max, min } = remote.autoscaler.update(wholeOrNull(args["max"]), wholeOrNull(args["min"]));
    return ok(`autoscale now max=${max} min=${min}`);
  },
  shutdown: (worker) => {
    worker.onRemoteShutdown();
    return NO_REPLY;
  },
  add_consumer: addConsumer,
  cancel_consumer: (worker, args) => {
    const name = queueName(args, "cancel_consumer");
    later(worker, `cancel queue ${name}`, () => worker.consumer.cancelTaskQueue(name));
    return ok(`no longer consuming from ${name}`);
  },
};

function revoke(worker: WorkerCore, args: Args, terminate: boolean): Answer {
  const log = logFrom(worker.world.log, FROM);
  demand(args, "revoke", ["task_id"]);
  const given = args["task_id"];
  const list = given === null ? [] : Array.isArray(given) ? given : [given];
  const ids = [...new Set(list.map(String))];
  const signal = signalName(args["signal"]);
  // Collected before anything is ended: a request that then ends as revoked still counts as flagged.
  const wanted = new Set(ids);
  const waiting = terminate ? reserved(worker).filter(({ id }) => wanted.has(id)).map(({ id }) => id) : [];
  const ended = worker.revoke(ids, { terminate, signal: signal.name });
  for (const id of ids) worker.lane.pending.parked.discard(id);
  storeRevoked(worker, ids);
  if (!terminate) {
    const all = ids.join(", ");
    log.info(`Tasks flagged as revoked: ${shownLine(all, IDS_SHOWN_MAX)}`);
    return ok(`tasks ${all} flagged as revoked`);
  }
  const terminated = [...new Set([...ended, ...waiting])];
  for (const id of terminated) log.info(`Terminating ${shownLine(id, 200)} (${signal.number})`);
  return ok(terminated.length === 0 ? "terminate: tasks unknown" : `terminate: ${terminated.join(", ")}`);
}

/**
 * Stores REVOKED at once, as Celery 5.6.2 and later does, so that a caller waiting for a task that comes much
 * later (or never) sees it now. A task that runs here is left alone, since it stores its own end.
 */
function storeRevoked(worker: WorkerCore, ids: readonly string[]): void {
  const { backend, options } = worker.parts;
  // With rpc the result goes to the caller's queue, which only the message names.
  if (backend.kind === "disabled" || backend.kind === "rpc") return;
  const running = new Set([...worker.state.inPool.values()].map(({ id }) => id));
  // At most as many as the revoked set holds.
  for (const taskId of ids.slice(-worker.revoked.limits.max)) {
    if (running.has(taskId)) continue;
    const document = encodeResultMeta({
      taskId,
      state: "REVOKED",
      result: toWireException(new TaskRevokedError("revoked"), ""),
      traceback: null,
      children: null,
      dateDone: new Date(worker.world.clock.wallMs()).toISOString().replace("Z", "000+00:00"),
    }, options.resultSerializer);
    stored(backend, { taskId, state: "REVOKED", document, guard: true, replyTo: null }).catch((error) =>
      logFrom(worker.world.log, FROM).error(`Cannot store a result: ${errorText(error)}`)
    );
  }
}

function revokeByStampedHeaders(worker: WorkerCore, args: Args): Answer {
  demand(args, "revoke_by_stamped_headers", ["headers"]);
  const headers = stampsOf(args["headers"]);
  const signal = signalName(args["signal"]);
  const { revokedStamps, state } = worker;
  for (const [name, values] of headers) revokedStamps.add(name, values);
  const shown = strictRepr(given(args["headers"], headers));
  if (!isTruthy(args["terminate"])) return ok(`headers ${shown} flagged as revoked, but not terminated`);
  const ended = new Map<string, Set<string>>();
  const ids: string[] = [];
  for (const request of state.inPool.values()) {
    for (const [name, values] of headers) {
      const own = stampTexts(request.headers.stamps[name]);
      const same = own.filter((value) => values.includes(value));
      if (same.length === 0) continue;
      ended.set(name, new Set([...ended.get(name) ?? [], ...same]));
      ids.push(request.id);
    }
  }
  if (ids.length === 0) return ok(`headers ${shown} were not terminated`);
  worker.revoke([...new Set(ids)], { terminate: true, signal: signal.name });
  const parts = [...ended].map(([name, values]) => `${strictRepr(name)}: ${strictRepr(values)}`);
  return ok(`headers {${parts.join(", ")}} revoked`);
}

/** Reads stamps given as `{name: values}` or `["name=value"]`. */
function stampsOf(value: unknown): Map<string, string[]> {
  const stamps = new Map<string, string[]>();
  const add = (name: string, values: readonly string[]): void => {
    stamps.set(name, [...stamps.get(name) ?? [], ...values]);
  };
  if (Array.isArray(value)) {
    for (const one of value) {
      const at = String(one).indexOf("=");
      if (at < 1) {
        throw new PythonError("ValueError", `a stamp must be given as name=value, not ${strictRepr(one)}`);
      }
      add(String(one).slice(0, at), [String(one).slice(at + 1)]);
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [name, values] of Object.entries(value)) add(name, stampTexts(values));
  } else {
    throw new PythonError("TypeError", "headers must be an object or a list");
  }
  return stamps;
}

function given(value: unknown, headers: ReadonlyMap<string, readonly string[]>): unknown {
  if (!Array.isArray(value)) return value;
  return Object.fromEntries([...headers].map(([name, values]) => [name, values.at(-1)!]));
}

/** Returns a stamp's values as texts; a stamp has one value or a list. */
function stampTexts(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value.map(pythonText) : [pythonText(value)];
}

function rateLimit(worker: WorkerCore, args: Args): Answer {
  demand(args, "rate_limit", ["task_name", "rate_limit"]);
  const name = required(args, "rate_limit", "task_name");
  const rate = args["rate_limit"];
  if (rate !== null && typeof rate !== "string" && typeof rate !== "number") {
    throw new PythonError("TypeError", "rate_limit must be a string or a number");
  }
  let perSecond: number;
  try {
    perSecond = parseRate(rate);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const key = /KeyError\('(.*)'\)$/.exec(error.message);
    if (key) throw new PythonError("KeyError", key[1]);
    return nok(error.message);
  }
  const log = logFrom(worker.world.log, FROM);
  const strategy = worker.strategies.get(name);
  if (strategy === undefined) {
    log.error(`Rate limit attempt for unknown task ${shownLine(name, 200)}`);
    return nok("unknown task");
  }
  writable(strategy).rateLimit = rate;
  if (!worker.app.conf.worker_disable_rate_limits) worker.lane.setRateLimit(strategy, perSecond);
  if (!rate) {
    log.info(`Rate limits disabled for tasks of type ${name}`);
    return ok("rate limit disabled successfully");
  }
  log.info(`New rate limit for tasks of type ${name}: ${shownLine(String(rate), 200)}.`);
  return ok("new rate limit set successfully");
}

function timeLimit(worker: WorkerCore, args: Args): Answer {
  const name = String(args["task_name"] ?? "");
  const soft = secondsOrNull(args["soft"]);
  const hard = secondsOrNull(args["hard"]);
  const log = logFrom(worker.world.log, FROM);
  const strategy = worker.strategies.get(name);
  if (strategy === undefined) {
    log.error(`Change time limit attempt for unknown task ${shownLine(name, 200)}`);
    return nok("unknown task");
  }
  const options = writable(strategy);
  options.softTimeLimit = soft;
  options.timeLimit = hard;
  strategy.softTimeLimit = soft || worker.options.softTimeLimit;
  strategy.timeLimit = hard || worker.options.timeLimit;
  for (const request of worker.lane.waiting()) {
    if (request.strategy !== strategy) continue;
    request.softTimeLimit = request.headers.softTimeLimit || strategy.softTimeLimit;
    request.timeLimit = request.headers.timeLimit || strategy.timeLimit;
  }
  log.info(`New time limits for tasks of type ${name}: soft=${pythonText(soft)} hard=${pythonText(hard)}`);
  return ok("time limits set successfully");
}

// The task's own options change too, since a reconnect makes the strategies from them again.
function writable(strategy: Strategy): { -readonly [K in keyof WorkerTaskOptions]: WorkerTaskOptions[K] } {
  return strategy.task.options;
}

function resize(worker: WorkerCore, name: "pool_grow" | "pool_shrink", n: number): Answer {
  if (worker.remote.autoscaler !== null) {
    return nok(`${name} is not supported with autoscale. Adjust autoscale range instead.`);
  }
  const { pool } = worker;
  if (pool.name === "solo") throw new PythonError("NotImplementedError", "The solo pool has one slot");
  // As in Celery, only idle slots are removed; a slot that is about to get a waiting task is not idle.
  if (name === "pool_shrink" && n > Math.min(pool.size - 1, pool.size - pool.busy - worker.lane.readyCount)) {
    throw new PythonError("ValueError", "Can't shrink pool. All processes busy!");
  }
  const isGrowing = name === "pool_grow";
  const most = SLOTS_MAX[worker.options.pool];
  if (isGrowing && pool.size + n > most) {
    throw new PythonError("ValueError", `A pool has ${most} slots at most`);
  }
  const size = pool.size + (isGrowing ? n : -n);
  later(worker, isGrowing ? "grow the pool" : "shrink the pool", async () => {
    await (isGrowing ? pool.grow(n) : pool.shrink(n));
    worker.window.resize(size);
    worker.lane.sendPrefetch();
    worker.state.consumer?.wake();
  });
  return ok(isGrowing ? "pool will grow" : "pool will shrink");
}

/**
 * Restarts the slots. New slots load the user's modules again, so changed code is used with or without
 * `reload`. `modules` are loaded in this process too if they are not loaded yet.
 */
async function poolRestart(worker: WorkerCore, args: Args): Promise<Answer> {
  const { app } = worker.support;
  if (!app.conf.worker_pool_restarts) throw new PythonError("ValueError", "Pool restarts not enabled");
  const modules = namesOf(args["modules"]);
  if (modules.length > 0) {
    try {
      await loadMore(app, modules);
    } catch (error) {
      throw new PythonError("ImportError", errorText(error));
    }
    worker.updateStrategies();
  }
  later(worker, "restart the pool", () => worker.pool.restart());
  return ok("reload started");
}

function namesOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((name) => typeof name === "string")) return value;
  throw new PythonError("TypeError", "modules must be a list of names");
}

function addConsumer(worker: WorkerCore, args: Args): Answer {
  const name = queueName(args, "add_consumer");
  const made = queueOf(worker, name, args);
  later(worker, `consume from ${name}`, () => worker.consumer.addTaskQueue(made));
  return ok(`add consumer ${name}`);
}

const EXCHANGE_TYPES: ReadonlySet<unknown> = new Set(["direct", "topic", "fanout", "headers"]);

function queueOf(worker: WorkerCore, name: string, args: Args): Queue {
  const { queues } = worker.app.amqp;
  const known = worker.support.app.amqp.queues.names().includes(name);
  if (known) return queues.get(name);
  const type = args["exchange_type"] ?? "direct";
  if (!EXCHANGE_TYPES.has(type)) {
    throw new PythonError("ValueError", `unknown exchange type ${strictRepr(type)}`);
  }
  const durable = typeof args["durable"] === "boolean" ? args["durable"] : true;
  const options = args["queue_arguments"];
  return queue(name, {
    exchange: exchange(textOr(args["exchange"], name), { type: type as ExchangeType, durable }),
    routingKey: textOr(args["routing_key"], name),
    durable,
    ...(typeof args["auto_delete"] === "boolean" ? { autoDelete: args["auto_delete"] } : {}),
    ...(typeof options === "object" && options !== null && !Array.isArray(options)
      ? { queueArguments: { ...options } }
      : {}),
  });
}

/** Does the work after the reply; an error is logged in one line. */
function later(worker: WorkerCore, what: string, work: () => Promise<void>): void {
  work().catch((error: unknown) =>
    logFrom(worker.world.log, FROM).error(`Cannot ${shownLine(what, 200)}: ${errorText(error)}`)
  );
}

function signalName(value: unknown): { name: string; number: number } {
  if (value === undefined || value === null) return { name: "SIGTERM", number: 15 };
  const text = String(value).toUpperCase();
  const name = text.startsWith("SIG") ? text : `SIG${text}`;
  for (const [known, number] of Object.entries(SIGNUMS)) {
    if (known === name || String(number) === text) return { name: known, number };
  }
  throw new PythonError("ValueError", `no such signal: ${strictRepr(value)}`);
}

function required(args: Args, command: string, name: string): string {
  const value = args[name];
  if (typeof value === "string") return value;
  demand(args, command, [name]);
  throw new PythonError("TypeError", `${name} must be a string`);
}

// The name goes into the log, keys and file names, so control characters are refused.
function queueName(args: Args, command: string): string {
  const name = required(args, command, "queue");
  if (name !== "" && name.length <= 255 && !/\p{Cc}/u.test(name)) return name;
  throw new PythonError("ValueError", `not a valid queue name: ${strictRepr(name.slice(0, 255))}`);
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === "string" && value !== "" ? value : otherwise;
}

function count(value: unknown): number {
  if (value === undefined || value === null) return 1;
  if (Number.isInteger(value) && (value as number) > 0) return value as number;
  throw new PythonError("ValueError", `n must be a whole number above 0, not ${strictRepr(value)}`);
}

function wholeOrNull(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (Number.isInteger(value)) return value as number;
  throw new PythonError("ValueError", `must be a whole number, not ${strictRepr(value)}`);
}

function secondsOrNull(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  const seconds = typeof value === "string" ? Number(value) : value;
  if (typeof seconds === "number" && Number.isFinite(seconds) && seconds >= 0) return seconds;
  throw new PythonError("ValueError", `a time limit must be a number of seconds, not ${strictRepr(value)}`);
}
