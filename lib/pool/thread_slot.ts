/** The isolate's side of a thread: frames as messages. */

import type { World } from "../base/mod.ts";
import type { BoxAnswer, BoxRelay } from "./box.ts";
import type { SlotEngine, SlotPort } from "./engine.ts";
import { HeapTeller } from "./heap_watch.ts";
import { sharedJournalWriter } from "./journal.ts";
import type { OpenRunner } from "./runner.ts";
import { startSlot } from "./slot_start.ts";
import type { ThreadInit } from "./slot_message.ts";

/** What an isolate has of its global scope. */
interface IsolateScope {
  onmessage: ((event: MessageEvent<ThreadInit | Uint8Array | { ping: true } | BoxAnswer>) => void) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
  close(): void;
}

/** Takes frames until told to stop; call it once, first thing in the isolate. */
export function runThreadSlot(
  world: World,
  openRunner: OpenRunner,
  options: { memoryKib: () => number; boxes?: BoxRelay },
): void {
  const scope = globalThis as unknown as IsolateScope;
  const early: Uint8Array[] = [];
  let engine: SlotEngine | null = null;
  let teller: HeapTeller | null = null;
  const leave = (code: number) => {
    engine?.flush();
    scope.postMessage({ left: code });
  };
  const port: SlotPort = {
    send: (bytes) => scope.postMessage(bytes, [bytes.buffer]),
    drained: () => null,
    onStopped: () => leave(0),
  };
  // An isolate that exits says nothing to its parent by itself.
  const exit = (code = 0): never => {
    leave(code);
    scope.close();
    throw new Error(`exit(${code})`);
  };
  const deno = (globalThis as unknown as { Deno: object }).Deno;
  Object.defineProperty(deno, "exit", { value: exit, configurable: true });
  scope.onmessage = ({ data }) => {
    if (data instanceof Uint8Array) {
      if (engine === null) early.push(data);
      else {
        teller?.touch();
        engine.feed(data);
      }
      return;
    }
    if ("ping" in data) return scope.postMessage({ pong: true });
    if ("box" in data) return options.boxes?.take(data);
    void startSlot(world, data.init, port, {
      journal: data.journal === null ? null : sharedJournalWriter(data.journal),
      memoryKib: options.memoryKib,
      begun: data.begun,
      openRunner,
    }).then((started) => {
      if (started === null) return leave(1);
      engine = started;
      if (data.heap !== null) {
        teller = new HeapTeller(world, data.heap.words, data.heap.limitKib, () => started.busy > 0);
        teller.begin();
        if (early.length > 0) teller.touch();
      }
      for (const bytes of early.splice(0)) started.feed(bytes);
    });
  };
}
