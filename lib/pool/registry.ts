/** The pools by the names people give them (`-P`, `worker_pool`). */

import { nearest, UsageError, type World } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { hostedLinks } from "./link/host.ts";
import type { PoolFactory } from "./pool.ts";
import { type ProcessLinks, processLinks } from "./link/process.ts";
import { SlotPool, type SlotPoolKind } from "./slot_pool.ts";
import { SoloPool } from "./solo.ts";

/**
 * The first process of a pool, started before the pool is known: it loads while the worker loads its own part.
 * Given to `poolFactory`; whoever needs none ends it.
 */
export class PoolHead {
  /** What the pool's processes are started by. */
  readonly links: ProcessLinks;

  /** Starts the process. Failing is told by the pool, when it wants it. */
  constructor(world: World) {
    this.links = processLinks(world);
    this.links.startAhead();
  }

  /** No pool of processes or isolates comes of it: ends what was started. Resolves when it has ended. */
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

/** Solo on the worker's own App, which is not loaded a second time. */
export function soloPool(app: App): PoolFactory {
  return (world, options, events) =>
    new SoloPool(world, options, events, async (_world, init, host) => {
      const { taskRunner } = await import("./child/child.ts");
      return await taskRunner(app, init, host, { isShared: false });
    });
}

/** The pools there are, by their names and Celery's. Source: celery 5.2.6 concurrency/__init__.py ALIASES. */
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
 * The pool of a name: processes (prefork), threads, async (gevent, eventlet), solo. `head` becomes its first process.
 * Throws UsageError, which names the nearest, where there is none.
 */
export function poolFactory(name: string, head?: PoolHead): PoolFactory {
  const kind = Object.hasOwn(POOLS, name) ? POOLS[name] : undefined;
  if (kind === "solo") return solo;
  if (kind !== undefined) return slotPool(kind, head);
  const near = nearest(name, Object.keys(POOLS));
  throw new UsageError(`No pool is named '${name}'${near === null ? "" : `; did you mean '${near}'?`}`);
}
