/**
 * Where an isolate begins: one of the threads and async pools, or a sandbox. In the bundle this is a file beside
 * main.js.
 */

import { heapBytes, realWorld, takeHandover } from "../platform/mod.ts";
import { BoxRelay } from "./box.ts";
import { sandboxedRunnerOpener, taskRunnerOpener } from "./child.ts";
import { runThreadSlot } from "./thread_slot.ts";

const handover = takeHandover();
const world = realWorld();
const memory = { memoryKib: () => Math.ceil(heapBytes() / 1024) };

if (handover === null) {
  const boxes = new BoxRelay((request) =>
    (globalThis as unknown as { postMessage(message: unknown): void }).postMessage(request)
  );
  runThreadSlot(world, taskRunnerOpener({ isShared: true, boxes }), { ...memory, boxes });
} else {
  const host = Object.defineProperties(Object.create(world.host), {
    hostname: { value: handover.hostname },
    env: { value: (name: string) => handover.env(name) },
  }) as typeof world.host;
  runThreadSlot({ ...world, host }, sandboxedRunnerOpener(handover), memory);
}
