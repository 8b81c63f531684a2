/**
 * The entry module of a slot process: no command line, and nothing that a slot does not need. A file of its
 * own in the bundle.
 */

import { realWorld } from "../../platform/mod.ts";
import { runPoolChild } from "./child_process.ts";

if (import.meta.main) {
  // Skip "pool-child", which names the process in the table of processes.
  const [, ...args] = Deno.args;
  Deno.exit(await runPoolChild(realWorld(), args));
}
