/** Workers as the API shows them: from their events and replies. */

import { atMost, isRecord, maskUrls, textOrNull } from "../../base/mod.ts";
import { SECRET_MASK, SECRET_NAME } from "../../app/mod.ts";
import { shownJson } from "../../wire/mod.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import { consumedQueues, type Inspector } from "./inspector.ts";

/** How long a known worker's page waits for its reply, so that the page takes at most 100 ms. */
const ANSWER_MS = 80;

type Row = Shape<"WorkerRow">;
type Plain = Record<string, unknown>;

/** Returns all workers, online ones first, then by name. */
export function workerRows(cluster: Cluster, inspector: Inspector): Row[] {
  inspector.refreshSome();
  const names = new Set([...cluster.workers.keys(), ...inspector.workers.keys()]);
  return [...names].filter((name) => !cluster.isPurged(name)).map((name) =>
    workerRow(cluster, inspector, name)
  ).sort((a, b) => Number(b.isOnline) - Number(a.isOnline) || (a.name < b.name ? -1 : 1));
}

function workerRow(cluster: Cluster, inspector: Inspector, name: string): Row {
  const state = cluster.workers.get(name) ?? null;
  const info = inspector.workers.get(name) ?? {};
  const stats = isRecord(info.stats) ? info.stats : {};
  const pool = isRecord(stats["pool"]) ? stats["pool"] : {};
  const counts = cluster.counts.get(name);
  const count = (kind: string) => counts?.get(kind) ?? 0;
  const hasTaskEvents = counts !== undefined && [...counts.keys()].some((kind) => kind.startsWith("task-"));
  return {
    name,
    isOnline: state?.alive ?? false,
    active: state?.active ?? null,
    processed: state?.processed ?? null,
    succeeded: count("task-succeeded"),
    failed: count("task-failed"),
    retried: count("task-retried"),
    load: state?.loadavg ?? null,
    pool: poolName(pool),
    concurrency: whole(pool["max-concurrency"]),
    queues: consumedQueues(info)?.sort() ?? null,
    software: state?.swIdent ?? null,
    version: state?.swVer ?? null,
    system: state?.swSys ?? null,
    pid: state?.pid ?? whole(stats["pid"]),
    lastSeen: state?.heartbeats.at(-1) ?? null,
    sendsTaskEvents: hasTaskEvents ? true : null,
  };
}

/**
 * Asks a worker and returns its details; null if it is not known and does not answer. A known worker is
 * waited for at most 80 ms; a later reply is shown by the next request. Rejects if the broker is away.
 */
export async function workerView(
  cluster: Cluster,
  inspector: Inspector,
  name: string,
): Promise<Shape<"Worker"> | null> {
  // Do not wait for a worker that is offline.
  const isThere = cluster.workers.get(name)?.alive ?? true;
  if (isThere) {
    const asking = inspector.refresh(name);
    if (cluster.workers.has(name) || inspector.workers.has(name)) {
      await atMost(cluster.world.clock, ANSWER_MS, asking);
    } else await asking;
  }
  const info = inspector.workers.get(name) ?? {};
  if (info.timestamp === undefined && !cluster.workers.has(name)) return null;
  const hasAnswered = isThere ? inspector.answered.get(name) ?? null : false;
  const given = hasAnswered === false ? {} : info;
  const stats = isRecord(given.stats) ? given.stats : {};
  const pool = isRecord(stats["pool"]) ? stats["pool"] : {};
  const scaler = isRecord(stats["autoscaler"]) ? stats["autoscaler"] : {};
  return {
    row: workerRow(cluster, inspector, name),
    answered: hasAnswered,
    askedAt: info.timestamp ?? null,
    pool: shownRecord(pool),
    poolMin: whole(scaler["min"]),
    poolMax: whole(scaler["max"]),
    prefetch: whole(stats["prefetch_count"]),
    uptime: typeof stats["uptime"] === "number" ? stats["uptime"] : null,
    queues: listOf(given.active_queues).map(queueOf),
    active: listOf(given.active).map(requestOf),
    reserved: listOf(given.reserved).map(requestOf),
    scheduled: listOf(given.scheduled).map(scheduledOf),
    revoked: Array.isArray(given.revoked) ? given.revoked.map(String) : [],
    registered: Array.isArray(given.registered) ? given.registered.map(limitsOf) : [],
    conf: maskedConf(given.conf),
    stats: shownRecord(stats),
  };
}

