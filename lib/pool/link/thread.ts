/**
 * Deno Workers as slots: isolates of this process. The only way to end one is `terminate`, which has no
 * effect on a busy loop (in Deno 2.9). So an isolate that is to end is pinged first. If it does not answer,
 * its end is reported as stuck, and the owner of the process makes sure that the process ends (host.ts,
 * sandbox/sandbox.ts).
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

/** Returns the entry module of an isolate. In the bundle it is a file of its own next to main.js. */
export function threadEntry(): URL {
  return moduleUrl("child_thread.js", "pool/child/child_thread.ts");
}

/**
 * Makes the factory. `entry` is the entry module of an isolate; `isolates` starts the sandboxes that isolates
 * request. Slots keep file journals as processes do, because the reader is in another process.
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

/** Milliseconds that an isolate has to answer a ping. */
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
   * The port between the two, which user code cannot reach. Messages that user code posts to its parent, and
   * handlers that it sets, have no effect here.
   */
  #port: MessagePort;
  #isolates: Isolates | null = null;
  /** For a concurrent isolate: how many jobs it has begun, and the outcomes that it has not sent. */
  #begun: Int32Array | null;
  #unsent: SharedArrayBuffer | null;
  #isEnding = false;
  /** Set when the isolate is to end: handles its answer to the ping. */
  #onPong: (() => void) | null = null;

  /**
   * Takes a Worker that was just created, and sends it its first message. `isolates` opens the sandboxes that
   * it requests.
   */
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
      // An unhandled error would end the worker's own isolate.
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

  #end(code: number, signal: string | null, lastOutput: string, isStuck = false): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    // Wait one turn, so that messages already sent by the isolate are delivered first.
    this.#world.clock.defer(() => {
      this.#worker.terminate();
      this.#port.close();
      this.#isolates?.close();
      const begun = this.#begun === null ? {} : { begun: Atomics.load(this.#begun, 0) };
      const unsent = this.#unsent === null ? null : sharedJournalBytes(this.#unsent);
      if (unsent !== null && unsent.length > 0) this.#events.onBytes(unsent);
      this.#events.onEnded({ code, signal, lastOutput, isStuck, ...begun });
    });
  }
}
