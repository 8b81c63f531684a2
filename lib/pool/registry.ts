/** The pools by the names people give them (`-P`, `worker_pool`). */

import { nearest, UsageError } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { hostedLinks } from "./host_link.ts";
import type { PoolFactory } from "./pool.ts";
import { processLinks } from "./process_link.ts";
import { SlotPool } from "./slot_pool.ts";
import { SoloPool } from "./solo.ts";

const processes: PoolFactory = (world, options, events) =>
  new SlotPool(
    world,
    { name: "processes", processPrefix: "ForkPoolWorker", isConcurrent: false },
    processLinks(world),
    options,
    events,
  );

const threads: PoolFactory = (world, options, events) =>
  new SlotPool(
    world,
    { name: "threads", processPrefix: null, isConcurrent: false },
    hostedLinks(world),
    options,
    events,
  );

const async: PoolFactory = (world, options, events) =>
  new SlotPool(
    world,
    { name: "async", processPrefix: null, isConcurrent: true },
    hostedLinks(world),
    options,
    events,
  );

const solo: PoolFactory = (world, options, events) =>
  new SoloPool(world, options, events, async (slotWorld, init, host) => {
    const { taskRunnerOpener } = await import("./child.ts");
    return await taskRunnerOpener({ isShared: false })(slotWorld, init, host);
  });

/** Solo on the worker's own App, which is not loaded a second time. */
export function soloPool(app: App): PoolFactory {
  return (world, options, events) =>
    new SoloPool(world, options, events, async (_world, init, host) => {
      const { taskRunner } = await import("./child.ts");
      return await taskRunner(app, init, host, { isShared: false });
    });
}

const POOLS: Readonly<Record<string, PoolFactory>> = {
  processes,
  prefork: processes,
  threads,
  async,
  gevent: async,
  eventlet: async,
  solo,
};

/**
 * The pool of a name: processes (prefork), threads, async (gevent, eventlet), solo.
 * Throws UsageError, which names the nearest, where there is none.
 * Source: celery 5.2.6 concurrency/__init__.py ALIASES.
 */
export function poolFactory(name: string): PoolFactory {
  const factory = Object.hasOwn(POOLS, name) ? POOLS[name] : undefined;
  if (factory !== undefined) return factory;
  const near = nearest(name, Object.keys(POOLS));
  throw new UsageError(`No pool is named '${name}'${near === null ? "" : `; did you mean '${near}'?`}`);
}