/** Returns true if a worker of that name has ever answered; may ask it. Rejects if the broker is away. */
export async function hasWorker(cluster: Cluster, inspector: Inspector, name: string): Promise<boolean> {
  // Do not wait for an unknown name if other workers are known.
  const mayBeThere = inspector.workers.size === 0 || cluster.workers.has(name);
  if (!inspector.workers.has(name) && mayBeThere) await inspector.refresh(name, ["stats"]);
  return inspector.workers.has(name);
}

/** Asks all workers and returns the names of their registered tasks. Rejects if the broker is away. */
export async function registeredNames(inspector: Inspector): Promise<string[]> {
  await inspector.refresh(null, ["registered"]);
  const names = new Set<string>();
  for (const { registered } of inspector.workers.values()) {
    if (!Array.isArray(registered)) continue;
    for (const one of registered) names.add(String(one).split(" [")[0]!);
  }
  return [...names].filter((name) => !name.startsWith("celery.")).sort();
}

/** Masks secrets in settings, by name and in URLs. Numbers that JSON cannot carry become texts. */
export function maskedConf(conf: unknown): Plain {
  if (!isRecord(conf)) return {};
  return Object.fromEntries(
    Object.entries(conf).map((
      [key, value],
    ) => [key, SECRET_NAME.test(key) && value !== null ? SECRET_MASK : masked(value)]),
  );
}

/** Converts a request in the form of `inspect active` and similar commands. */
export function requestOf(request: Plain): Shape<"RequestRow"> {
  const info = isRecord(request["delivery_info"]) ? request["delivery_info"] : {};
  return {
    id: String(request["id"] ?? ""),
    name: String(request["name"] ?? request["type"] ?? ""),
    args: textOf(request["args"]),
    kwargs: textOf(request["kwargs"]),
    started: typeof request["time_start"] === "number" ? request["time_start"] : null,
    pid: whole(request["worker_pid"]),
    queue: textOrNull(info["routing_key"]),
    redelivered: typeof info["redelivered"] === "boolean" ? info["redelivered"] : null,
    eta: null,
    priority: whole(info["priority"]),
  };
}

function scheduledOf(entry: Plain): Shape<"RequestRow"> {
  const request = isRecord(entry["request"]) ? entry["request"] : {};
  return { ...requestOf(request), eta: textOrNull(entry["eta"]) };
}

function queueOf(queue: Plain): Shape<"WorkerQueue"> {
  const exchange = isRecord(queue["exchange"]) ? queue["exchange"] : {};
  return {
    name: String(queue["name"]),
    exchange: textOrNull(exchange["name"]),
    exchangeType: textOrNull(exchange["type"]),
    routingKey: textOrNull(queue["routing_key"]),
    isDurable: typeof queue["durable"] === "boolean" ? queue["durable"] : null,
  };
}

/** Parses `shop.add [rate_limit=10/m]`, the form in which workers list their tasks. */
function limitsOf(entry: unknown): Shape<"TaskLimits"> {
  const [name = "", rest = ""] = String(entry).split(" [");
  const limits = new Map(
    rest.replace(/\]$/, "").split(" ").map((part) => {
      const equals = part.indexOf("=");
      return [part.slice(0, equals), part.slice(equals + 1)] as const;
    }),
  );
  const seconds = (key: string) => limits.has(key) ? Number(limits.get(key)) : null;
  return {
    name,
    rateLimit: limits.get("rate_limit") ?? null,
    timeLimit: seconds("time_limit"),
    softTimeLimit: seconds("soft_time_limit"),
  };
}

/** Returns "prefork" for `celery.concurrency.prefork:TaskPool`, "threads" for `lovage.pool:threads`. */
function poolName(pool: Plain): string | null {
  const implementation = pool["implementation"];
  // Before Celery 5.3 the prefork pool does not report its implementation.
  if (typeof implementation !== "string") return "put-guarded-by-semaphore" in pool ? "prefork" : null;
  const [place = "", name = ""] = implementation.split(":");
  return place === "lovage.pool" ? name : place.split(".").at(-1)!;
}

function masked(value: unknown): unknown {
  if (typeof value === "string") return maskUrls(value);
  if (Array.isArray(value)) return value.map(masked);
  if (isRecord(value)) return maskedConf(value);
  return typeof value === "bigint" || typeof value === "number" && !Number.isFinite(value)
    ? String(value)
    : value;
}

function shownRecord(value: Plain): Plain {
  return masked(value) as Plain;
}

function listOf(value: unknown): Plain[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : value === undefined ? "" : shownJson(value, { isSpaced: true });
}

function whole(value: unknown): number | null {
  return typeof value === "number" && Number.isInteger(value) ? value : null;
}
