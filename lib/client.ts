/**
 * The door of the npm package, for Node: for programs that send tasks, wait for results and control workers.
 * A task module can be loaded too, so that its tasks can be called; the program `lovage` runs them.
 */

import { ensureCurrentWorld, UsageError } from "./base/mod.ts";
import * as door from "./door.ts";
import { nodeWorld } from "./platform/node/mod.ts";

ensureCurrentWorld(nodeWorld);
// The package is minified: restore the names of exports, for errors and debuggers.
for (const [name, value] of Object.entries(door)) {
  if (typeof value === "function") Object.defineProperty(value, "name", { value: name });
}

export * from "./door.ts";

const NOT_HERE = "is not part of the npm package's library, which sends tasks; ";

/** Stands in for the worker for tests, which the package's library does not contain. */
export class TestWorker {
  /** @throws {UsageError} always. */
  constructor() {
    throw new UsageError(`TestWorker ${NOT_HERE}"lovage test" runs tests with it`);
  }

  /** @throws {UsageError} always. */
  static start(): never {
    throw new UsageError(`TestWorker ${NOT_HERE}"lovage test" runs tests with it`);
  }
}

/** Stands in for a fleet of workers, which the package's library does not contain. */
export class Cluster {
  /** @throws {UsageError} always. */
  constructor() {
    throw new UsageError(`Cluster ${NOT_HERE}"lovage run" runs programs with it`);
  }
}

/** Stands in for a node of a fleet. */
export class Node extends Cluster {}
