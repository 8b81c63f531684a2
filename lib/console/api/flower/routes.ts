/** The routes of Flower's API. Source: flower urls.py, api/workers.py, views/workers.py. */

import { Hono } from "hono/quick";
import { booleanOf, maskUrls } from "../../../base/mod.ts";
import { type Env, mustBeAllowed, type Parts } from "../request.ts";
import { maskedConf } from "../../cluster/workers.ts";
import type { WorkerInfo } from "../../cluster/inspector.ts";
import { jsonResponse } from "../json.ts";
import { CONTROL } from "./control.ts";
import { answer, type FlowerCall, type FlowerRoute, HttpError } from "./parts.ts";
import { TASK_ACTIONS, TASK_LISTS, TASK_LOOKS, tasksTable } from "./tasks.ts";

const LISTS: Readonly<Record<string, FlowerRoute>> = {
  ...TASK_LISTS,
  "workers": { scope: "read", run: listWorkers },
  "queues/length": {
    scope: "read",
    isSilent: true,
    async run({ parts: { cluster, queues } }) {
      const managed = await cluster.management?.queues();
      if (managed) return { active_queues: queues.activeNames().flatMap((name) => managed.get(name) ?? []) };
      const connection = await cluster.connection();
      const active: { name: string; messages: number }[] = [];
      for (const name of queues.activeNames()) {
        active.push({ name, messages: await connection.queueLength(name) ?? 0 });
      }
      return { active_queues: active };
    },
  },
};

/** Returns the routes of Flower's API. `isOpen`: answer even if no login is configured. */
export function flowerRoutes(
  parts: Parts,
  { hasOpenApi: isOpen }: { readonly hasOpenApi: boolean },
): Hono<Env> {
  const routes = new Hono<Env>();
  for (const [path, route] of Object.entries(LISTS)) {
    routes.get(`/api/${path}`, (c) => answer(c, parts, { route, name: "", isOpen }));
  }
  // Names may have slashes in them.
  for (const [path, route] of Object.entries(TASK_LOOKS)) {
    routes.get(
      `/api/${path}/:name{.+}`,
      (c) => answer(c, parts, { route, name: c.req.param("name"), isOpen }),
    );
  }
  for (const [path, route] of Object.entries({ ...CONTROL, ...TASK_ACTIONS })) {
    routes.post(
      `/api/${path}/:name{.+}`,
      (c) => answer(c, parts, { route, name: c.req.param("name"), isOpen }),
    );
  }
  // The data behind Flower's page of workers.
  routes.get("/workers", async (c, next) => {
    if (booleanOf(c.req.query("json") ?? "") !== true) return await next();
    mustBeAllowed(c, parts.access, "read");
    if (booleanOf(c.req.query("refresh") ?? "") === true) await parts.inspector.refresh(null);
    return jsonResponse({ data: workersTable(parts) });
  });
  // The data behind the table on Flower's page of tasks.
  routes.on(["GET", "POST"], "/tasks/datatable", async (c) => {
    mustBeAllowed(c, parts.access, "read");
    const route: FlowerRoute = { scope: "read", run: tasksTable };
    return await answer(c, parts, { route, name: "", isOpen: true });
  });
  return routes;
}

async function listWorkers(call: FlowerCall): Promise<Record<string, unknown>> {
  const { cluster, inspector } = call.parts;
  const worker = call.text("workername");
  const isStatus = call.flag("status");
  if (call.flag("refresh")) {
    try {
      await inspector.refresh(worker);
    } catch (error) {
      throw new HttpError(503, `Failed to update workers: ${error instanceof Error ? error.message : error}`);
    }
  }
  if (isStatus) {
    return Object.fromEntries([...cluster.workers.values()].map(({ hostname, alive }) => [hostname, alive]));
  }
  if (worker === null) {
    return Object.fromEntries([...inspector.workers].map(([name, info]) => [name, shownInfo(info)]));
  }
  const info = inspector.workers.get(worker);
  if (info === undefined) throw new HttpError(404, `Unknown worker '${worker}'`);
  return { [worker]: shownInfo(info) };
}

/** Returns a worker's replies with passwords masked. */
function shownInfo(info: WorkerInfo): Record<string, unknown> {
  const { conf, stats, ...rest } = info;
  return {
    ...(stats === undefined ? {} : { stats: withMaskedUrls(stats) }),
    ...rest,
    ...(conf === undefined ? {} : { conf: maskedConf(conf) }),
  };
}

function withMaskedUrls(value: unknown): unknown {
  if (typeof value === "string") return maskUrls(value);
  if (Array.isArray(value)) return value.map(withMaskedUrls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withMaskedUrls(one)]));
}

/** Returns workers with their counts, as Flower's table shows them. */
function workersTable({ cluster }: Parts): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = [];
  for (const [name, counts] of cluster.counts) {
    const worker = cluster.workers.get(name);
    if (worker === undefined || cluster.isPurged(name)) continue;
    const all = {
      hostname: worker.hostname,
      pid: worker.pid,
      freq: worker.freq,
      heartbeats: worker.heartbeats,
      clock: worker.clock,
      active: worker.active,
      processed: worker.processed,
      loadavg: worker.loadavg,
      sw_ident: worker.swIdent,
      sw_ver: worker.swVer,
      sw_sys: worker.swSys,
    };
    const known = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
    rows.push({ ...Object.fromEntries(counts), ...known, status: worker.alive });
  }
  return rows;
}
