/**
 * The handlers of /api/v1. The server has checked scope and input before by the table of routes (schema.ts).
 */

import { isRecord, UsageError } from "../../../base/mod.ts";
import { fromExactJson } from "../../../wire/mod.ts";
import { abort, BULK_MAX, command, forTasks, revoke, shutdown } from "../../cluster/actions.ts";
import {
  findOriginal,
  forLetters,
  KeptLetters,
  type LetterKind,
  listLetters,
  retryTask,
} from "../../cluster/letters.ts";
import { overviewOf, seriesOf, WINDOW_DEFAULT } from "../../cluster/overview.ts";
import { listPeriodic } from "../../cluster/periodic.ts";
import { listScheduled } from "../../cluster/scheduled.ts";
import { storedResult, taskRow, taskView } from "../../cluster/tasks.ts";
import { hasWorker, registeredNames, workerRows, workerView } from "../../cluster/workers.ts";
import { MATCHES_MAX } from "../../history/history.ts";
import { SORTS } from "../../history/task_table.ts";
import { type Parts, Refused } from "../request.ts";
import type { Body, Query, Reply, RouteName } from "./schema.ts";

/** A route other than those for the session. */
export type HandledRoute = Exclude<RouteName, "session" | "login" | "logout">;

/** The checked input of a handler. */
export interface Call<Name extends RouteName> {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query<Name>;
  readonly body: Body<Name>;
}

/** All handlers; a null reply is answered with 404. */
export type Handlers = {
  readonly [Name in HandledRoute]: (
    parts: Parts,
    call: Call<Name>,
  ) => Promise<Reply<Name> | null> | Reply<Name>;
};

const PAGE_DEFAULT = 50;
const ROWS_DEFAULT = 200;

const LOOKING = {
  overview: (parts, { query }) => {
    // Not awaited, so that the page does not wait for the broker: the next request shows the queues.
    parts.queues.list().catch(() => {});
    return overviewOf(parts.cluster, { ...parts, window: query.window ?? WINDOW_DEFAULT });
  },
  series: ({ cluster }, { query }) => seriesOf(cluster, query.window ?? WINDOW_DEFAULT, query.task ?? null),
  tasks: ({ cluster: { history, world } }, { query }) => {
    const sort = query.sort ?? "-received";
    const column = sort.replace(/^-/, "");
    if (column !== "received" && !Object.hasOwn(SORTS, column)) {
      throw new UsageError(
        `Cannot sort by "${column}": there are received, ${Object.keys(SORTS).join(", ")}`,
      );
    }
    const startMs = world.clock.monoMs();
    const { records, ...page } = history.page({
      search: query.search ?? "",
      sort,
      limit: query.limit ?? PAGE_DEFAULT,
      cursor: query.cursor ?? null,
    });
    return { rows: records.map(taskRow), ...page, tookMs: world.clock.monoMs() - startMs };
  },
  taskNames: async ({ cluster, inspector }) => ({
    registered: await registeredNames(inspector),
    seen: [...cluster.history.figures.sums(30 * 86_400, cluster.world.clock.wallMs() / 1000).keys()]
      .map((name) => cluster.history.words.text(name)).filter((name) => name !== null).sort(),
  }),
  task: ({ cluster }, { params }) => taskView(cluster, params["id"]!),
  workers: ({ cluster, inspector }) => ({ rows: workerRows(cluster, inspector) }),
  worker: ({ cluster, inspector }, { params }) => workerView(cluster, inspector, params["worker"]!),
  queues: ({ queues }) => queues.shown(),
  scheduled: ({ cluster, inspector }, { query }) =>
    listScheduled(cluster, inspector, query.limit ?? ROWS_DEFAULT),
  periodic: ({ cluster, hasModule }) => listPeriodic(cluster, hasModule),
  letters: ({ cluster }, { params, query }) =>
    listLetters(cluster, letterKind(params["kind"]!), query.limit ?? ROWS_DEFAULT),
  audit: ({ audit }) => ({ rows: [...audit.lines] }),
} satisfies Partial<Handlers>;

