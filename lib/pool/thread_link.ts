/**
 * Deno Workers as slots: isolates of this process. They know one way to end, `terminate`, which works in a
 * busy loop too.
 */

import type { World } from "../base/mod.ts";
import { moduleUrl } from "../platform/mod.ts";
import { createSharedJournal, type JournalReader, sharedJournalReader } from "./journal.ts";
import type { Link, LinkEvents, LinkFactory } from "./link.ts";
import type { SlotInit } from "./slot_message.ts";

/** The first message to an isolate; all later ones are bytes. */
export interface ThreadInit {
  readonly init: SlotInit;
  readonly journal: SharedArrayBuffer;
}

/** Where an isolate begins; the bundle has it as a file of its own beside main.js. */
export function threadEntry(): URL {
  return moduleUrl("child_thread.js", "pool/child_thread.ts");
}

/** Makes the factory. `entry` is the module an isolate begins with. */
export function threadLinks(world: World, entry: URL = threadEntry()): LinkFactory {
  return {
    isProcess: false,
    open: (init, events) => new ThreadLink(world, entry, init, events),
    close(): void {},
  };
}

class ThreadLink implements Link {
  readonly pid: number;
  readonly journal: JournalReader;
  #world: World;
  #events: LinkEvents;
  #worker: Worker;
  #isEnding = false;

  constructor(
    world: World,
    entry: URL,
    init: Omit<SlotInit, "watchParent">,
    events: LinkEvents,
  ) {
    this.#world = world;
    this.#events = events;
    this.pid = world.host.pid;
    const memory = createSharedJournal();
    this.journal = sharedJournalReader(memory);
    this.#worker = new Worker(entry, { type: "module", name: init.name });
    this.#worker.onmessage = ({ data }: MessageEvent<Uint8Array | { left: number }>) => {
      if (this.#isEnding && !(data instanceof Uint8Array)) return;
      if (data instanceof Uint8Array) this.#events.onBytes(data);
      else this.#end(data.left, null, "");
    };
    this.#worker.onerror = (event) => {
      // Unhandled it would end the worker's own isolate.
      event.preventDefault();
      this.#end(1, null, event.message);
    };
    this.#worker.onmessageerror = () => this.#end(1, null, "a message that cannot be read");
    const first: ThreadInit = { init: { ...init, watchParent: false }, journal: memory };
    this.#worker.postMessage(first);
  }

  askJournal(): void {}

  openJournal(): void {}

  send(bytes: Uint8Array): void {
    if (!this.#isEnding) this.#worker.postMessage(bytes);
  }

  kill(signal: string): void {
    this.#end(-1, signal, "");
  }

  release(): void {}

  #end(code: number, signal: string | null, lastWords: string): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    // One turn, so that what the isolate has sent already is heard first.
    this.#world.clock.defer(() => {
      this.#worker.terminate();
      this.#events.onEnded({ code, signal, lastWords });
    });
  }
}
