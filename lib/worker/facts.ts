/** What a worker shows of itself: its banner, its statistics, and what it is doing now. */

import { maskUrl, VERSION } from "../base/mod.ts";
import { banner, localTimestamp } from "./banner.ts";
import { POOL_LABELS } from "./options.ts";
import type { WorkerCore } from "./core.ts";

/** Returns the banner of a worker about to start. The log level decides which tasks it lists. */
export function bannerOf(worker: WorkerCore): string {
  const { app, options, strategies, world } = worker;
  const names = [...strategies.keys()];
  const tasks = world.log.isOn("DEBUG") ? names : names.filter((name) => !name.startsWith("celery."));
  return banner({
    hostname: worker.hostname,
    version: `${VERSION} (lovage)`,
    platform: world.host.platform,
    timestamp: localTimestamp(world.clock.wallMs()),
    app: app.name,
    transport: worker.consumer.shownUrl(),
    results: app.conf.result_backend ? maskUrl(app.conf.result_backend) : "disabled://",
    concurrency: options.concurrency,
    autoscale: options.autoscale,
    pool: POOL_LABELS[options.pool],
    taskEvents: options.taskEvents,
    queues: [...app.amqp.queues.consumeFrom.values()],
    tasks: world.log.isOn("INFO") ? tasks : null,
  });
}

/**
 * Returns what `inspect stats` shows, except the panel's own fields. Source: celery 5.2.6 worker/worker.py
 * stats.
 */
export function statsOf(worker: WorkerCore): Record<string, unknown> {
  const total: Record<string, number> = {};
  for (const [name, strategy] of worker.strategies) {
    if (strategy.total > 0) total[name] = strategy.total;
  }
  return {
    total,
    pid: worker.world.host.pid,
    uptime: Math.round((worker.world.clock.wallMs() - worker.startedWallMs) / 1000),
    ...worker.blueprint.info(worker),
    ...worker.consumer.info(),
  };
}

/** Returns a report of what a worker is doing, for USR1: states, counts, running tasks. Several lines. */
export function reportOf(worker: WorkerCore): string {
  const { state, window } = worker;
  const now = worker.world.clock.monoMs();
  const running = [...state.inPool.values()].map((request) => {
    const since = Number.isNaN(request.acceptedMonoMs)
      ? "not begun"
      : `${((now - request.acceptedMonoMs) / 1000).toFixed(1)} s, pid ${request.pid}`;
    return `  ${request.human}: ${since}`;
  });
  return [
    `${worker.hostname}: ${worker.blueprint.state}, consumer ${worker.consumer.state}`,
    `in the pool ${state.inPool.size}, waiting ${
      worker.hasLane ? worker.lane.waitingCount : 0
    }, unsettled ${state.unsettled}, ` +
    `processed ${state.processed}, window ${window.limit}`,
    ...running,
  ].join("\n");
}
