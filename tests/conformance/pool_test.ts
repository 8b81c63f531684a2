/** The conformance suite over every pool. */

import type { World } from "../../lib/base/mod.ts";
import { SlotPool } from "../../lib/pool/slot_pool.ts";
import { processLinks } from "../../lib/pool/link/process.ts";
import { hostedLinks } from "../../lib/pool/link/host.ts";
import { SoloPool } from "../../lib/pool/mod.ts";
import { testPool } from "./pool.ts";
import { openPlainRunner } from "../support/plain_runner.ts";
import { filePath } from "../../lib/base/mod.ts";

const CHILD = filePath(new URL("../support/plain_child.ts", import.meta.url));

/** The same World, whose own program is plain_child.ts. */
function plainWorld(world: World): World {
  return {
    ...world,
    spawner: {
      spawn: (program, options) => world.spawner.spawn(program, options),
      spawnSelf: (options) =>
        world.spawner.spawn(Deno.execPath(), {
          ...options,
          args: ["run", "-A", "-q", "--no-check", CHILD, ...options.args],
        }),
    },
  };
}

testPool({
  name: "solo",
  make: (world, options, events) => new SoloPool(world, options, events, openPlainRunner),
  endsBusyLoops: false,
  hasSlots: false,
  hasProcesses: false,
  isConcurrent: false,
});

testPool({
  name: "processes",
  make: (world, options, events) => {
    const kind = { name: "processes", processPrefix: "ForkPoolWorker", isConcurrent: false } as const;
    return new SlotPool(world, kind, processLinks(plainWorld(world)), options, events);
  },
  endsBusyLoops: true,
  hasSlots: true,
  hasProcesses: true,
  isConcurrent: false,
});

testPool({
  name: "threads",
  make: (world, options, events) => {
    const kind = { name: "threads", processPrefix: null, isConcurrent: false } as const;
    return new SlotPool(
      world,
      kind,
      hostedLinks(plainWorld(world), processLinks(plainWorld(world))),
      options,
      events,
    );
  },
  endsBusyLoops: true,
  hasSlots: true,
  hasProcesses: false,
  isConcurrent: false,
});

testPool({
  name: "async",
  make: (world, options, events) => {
    const kind = { name: "async", processPrefix: null, isConcurrent: true } as const;
    return new SlotPool(
      world,
      kind,
      hostedLinks(plainWorld(world), processLinks(plainWorld(world))),
      options,
      events,
    );
  },
  endsBusyLoops: true,
  hasSlots: true,
  hasProcesses: false,
  isConcurrent: true,
});
