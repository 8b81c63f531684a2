/** A program whose `pool-child` runs plain_runner.ts. */

import { runPoolChild } from "../../../lib/pool/child_process.ts";
import { realWorld } from "../../../lib/platform/mod.ts";
import { openPlainRunner } from "./plain_runner.ts";

Deno.exit(await runPoolChild(realWorld(), Deno.args.slice(1), openPlainRunner));
