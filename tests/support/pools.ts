/** What tests of pools give them: options, events, and a look at what came of it. */

import type { Outcome } from "../../lib/app/mod.ts";
import { filePath, type World } from "../../lib/base/mod.ts";
import type { PoolEvents, PoolOptions } from "../../lib/pool/mod.ts";

const CHILD = filePath(new URL("./plain_child.ts", import.meta.url));

/** The same World, whose own program is plain_child.ts. */
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

/** What a child is told of its worker. */
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

/** Options of a pool with one slot and no app, where a test names no others. */
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

/** Ears that hear what a test wants to hear. */
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

/** The value that a task returned. */
export function resultOf(outcome: Outcome): unknown {
  return JSON.parse(String(outcome.document)).result;
}

/** A process that has ended and waits for its parent to hear of it counts as ended. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
