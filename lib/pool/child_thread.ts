/** Where an isolate of the threads and async pools begins. In the bundle this is a file beside main.js. */

import { realWorld } from "../platform/mod.ts";
import { nodeV8 } from "../base/mod.ts";
import { openTaskRunner } from "./child.ts";
import { runThreadSlot } from "./thread_slot.ts";

runThreadSlot(realWorld(), openTaskRunner, {
  memoryKib: () => Math.ceil(nodeV8().getHeapStatistics().used_heap_size / 1024),
});
