/**
 * The door of the npm package, for Node: a program that sends tasks, waits for results and controls workers. A task
 * module loads too, so that its tasks can be called; what runs them is the program `lovage`.
 */

import { ensureCurrentWorld, UsageError } from "./base/mod.ts";
import * as door from "./door.ts";
import { nodeWorld } from "./platform/node/mod.ts";

ensureCurrentWorld(nodeWorld);
// The package is minified: what users import has its own name where errors and debuggers show one.
for (const [name, value] of Object.entries(door)) {
  if (typeof value === "function") Object.defineProperty(value, "name", { value: name });
}

export * from "./door.ts";

const NOT_HERE = "is not part of the npm package's library, which sends tasks; ";

/** Stands for the worker of tests, which the package's library does not have. */
export class TestWorker {
  /** Throws UsageError. */
  constructor() {
    throw new UsageError(`TestWorker ${NOT_HERE}"lovage test" runs tests with it`);
  }

  /** Throws UsageError. */
  static start(): never {
    throw new UsageError(`TestWorker ${NOT_HERE}"lovage test" runs tests with it`);
  }
}

/** Stands for a fleet of workers, which the package's library does not have. */
export class Cluster {
  /** Throws UsageError. */
  constructor() {
    throw new UsageError(`Cluster ${NOT_HERE}"lovage run" runs programs with it`);
  }
}

/** Stands for a node of a fleet. */
export class Node extends Cluster {}
