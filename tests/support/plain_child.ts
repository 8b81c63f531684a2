/** A program whose `pool-child` runs plain_runner.ts, or hosts isolates that run it. */

import { runPoolChild } from "../../lib/pool/child/child_process.ts";
import { realWorld } from "../../lib/platform/mod.ts";
import { openPlainRunner } from "./plain_runner.ts";

const entry = new URL("./plain_thread.ts", import.meta.url);
Deno.exit(await runPoolChild(realWorld(), Deno.args.slice(1), openPlainRunner, entry));
