/** Flower's routes that control workers. Source: flower api/control.py. */

import { isRecord } from "../../../base/mod.ts";
import type { Replies } from "../../../app/mod.ts";
import { hasWorker, registeredNames } from "../../cluster/workers.ts";
import { revoke } from "../../cluster/actions.ts";
import type { Parts } from "../request.ts";
import { type Answer, type FlowerCall, type FlowerRoute, HttpError } from "./parts.ts";

/** The routes by their path after /api/; a name follows the path. */
export const CONTROL: Readonly<Record<string, FlowerRoute>> = {
  "worker/shutdown": {
    scope: "admin",
    action: "shutdown",
    async run({ parts }, worker) {
      await mustBeWorker(parts, worker);
      await parts.cluster.control.shutdown({ destination: [worker] });
      return { message: "Shutting down!" };
    },
  },
  "worker/pool/restart": onWorker("pool_restart", "pool_restart", (_, worker) => ({
    args: { reload: false },
    done: `Restarting '${worker}' worker's pool`,
    failed: `Failed to restart the '${worker}' pool`,
  })),
  "worker/pool/grow": onWorker("pool_grow", "pool_grow", (call, worker) => {
    const n = call.number("n", "int") ?? 1;
    return {
      args: { n },
      done: `Growing '${worker}' worker's pool by ${n}`,
      failed: `Failed to grow '${worker}' worker's pool`,
    };
  }),
  "worker/pool/shrink": onWorker("pool_shrink", "pool_shrink", (call, worker) => {
    const n = call.number("n", "int") ?? 1;
    return {
      args: { n },
      done: `Shrinking '${worker}' worker's pool by ${n}`,
      failed: `Failed to shrink '${worker}' worker's pool`,
    };
  }),
  "worker/pool/autoscale": onWorker("autoscale", "pool_autoscale", (call, worker) => {
    call.need("min");
    call.need("max");
    const [min, max] = [call.number("min", "int")!, call.number("max", "int")!];
    return {
      args: { min, max },
      done: `Autoscaling '${worker}' worker (min=${min}, max=${max})`,
      failed: `Failed to autoscale '${worker}' worker`,
    };
  }),
  "worker/queue/add-consumer": onWorker("add_consumer", "add_consumer", (call, worker) => {
    const queue = call.need("queue");
    return { args: { queue }, done: null, failed: `Failed to add '${queue}' consumer to '${worker}' worker` };
  }),
  "worker/queue/cancel-consumer": onWorker("cancel_consumer", "cancel_consumer", (call, worker) => {
    const queue = call.need("queue");
    return {
      args: { queue },
      done: null,
      failed: `Failed to cancel '${queue}' consumer from '${worker}' worker`,
    };
  }),
  "task/revoke": {
    scope: "operate",
    action: "revoke",
    async run(call, id) {
      const terminate = call.flag("terminate");
      await revoke(call.parts.cluster, [id], { terminate, signal: call.text("signal") ?? "SIGTERM" });
      return { message: `Revoked '${id}'` };
    },
  },
  "task/timeout": {
    scope: "operate",
    action: "time_limit",
    async run(call, task) {
      const worker = call.need("workername");
      const [hard, soft] = [call.number("hard", "float"), call.number("soft", "float")];
      await mustBeTask(call.parts, task);
      await mustBeWorker(call.parts, worker);
      const replies = await call.parts.cluster.ask("time_limit", { task_name: task, hard, soft }, [worker]);
      const ok = okOf(replies, worker);
      return ok === null
        ? { status: 403, text: `Failed to set timeouts: '${reasonOf(replies, worker)}'` }
        : { message: ok };
    },
  },
  "task/rate-limit": {
    scope: "operate",
    action: "rate_limit",
    async run(call, task) {
      const worker = call.need("workername");
      const rate = call.need("ratelimit");
      await mustBeTask(call.parts, task);
      await mustBeWorker(call.parts, worker);
      const replies = await call.parts.cluster.ask("rate_limit", { task_name: task, rate_limit: rate }, [
        worker,
      ]);
      const ok = okOf(replies, worker);
      return ok === null
        ? { status: 403, text: `Failed to set rate limit: '${reasonOf(replies, worker)}'` }
        : { message: ok };
    },
  },
};

/** Throws HttpError 404 unless workers or the module have a task of that name. */
export async function mustBeTask({ cluster, inspector }: Parts, name: string): Promise<void> {
  if (cluster.app.tasks.get(name) !== undefined) return;
  if ((await registeredNames(inspector)).includes(name)) return;
  throw new HttpError(404, `Unknown task '${name}'`);
}

/** Throws HttpError 404 unless a worker of that name has ever answered. */
async function mustBeWorker({ cluster, inspector }: Parts, name: string): Promise<void> {
  if (!await hasWorker(cluster, inspector, name)) throw new HttpError(404, `Unknown worker '${name}'`);
}

/** Makes a route that sends one worker a command; if `done` is null, it answers with the worker's reply. */
function onWorker(
  command: string,
  action: string,
  words: (
    call: FlowerCall,
    worker: string,
  ) => { args: Record<string, unknown>; done: string | null; failed: string },
): FlowerRoute {
  return {
    scope: "admin",
    action,
    async run(call, worker): Promise<Answer> {
      await mustBeWorker(call.parts, worker);
      const { args, done, failed } = words(call, worker);
      const replies = await call.parts.cluster.ask(command, args, [worker]);
      const ok = okOf(replies, worker);
      if (ok === null) return { status: 403, text: `${failed}: ${reasonOf(replies, worker)}` };
      return { message: done ?? ok };
    },
  };
}

function okOf(replies: Replies, worker: string): unknown {
  const reply = replies[worker];
  return isRecord(reply) && "ok" in reply ? reply["ok"] ?? "" : null;
}

function reasonOf(replies: Replies, worker: string): string {
  const reply = replies[worker];
  return isRecord(reply) && "error" in reply ? String(reply["error"]) : "Unknown reason";
}
