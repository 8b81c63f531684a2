/**
 * lovage: Celery's system for TypeScript. The one door of users' modules: `import { App } from "lovage"`.
 *
 *   const app = new App("shop", { broker_url: "redis://localhost" });
 *   export const add = app.task("shop.add", (x: number, y: number) => x + y);
 *   const result = await add.delay(1, 2);      // sent
 *   await result.get();                        // 3, from a worker
 *
 * What is here: door.ts (the App and its tasks, the canvas, results, schedules, signals, Celery's exceptions), a fleet
 * of workers, and a worker for tests.
 */

import { ensureCurrentWorld } from "./base/mod.ts";
import { realWorld } from "./platform/mod.ts";

// Under `lovage worker` the World is there already; a program of the user's own gets the real one here.
ensureCurrentWorld(realWorld);

export * from "./door.ts";
export { Cluster, type ClusterEvents, type ClusterOptions, Node, type NodeOutcome } from "./multi/mod.ts";
export { TestWorker, type TestWorkerOptions } from "./worker/test_worker.ts";
