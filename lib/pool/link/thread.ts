/**
 * Deno Workers as slots: isolates of this process. They know one way to end, `terminate`, which (in Deno 2.9) has no
 * effect on a busy loop. So one that is to end is asked for a sign of life first, and where none comes the end says
 * that it is stuck: whoever owns the process then sees to it that the process ends (host.ts, sandbox/sandbox.ts).
 */

import type { World } from "../../base/mod.ts";
import { moduleUrl } from "../../platform/mod.ts";
import { type IsolateOpener, type IsolateRequest, Isolates } from "./isolate.ts";
import {
  createSharedJournal,
  type JournalReader,
  sharedJournalBytes,
  sharedJournalReader,
} from "./journal.ts";
import type { Link, LinkEvents, LinkFactory } from "./link.ts";
import type { ThreadInit } from "./slot_message.ts";

/** Where an isolate begins; the bundle has it as a file of its own beside main.js. */
export function threadEntry(): URL {
  return moduleUrl("child_thread.js", "pool/child/child_thread.ts");
}

/**
 * Makes the factory. `entry` is the module an isolate begins with; `isolates` starts the sandboxes they ask for.
 * Slots make journals as processes do, since who reads them is in another process.
 */
export function threadLinks(
  world: World,
  isolates: IsolateOpener,
  entry: URL = threadEntry(),
): LinkFactory {
  return {
    open(init, events) {
      const worker = new Worker(entry, { type: "module", name: init.name });
      const journal = init.isConcurrent ? createSharedJournal() : null;
      const begun = init.isConcurrent ? { begun: new SharedArrayBuffer(4) } : {};
      const first = { init: { ...init, watchParent: false }, journal, heap: null, ...begun };
      return new ThreadLink(world, worker, first, events, isolates);
    },
    close: () => Promise.resolve(),
  };
}

/** Milliseconds that an isolate has for a sign of life. */
const SIGN_OF_LIFE_MS = 60;

interface Pong {
  readonly pong: true;
}

/** The parent's end of one isolate. */
export class ThreadLink implements Link {
  readonly pid: number;
  readonly journal: JournalReader | null;
  #world: World;
  #events: LinkEvents;
  #worker: Worker;
  /**
   * What the two talk by: a port of their own, which is not to be had where user code runs. What user code posts to its
   * parent, or sets as its handler, touches nothing here.
   */
  #port: MessagePort;
  #isolates: Isolates | null = null;
  /** Of an isolate that runs many jobs at once: how many it has begun, and the outcomes it has not sent. */
  #begun: Int32Array | null;
  #unsent: SharedArrayBuffer | null;
  #isEnding = false;
  /** Set once it is to end: what its sign of life does. */
  #onPong: (() => void) | null = null;

  /** Takes a Worker that was just made, and sends it its first message. `isolates` opens sandboxes that it asks for. */
  constructor(
    world: World,
    worker: Worker,
    first: ThreadInit,
    events: LinkEvents,
    isolates: IsolateOpener | null = null,
  ) {
    this.#world = world;
    this.#events = events;
    this.pid = world.host.pid;
    this.journal = first.journal === null ? null : sharedJournalReader(first.journal);
    this.#begun = first.begun === undefined ? null : new Int32Array(first.begun);
    this.#unsent = first.init.isConcurrent ? first.journal : null;
    this.#worker = worker;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }: MessageEvent<Uint8Array | { left: number } | Pong | IsolateRequest>) => {
      if (data instanceof Uint8Array) return this.#events.onBytes(data);
      if (this.#isEnding) return;
      if ("pong" in data) return this.#onPong?.();
      if ("isolate" in data) this.#takeIsolate(data, isolates);
      else this.#end(data.left, null, "");
    };
    port1.onmessageerror = () => this.#end(1, null, "a message that cannot be read");
    worker.onerror = (event) => {
      // Unhandled it would end the worker's own isolate.
      event.preventDefault();
      this.#end(1, null, event.message);
    };
    worker.postMessage({ ...first, port: port2 }, [port2]);
  }

  askJournal(): void {}

  openJournal(): void {}

  send(bytes: Uint8Array): void {
    if (!this.#isEnding) this.#port.postMessage(bytes);
  }

  kill(signal: string): void {
    if (this.#isEnding || this.#onPong !== null) return;
    const { clock } = this.#world;
    const disarm = clock.arm(clock.monoMs() + SIGN_OF_LIFE_MS, () => this.#end(-1, signal, "", true));
    this.#onPong = () => {
      disarm();
      this.#end(-1, signal, "");
    };
    this.#port.postMessage({ ping: true });
  }

  release(): void {}

  #takeIsolate(request: IsolateRequest, opener: IsolateOpener | null): void {
    if (opener === null) return;
    this.#isolates ??= new Isolates(opener, (answer) => {
      if (!this.#isEnding) this.#port.postMessage(answer);
    });
    this.#isolates.take(request);
  }

  #end(code: number, signal: string | null, lastWords: string, isStuck = false): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    // One turn, so that what the isolate has sent already is heard first.
    this.#world.clock.defer(() => {
      this.#worker.terminate();
      this.#port.close();
      this.#isolates?.close();
      const begun = this.#begun === null ? {} : { begun: Atomics.load(this.#begun, 0) };
      const unsent = this.#unsent === null ? null : sharedJournalBytes(this.#unsent);
      if (unsent !== null && unsent.length > 0) this.#events.onBytes(unsent);
      this.#events.onEnded({ code, signal, lastWords, isStuck, ...begun });
    });
  }
}
