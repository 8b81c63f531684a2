/** The program: builds the real World, hands the command line to lib/cli and ends with its exit status. */

import { runCli } from "./lib/cli/mod.ts";
import { realWorld } from "./lib/platform/mod.ts";

if (import.meta.main) {
  const world = realWorld();
  const code = await runCli(world, Deno.args);
  world.log.flushSync();
  Deno.exit(code);
}
