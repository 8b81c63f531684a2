/**
 * The entry module of an isolate of the threads and async pools, or of a sandbox. In the bundle it is a file
 * next to main.js.
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

/**
 * Returns an environment variable for our own code in a sandbox. Passwords are masked if it may not connect.
 */
function envOf({ env, mayDial }: SandboxHandover, name: string): string | null {
  const value = env(name);
  return value === null || mayDial ? value : maskUrls(value);
}
