/**
 * The World of this program: set once at start (main.ts, lib/mod.ts, a pool slot), and the default of every
 * constructor that is called without a World (`new App("shop")`).
 */

import { assert } from "./assert.ts";
import type { World } from "./world.ts";

let current: World | null = null;

/** Sets the program's World. Tests pass their own World to constructors instead. */
export function setCurrentWorld(world: World): void {
  current = world;
}

/** The program's World. */
export function currentWorld(): World {
  assert(current, "setCurrentWorld was called before");
  return current;
}

/**
 * Sets and returns the program's World, made by `make` unless one is set already. For the library's entry,
 * which may run after another one.
 */
export function ensureCurrentWorld(make: () => World): World {
  return current ??= make();
}
