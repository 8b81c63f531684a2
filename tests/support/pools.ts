/** Options and events for tests of pools, and helpers for their outcomes. */

import type { Outcome } from "../../lib/app/mod.ts";
import { filePath, type World } from "../../lib/base/mod.ts";
import type { PoolEvents, PoolOptions } from "../../lib/pool/mod.ts";

const CHILD = filePath(new URL("./plain_child.ts", import.meta.url));

/** Returns the same World, in which this program is plain_child.ts. */
export function plainWorld(world: World): World {
  return {
    ...world,
    spawner: {
      ...world.spawner,
      spawnSelf: (options) =>
        world.spawner.spawn(Deno.execPath(), {
          ...options,
          args: ["run", "-A", "-q", "--no-check", CHILD, ...options.args],
        }),
    },
  };
}

/** Returns what a child is given by its worker. */
export function childOptions(app: string | null): PoolOptions["child"] {
  return {
    app,
    include: [],
    overrides: {},
    hostname: "w1@test",
    logLevel: "INFO",
    printLevel: "WARNING",
  };
}

/** Returns options of a pool with one slot and no app, with the given ones replaced. */
export function poolOptions(given: Partial<PoolOptions> = {}): PoolOptions {
  return {
    concurrency: 1,
    maxTasksPerChild: null,
    maxMemoryPerChild: null,
    procAliveTimeout: 20,
    child: childOptions(null),
    publish: () => Promise.resolve(),
    ...given,
  };
}

/** Returns events that do nothing, with the given ones replaced. */
export function poolEvents(heard: Partial<PoolEvents> = {}): PoolEvents {
  return {
    onAccepted: () => {},
    onOutcomes: () => {},
    onState: () => {},
    onEvent: () => {},
    onFree: () => {},
    onSlot: () => {},
    ...heard,
  };
}

/** Returns the value that a task returned. */
export function resultOf(outcome: Outcome): unknown {
  return JSON.parse(String(outcome.document)).result;
}

/** Whether a process runs. One that has ended and was not yet reaped by its parent does not. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
