/**
 * A worker of one child whose task never lets go; prints the child's pid once the task runs. Of
 * orphan_test.ts.
 */

import { realWorld } from "../../lib/platform/mod.ts";
import { processLinks } from "../../lib/pool/link/process.ts";
import { SlotPool } from "../../lib/pool/slot_pool.ts";
import { filePath } from "../../lib/base/mod.ts";

const CHILD = filePath(new URL("./plain_child.ts", import.meta.url));
const world = realWorld();
const links = processLinks({
  ...world,
  spawner: {
    ...world.spawner,
    spawnSelf: (options) =>
      world.spawner.spawn(Deno.execPath(), {
        ...options,
        args: ["run", "-A", "-q", "--no-check", CHILD, ...options.args],
      }),
  },
});
const child = {
  app: `${Deno.args[0]}/tasks.js`,
  include: [],
  overrides: {},
  hostname: "w1@h",
  logLevel: "INFO",
  printLevel: "WARNING" as const,
};
const pool = new SlotPool(
  world,
  { name: "processes", processPrefix: "ForkPoolWorker", isConcurrent: false },
  links,
  {
    concurrency: 1,
    maxTasksPerChild: null,
    maxMemoryPerChild: null,
    procAliveTimeout: 20,
    child,
    publish: () => Promise.resolve(),
  },
  {
    onAccepted(): void {},
    onOutcomes(): void {},
    // The loop begins a turn after this; the watching isolate is up by then or comes up beside it.
    onState: () => setTimeout(() => console.log(pool.info().pids[0]), 300),
    onEvent(): void {},
    onFree(): void {},
    onSlot(): void {},
  },
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
