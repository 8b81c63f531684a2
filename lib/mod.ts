/**
 * lovage: Celery's system for TypeScript. User modules import from here: `import { App } from "lovage"`.
 *
 * Exports everything of door.ts (the App and its tasks, the canvas, results, schedules, signals, Celery's
 * exceptions), a fleet of workers, and a worker for tests.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * export const app = new App("shop", {
 *   broker_url: "redis://localhost",
 *   result_backend: "redis://localhost",
 * });
 * export const add = app.task("shop.add", (x: number, y: number) => x + y);
 * const result = await add.delay(1, 2); // sent
 * await result.get(); // 3, from a worker
 * ```
 */

import { ensureCurrentWorld } from "./base/mod.ts";
import { realWorld } from "./platform/mod.ts";

// `lovage worker` has set the World already; a user's own program gets the real one here.
ensureCurrentWorld(realWorld);

export * from "./door.ts";
export { Cluster, type ClusterEvents, type ClusterOptions, Node, type NodeOutcome } from "./multi/mod.ts";
export { TestWorker, type TestWorkerOptions } from "./worker/test_worker.ts";
