/** Where an isolate of the threads and async pools begins. In the bundle this is a file beside main.js. */

import process from "node:process";
import { getHeapStatistics } from "node:v8";
import { realWorld } from "../platform/mod.ts";
import { openTaskRunner } from "./child.ts";
import { runThreadSlot } from "./thread_slot.ts";

runThreadSlot(realWorld(), openTaskRunner, {
  memoryKib: () => Math.ceil(getHeapStatistics().used_heap_size / 1024),
  process,
});
