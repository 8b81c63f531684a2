/** An isolate that runs plain_runner.ts. */

import { realWorld } from "../../lib/platform/mod.ts";
import { runThreadSlot } from "../../lib/pool/child/thread_slot.ts";
import { openPlainRunner } from "./plain_runner.ts";

runThreadSlot(realWorld(), openPlainRunner, { memoryKib: () => 1000 });
