/**
 * A worker with one child whose task never ends; prints the child's pid once the task runs. For
 * orphan_test.ts.
 */

import { realWorld } from "../../lib/platform/mod.ts";
import { processLinks } from "../../lib/pool/link/process.ts";
import { SlotPool } from "../../lib/pool/slot_pool.ts";
import { childOptions, plainWorld, poolEvents, poolOptions } from "./pools.ts";

const world = realWorld();
const links = processLinks(plainWorld(world));
const pool = new SlotPool(
  world,
  { name: "processes", processPrefix: "ForkPoolWorker", isConcurrent: false },
  links,
  poolOptions({ child: childOptions(`${Deno.args[0]}/tasks.js`) }),
  poolEvents({
    // The busy loop begins a turn after this; the watching isolate is started by then, or starts next to it.
    onState: () => setTimeout(() => console.log(pool.info().pids[0]), 300),
  }),
);
await pool.start();
pool.submit([{
  seq: 1,
  name: "busy",
  id: "id-1",
  envelope: JSON.stringify({ name: "busy", id: "id-1", args: [] }),
  queue: "celery",
  redelivered: false,
  timeLimit: null,
  softTimeLimit: null,
  expectedMs: Infinity,
}]);
await new Promise(() => setInterval(() => {}, 1000));