const ON_TASKS = {
  retryTask: async ({ cluster }, { params }) => {
    const id = params["id"]!;
    const taskId = await retryTask(cluster, id, { stored: await storedResult(cluster, id) });
    return { message: `Task ${id} was sent again as ${taskId}`, taskId };
  },
  resendTask: async ({ cluster }, { params, body }) => {
    const id = params["id"]!;
    const stored = await storedResult(cluster, id);
    const original = body.args === undefined || body.kwargs === undefined
      ? await findOriginal(new KeptLetters(cluster), id, stored)
      : { whyNot: "" };
    const known = "whyNot" in original ? null : original;
    const name = cluster.history.task(id)?.state.name ?? stored?.name ?? known?.name ?? null;
    if (name === null) throw new Refused(404, `The name of task ${id} is not known`);
    if (known === null && body.args === undefined && "whyNot" in original) {
      throw new UsageError(`Cannot send task ${id} again without arguments: ${original.whyNot}`);
    }
    return await send(cluster, name, {
      ...body,
      args: body.args ?? fromExactJson(known!.args) as unknown[],
      kwargs: body.kwargs ?? (known === null ? {} : fromExactJson(known.kwargs) as Record<string, unknown>),
    });
  },
  runTask: ({ cluster }, { body: { name, ...body } }) => send(cluster, name, body),
  revokeTask: async ({ cluster }, { params, body: { terminate = false, signal = "SIGTERM" } }) => {
    const id = params["id"]!;
    await revoke(cluster, [id], { terminate, signal });
    return { message: `Task ${id} was ${terminate ? "terminated" : "revoked"}`, replies: [] };
  },
  abortTask: ({ cluster }, { params }) => abort(cluster, params["id"]!),
  bulk: async (
    { cluster },
    { body: { action, search, ids, signal = "SIGTERM", isDryRun = false, count } },
  ) => {
    const { chosen, isExact } = chosenTasks(cluster, search, ids);
    if (isDryRun) return { count: chosen.length, isCountExact: isExact, done: 0, failures: [] };
    if (count === undefined) {
      throw new UsageError('Cannot act without "count": ask with isDryRun first');
    }
    if (chosen.length > count) {
      throw new UsageError(`Cannot act: ${chosen.length} tasks match now, but only ${count} were counted`);
    }
    const { done, failures } = await forTasks(cluster, chosen, { action, signal });
    return { count: chosen.length, isCountExact: isExact, done, failures: failures.slice(0, 50) };
  },
  letterRetry: ({ cluster }, { params, body: { ids } }) =>
    forLetters(cluster, { kind: letterKind(params["kind"]!), ids, how: "retry" }),
  letterDrop: ({ cluster }, { params, body: { ids } }) =>
    forLetters(cluster, { kind: letterKind(params["kind"]!), ids, how: "drop" }),
} satisfies Partial<Handlers>;

const ON_WORKERS = {
  rateLimit: ({ cluster }, { params, body: { rate, workers } }) =>
    command(cluster, {
      name: "rate_limit",
      args: { task_name: params["name"]!, rate_limit: rate },
      workers,
      message: `Rate limit of ${params["name"]}: ${rate}`,
    }),
  timeLimit: ({ cluster }, { params, body: { soft, hard, workers } }) =>
    command(cluster, {
      name: "time_limit",
      args: { task_name: params["name"]!, soft: soft || null, hard: hard || null },
      workers,
      message: `Time limits of ${params["name"]}: soft ${soft || "none"}, hard ${hard || "none"}`,
    }),
  events: ({ cluster }, { body: { enable, workers } }) =>
    command(cluster, {
      name: enable ? "enable_events" : "disable_events",
      args: {},
      workers,
      message: enable ? "Task events enabled" : "Task events disabled",
    }),
  poolGrow: ({ cluster }, { params, body: { n = 1 } }) =>
    onWorker(cluster, params, { name: "pool_grow", args: { n }, message: `Pool grown by ${n}` }),
  poolShrink: ({ cluster }, { params, body: { n = 1 } }) =>
    onWorker(cluster, params, { name: "pool_shrink", args: { n }, message: `Pool shrunk by ${n}` }),
  poolAutoscale: ({ cluster }, { params, body: { min, max } }) => {
    if (min > max) {
      throw new UsageError(`Cannot autoscale from ${min} to ${max}: the minimum exceeds the maximum`);
    }
    return onWorker(cluster, params, {
      name: "autoscale",
      args: { min, max },
      message: `Autoscaling from ${min} to ${max}`,
    });
  },
  poolRestart: ({ cluster }, { params }) =>
    onWorker(cluster, params, { name: "pool_restart", args: { reload: false }, message: "Pool restarted" }),
  addConsumer: ({ cluster }, { params, body: { queue, exchange, exchangeType, routingKey } }) =>
    onWorker(cluster, params, {
      name: "add_consumer",
      args: {
        queue,
        exchange: exchange || null,
        exchange_type: exchangeType || "direct",
        routing_key: routingKey || null,
      },
      message: `Consuming from ${queue}`,
    }),
  cancelConsumer: ({ cluster }, { params, body: { queue } }) =>
    onWorker(cluster, params, {
      name: "cancel_consumer",
      args: { queue },
      message: `No longer consuming from ${queue}`,
    }),
  shutdown: async ({ cluster, inspector }, { params }) => {
    const worker = params["worker"]!;
    // A shutdown sends no reply, so check first that the worker exists.
    return await hasWorker(cluster, inspector, worker) ? await shutdown(cluster, worker) : null;
  },
  purge: async ({ cluster }, { params, body: { confirm } }) => {
    const queue = params["queue"]!;
    if (confirm !== queue) {
      throw new UsageError(`Cannot purge queue "${queue}": type its name to confirm`);
    }
    const connection = await cluster.connection();
    if (await connection.queueLength(queue) === null) throw new Refused(404, `There is no queue "${queue}"`);
    const count = await connection.purge(queue);
    return { message: `${count} message${count === 1 ? "" : "s"} deleted from ${queue}`, count };
  },
} satisfies Partial<Handlers>;

