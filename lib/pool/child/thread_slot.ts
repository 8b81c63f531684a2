/** An isolate as a slot: frames as messages over a port that user code cannot reach. */

import type { World } from "../../base/mod.ts";
import type { IsolateAnswer, IsolateRelay } from "../link/isolate.ts";
import type { SlotEngine, SlotPort } from "./engine.ts";
import { HeapReporter } from "../sandbox/heap_watch.ts";
import { sharedJournalWriter } from "../link/journal.ts";
import type { OpenRunner } from "../runner.ts";
import { startSlot } from "./slot_start.ts";
import type { ThreadInit } from "../link/slot_message.ts";

/** The part of an isolate's global scope that is used here. */
interface IsolateScope extends EventTarget {
  close(): void;
}

/** Messages from the parent, after the first one. */
type HostMessage = Uint8Array | { ping: true } | IsolateAnswer;

/** Sends a message to the isolate's parent, and transfers the objects in `transfer`. */
type Post = MessagePort["postMessage"];

/** Handles frames until told to stop. Call it once, before any user code is loaded in the isolate. */
export function runThreadSlot(
  world: World,
  openRunner: OpenRunner,
  options: {
    memoryKib: () => number;
    isolates?: IsolateRelay;
    onEnv?: (env: Record<string, string>) => void;
  },
): void {
  const scope = globalThis as unknown as IsolateScope;
  const close = scope.close.bind(scope);
  scope.addEventListener("message", (event) => {
    const { port, env, ...first } = (event as MessageEvent<ThreadInit & { port: MessagePort }>).data;
    if (env !== undefined) options.onEnv?.(env);
    const post: Post = port.postMessage.bind(port);
    // User code may change the prototypes of the port's classes; the port must not be affected.
    Object.defineProperty(port, "dispatchEvent", { value: port.dispatchEvent.bind(port) });
    options.isolates?.connect(post);
    runOnPort(world, openRunner, options, { first, port, post, close });
  }, { once: true });
}

function runOnPort(
  world: World,
  openRunner: OpenRunner,
  options: { memoryKib: () => number; isolates?: IsolateRelay },
  { first, port, post, close }: { first: ThreadInit; port: MessagePort; post: Post; close: () => void },
): void {
  const early: Uint8Array[] = [];
  let engine: SlotEngine | null = null;
  let reporter: HeapReporter | null = null;
  const leave = (code: number) => {
    engine?.flush();
    post({ left: code });
  };
  const slot: SlotPort = {
    send: (bytes) => post(bytes, [bytes.buffer]),
    drained: () => null,
    onStopped: () => leave(0),
  };
  // Deno does not report the exit of an isolate to its parent.
  const exit = (code = 0): never => {
    leave(code);
    close();
    throw new Error(`exit(${code})`);
  };
  const { Deno: deno } = globalThis as unknown as { Deno: object };
  Object.defineProperty(deno, "exit", { value: exit, configurable: true });
  Object.defineProperty(globalThis, "close", { value: () => exit(0), configurable: true, writable: true });
  port.onmessage = ({ data }: MessageEvent<HostMessage>) => {
    if (data instanceof Uint8Array) {
      if (engine === null) early.push(data);
      else {
        reporter?.touch();
        engine.feed(data);
      }
      return;
    }
    if ("ping" in data) return post({ pong: true });
    options.isolates?.take(data);
  };
  void startSlot(world, first.init, slot, {
    journal: first.journal === null ? null : sharedJournalWriter(first.journal),
    memoryKib: options.memoryKib,
    begun: first.begun,
    openRunner,
  }).then((started) => {
    if (started === null) return leave(1);
    engine = started;
    if (first.heap !== null) {
      reporter = new HeapReporter(world, first.heap.words, first.heap.limitKib, () => started.busy > 0);
      reporter.begin();
      if (early.length > 0) reporter.touch();
    }
    for (const bytes of early.splice(0)) started.feed(bytes);
  });
}
