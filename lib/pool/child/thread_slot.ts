/** The isolate's side of a thread: frames as messages over a port that user code never sees. */

import type { World } from "../../base/mod.ts";
import type { IsolateAnswer, IsolateRelay } from "../link/isolate.ts";
import type { SlotEngine, SlotPort } from "./engine.ts";
import { HeapReporter } from "../sandbox/heap_watch.ts";
import { sharedJournalWriter } from "../link/journal.ts";
import type { OpenRunner } from "../runner.ts";
import { startSlot } from "./slot_start.ts";
import type { ThreadInit } from "../link/slot_message.ts";

/** What an isolate has of its global scope. */
interface IsolateScope extends EventTarget {
  close(): void;
}

/** What comes from the parent, after the first message. */
type HostMessage = Uint8Array | { ping: true } | IsolateAnswer;

/** Sends to whoever started this isolate; what is in `transfer` goes along. */
type Post = MessagePort["postMessage"];

/** Takes frames until told to stop; call it once, first thing in the isolate: nothing of the user's is loaded then. */
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
    // What the port does is its own, whatever user code makes of the classes that it is an instance of.
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
  // An isolate that exits says nothing to its parent by itself.
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
