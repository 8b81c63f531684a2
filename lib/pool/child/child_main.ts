/** Where a slot process begins: no command line, nothing that a slot does not need. In the bundle a file of its own. */

import { realWorld } from "../../platform/mod.ts";
import { runPoolChild } from "./child_process.ts";

if (import.meta.main) {
  // After "pool-child", which says in the table of processes what it is.
  const [, ...args] = Deno.args;
  Deno.exit(await runPoolChild(realWorld(), args));
}
