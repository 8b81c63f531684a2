/**
 * The process that hosts the isolates of the threads and async pools.
 *
 * Its main isolate runs no user code. It starts and ends the other isolates and relays bytes, so it answers
 * however busy they are. There are two reasons for a process apart from the worker's: an isolate in a busy
 * loop can only be ended with its process, and an isolate that runs out of memory ends its process.
 */

import type { World } from "../../base/mod.ts";
import { fromTypedJson, toJson } from "../../wire/mod.ts";
import { IsolateHost } from "../sandbox/isolate_host.ts";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "../link/frame.ts";
import type { Link, LinkFactory } from "../link/link.ts";
import type { SlotInit } from "../link/slot_message.ts";
import { threadLinks } from "../link/thread.ts";

/** The host's end. `entry`: the entry module of isolates, for tests. */
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

  /** Takes bytes from the worker. Throws ProtocolError if they are not frames. */
  feed(bytes: Uint8Array): void {
    this.#reader.feed(bytes, this.#onFrame);
  }

  /** No effect: nothing is ever unsent. */
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
