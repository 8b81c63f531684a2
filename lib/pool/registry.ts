/** The pools by the names that users give them (`-P`, `worker_pool`). */

import { nearest, UsageError, type World } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { hostedLinks } from "./link/host.ts";
import type { PoolFactory } from "./pool.ts";
import { type ProcessLinks, processLinks } from "./link/process.ts";
import { SlotPool, type SlotPoolKind } from "./slot_pool.ts";
import { SoloPool } from "./solo.ts";

/**
 * The first process of a pool, started before the kind of the pool is known, so that it loads while the
 * worker loads its own part. Pass it to `poolFactory`, or call `dismiss` if no pool needs it.
 */
export class PoolHead {
  /** Starts the pool's processes. */
  readonly links: ProcessLinks;

  /** Starts the process. If that fails, the pool reports it when it opens its first slot. */
  constructor(world: World) {
    this.links = processLinks(world);
    this.links.startAhead();
  }

  /** Ends the process, if the pool needs none. Resolves when it has ended. */
  dismiss(): Promise<void> {
    return this.links.close();
  }
}

const KINDS: Readonly<Record<"processes" | "threads" | "async", SlotPoolKind>> = {
  processes: { name: "processes", processPrefix: "ForkPoolWorker", isConcurrent: false },
  threads: { name: "threads", processPrefix: null, isConcurrent: false },
  async: { name: "async", processPrefix: null, isConcurrent: true },
};

function slotPool(name: keyof typeof KINDS, head: PoolHead | undefined): PoolFactory {
  return (world, options, events) => {
    const links = head?.links ?? processLinks(world);
    return new SlotPool(
      world,
      KINDS[name],
      name === "processes" ? links : hostedLinks(world, links),
      options,
      events,
    );
  };
}

const solo: PoolFactory = (world, options, events) =>
  new SoloPool(world, options, events, async (slotWorld, init, host) => {
    const { taskRunnerOpener } = await import("./child/child.ts");
    return await taskRunnerOpener({ isShared: false })(slotWorld, init, host);
  });

/**
 * Makes the factory of a solo pool that runs tasks on the worker's own App, which is not loaded a second
 * time.
 */
export function soloPool(app: App): PoolFactory {
  return (world, options, events) =>
    new SoloPool(world, options, events, async (_world, init, host) => {
      const { taskRunner } = await import("./child/child.ts");
      return await taskRunner(app, init, host, { isShared: false });
    });
}

/** The pools, by their names and Celery's. Source: celery 5.2.6 concurrency/__init__.py ALIASES. */
export const POOLS: Readonly<Record<string, keyof typeof KINDS | "solo">> = {
  prefork: "processes",
  processes: "processes",
  solo: "solo",
  threads: "threads",
  async: "async",
  eventlet: "async",
  gevent: "async",
};

/**
 * Returns the factory for a pool's name: processes (prefork), threads, async (gevent, eventlet), solo. `head`
 * becomes the first process. Throws UsageError for an unknown name, and suggests the nearest.
 */
export function poolFactory(name: string, head?: PoolHead): PoolFactory {
  const kind = Object.hasOwn(POOLS, name) ? POOLS[name] : undefined;
  if (kind === "solo") return solo;
  if (kind !== undefined) return slotPool(kind, head);
  const near = nearest(name, Object.keys(POOLS));
  throw new UsageError(`No pool is named '${name}'${near === null ? "" : `; did you mean '${near}'?`}`);
}