/** The handlers by route name. */
export const HANDLERS: Handlers = { ...LOOKING, ...ON_TASKS, ...ON_WORKERS };

/** The actions' names in the audit log, by route; routes that only read are absent. */
export const AUDITED: Readonly<Partial<Record<HandledRoute, string>>> = {
  retryTask: "retry",
  resendTask: "resend",
  runTask: "run",
  revokeTask: "revoke",
  abortTask: "abort",
  bulk: "bulk",
  letterRetry: "letter_retry",
  letterDrop: "letter_drop",
  rateLimit: "rate_limit",
  timeLimit: "time_limit",
  events: "enable_events",
  poolGrow: "pool_grow",
  poolShrink: "pool_shrink",
  poolAutoscale: "pool_autoscale",
  poolRestart: "pool_restart",
  addConsumer: "add_consumer",
  cancelConsumer: "cancel_consumer",
  shutdown: "shutdown",
  purge: "purge",
};

type Cluster = Parts["cluster"];

function onWorker(
  cluster: Cluster,
  params: Readonly<Record<string, string>>,
  what: { name: string; args: Record<string, unknown>; message: string },
) {
  return command(cluster, { ...what, workers: [params["worker"]!] });
}

/** Sends a task by name. Numbers in its arguments keep all their digits. */
async function send(
  cluster: Cluster,
  name: string,
  body: Omit<Body<"runTask">, "name">,
): Promise<Reply<"runTask">> {
  const { args = [], kwargs = {}, eta, queue, ...options } = body;
  if (eta !== undefined && !Number.isFinite(Date.parse(eta))) {
    throw new UsageError(`Cannot send a task at "${eta}": not an ISO 8601 time`);
  }
  const result = await cluster.app.sendTask(name, {
    args,
    kwargs,
    ...options,
    ...(eta === undefined ? {} : { eta }),
    ...(queue === undefined || queue === "" ? {} : { queue }),
  });
  return { message: `Task ${name} was sent as ${result.id}`, taskId: result.id };
}

/** Returns the task ids of a search, the newest BULK_MAX, or of a list. Throws UsageError. */
function chosenTasks(
  { history }: Cluster,
  search: string | undefined,
  ids: readonly string[] | undefined,
): { chosen: readonly string[]; isExact: boolean } {
  if (ids !== undefined) return { chosen: [...new Set(ids)], isExact: true };
  if (search === undefined || search.trim() === "") {
    throw new UsageError("Cannot act on all tasks: give a search or ids");
  }
  history.write();
  const seqs = history.newest(history.compile(search), Math.min(BULK_MAX, MATCHES_MAX) + 1);
  const chosen = history.tasks.rows(seqs.slice(0, BULK_MAX)).map(({ id }) => id);
  return { chosen, isExact: seqs.length <= BULK_MAX };
}

function letterKind(text: string): LetterKind {
  if (text === "dead" || text === "failed") return text;
  throw new Refused(404, `Unknown kind of letters "${text}": must be "dead" or "failed"`);
}

/** Describes the target of an action for the audit log. */
export function targetOf(
  { params, body }: { params: Readonly<Record<string, string>>; body: unknown },
): string {
  const own = Object.values(params).join(" ");
  if (!isRecord(body)) return own;
  const more = ["name", "action", "search", "queue", "rate"].filter((key) => typeof body[key] === "string")
    .map((key) => `${key}=${body[key]}`);
  const ids = Array.isArray(body["ids"]) ? [`ids=${body["ids"].length}`] : [];
  return [own, ...more, ...ids].filter(Boolean).join(" ") || "all workers";
}
