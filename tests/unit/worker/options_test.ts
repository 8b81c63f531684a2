/** A worker's options over its settings. */

import assert from "node:assert/strict";
import { App } from "../../../lib/app/mod.ts";
import { resolveOptions, type WorkerOptions } from "../../../lib/worker/options.ts";
import { fakeWorld } from "../../support/fake_world.ts";

function limits(settings: Record<string, unknown>, given: WorkerOptions = {}): (number | null)[] {
  const world = fakeWorld();
  const { maxMemoryPerChild, maxTasksPerChild } = resolveOptions(
    new App("t", settings, { world }),
    world.host,
    given,
  );
  return [maxMemoryPerChild, maxTasksPerChild];
}

Deno.test("resolveOptions: 0 is no limit on memory and tasks of a child, from settings and from options", () => {
  const none = { worker_max_memory_per_child: 0, worker_max_tasks_per_child: 0 };
  const some = { worker_max_memory_per_child: 100_000, worker_max_tasks_per_child: 5 };
  assert.deepEqual(limits({}), [null, null]);
  assert.deepEqual(limits(none), [null, null]);
  assert.deepEqual(limits(some), [100_000, 5]);
  assert.deepEqual(limits(some, { maxMemoryPerChild: 0, maxTasksPerChild: 0 }), [null, null]);
  assert.deepEqual(limits(none, { maxMemoryPerChild: 1, maxTasksPerChild: 1 }), [1, 1]);
});
