/**
 * Where an isolate begins: one of the threads and async pools, or a sandbox. In the bundle this is a file beside
 * main.js.
 */

import { maskUrls } from "../../base/mod.ts";
import { heapBytes, realWorld, type SandboxHandover, takeHandover } from "../../platform/mod.ts";
import { IsolateRelay } from "../link/isolate.ts";
import { sandboxedRunnerOpener, taskRunnerOpener } from "./child.ts";
import { runThreadSlot } from "./thread_slot.ts";

const handover = takeHandover();
const world = realWorld();
const memory = { memoryKib: () => Math.ceil(heapBytes() / 1024) };

if (handover === null) {
  const isolates = new IsolateRelay();
  runThreadSlot(world, taskRunnerOpener({ isShared: true, isolates }), { ...memory, isolates });
} else {
  const host = Object.defineProperties(Object.create(world.host), {
    hostname: { value: handover.hostname },
    env: { value: (name: string) => envOf(handover, name) },
  }) as typeof world.host;
  const options = { ...memory, onEnv: (env: Record<string, string>) => handover.beginLoading(env) };
  runThreadSlot({ ...world, host }, sandboxedRunnerOpener(handover), options);
}

/** A variable as our own code in a sandbox sees it. */
function envOf({ env, mayDial }: SandboxHandover, name: string): string | null {
  const value = env(name);
  return value === null || mayDial ? value : maskUrls(value);
}
