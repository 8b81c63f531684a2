/**
 * The process that isolates of the threads and async pools are in.
 *
 * Its main isolate runs no user code: it starts and ends the others and passes bytes on, so it answers however busy
 * they are. That these isolates are in no process of the worker's own has two reasons. One that spins can only be
 * ended with its process, and one that runs out of memory takes its process with it.
 */

import type { World } from "../../base/mod.ts";
import { fromTypedJson, toJson } from "../../wire/mod.ts";
import { IsolateHost } from "../sandbox/isolate_host.ts";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "../link/frame.ts";
import type { Link, LinkFactory } from "../link/link.ts";
import type { SlotInit } from "../link/slot_message.ts";
import { threadLinks } from "../link/thread.ts";

/** The host's side. `entry`: the module isolates begin with; for tests. */
export class ThreadHost {
  #send: (bytes: Uint8Array<ArrayBuffer>) => void;
  #links: LinkFactory;
  #slots = new Map<string, Link>();
  #reader = new FrameReader();
  #writer = new FrameWriter();
  #onFrame = (frame: Frame): void => this.#take(frame);

  constructor(world: World, send: (bytes: Uint8Array<ArrayBuffer>) => void, entry?: URL) {
    this.#send = send;
    this.#links = threadLinks(world, new IsolateHost(world), entry);
    this.#send(encodeFrame(FRAME.ready, "0"));
  }

  /** Takes bytes from the worker. */
  feed(bytes: Uint8Array): void {
    this.#reader.feed(bytes, this.#onFrame);
  }

  /** Nothing is ever unsent. */
  flush(): void {}

  #take(frame: Frame): void {
    switch (frame.type) {
      case FRAME.hostRelay:
        return this.#slots.get(frame.head)?.send(frame.tail ?? new Uint8Array(0));
      case FRAME.hostOpen:
        return this.#open(frame.head, fromTypedJson(frame.text) as SlotInit);
      case FRAME.hostKill:
        return this.#slots.get(frame.head)?.kill("SIGKILL");
    }
  }

  #open(slot: string, init: SlotInit): void {
    const link = this.#links.open(init, {
      onBytes: (bytes) => {
        this.#writer.append(FRAME.hostRelayed, slot, "", bytes);
        this.#send(this.#writer.take());
      },
      onEnded: (end) => {
        this.#slots.delete(slot);
        this.#send(encodeFrame(FRAME.hostEnded, slot, toJson(end)));
      },
    });
    this.#slots.set(slot, link);
  }
}
