/**
 * How the isolates that sandboxes are get started, and how a slot that is an isolate has its parent start them.
 *
 * They are started by the main isolate of a process, never by an isolate that may be ended itself: Deno ends a
 * Worker in a busy loop two seconds after it was told to, and only if who told it is still there. So an isolate of
 * the threads or async pool asks its parent (`BoxRelay`), which passes bytes on and ends the boxes of a slot with it.
 */

import type { Link, LinkEvents, SlotEnd } from "./link.ts";
import type { ThreadInit } from "./slot_message.ts";

/** Milliseconds that a busy isolate may go on after it was ended. */
export const DYING_MS = 2500;

/** What an isolate comes up with. Plain data, and shared memory. */
export interface BoxSpec {
  readonly first: ThreadInit;
  /** Absolute paths of what it may import. */
  readonly modules: readonly string[];
  /** Every kind; null: all that this program may. */
  readonly permissions: Readonly<Record<string, boolean | "inherit" | string[]>> | null;
  readonly maySignal: boolean;
}

/** A running box. */
export type Box = Pick<Link, "send" | "kill">;

/** Starts boxes. Failures arrive as `onEnded`, their error's class and message as `lastWords`. */
export interface BoxOpener {
  open(spec: BoxSpec, events: LinkEvents): Box;
}

/** From a slot to its parent: opens box `box`, sends it bytes, or ends it. */
export type BoxRequest =
  | { readonly box: number; readonly open: BoxSpec }
  | { readonly box: number; readonly bytes: Uint8Array }
  | { readonly box: number; readonly kill: string };

/** And back: bytes from it, or its end. */
export type BoxAnswer =
  | { readonly box: number; readonly bytes: Uint8Array }
  | { readonly box: number; readonly ended: SlotEnd };

/** The slot's side. */
export class BoxRelay implements BoxOpener {
  #post: (request: BoxRequest) => void;
  #events = new Map<number, LinkEvents>();
  #count = 0;

  constructor(post: (request: BoxRequest) => void) {
    this.#post = post;
  }

  open(spec: BoxSpec, events: LinkEvents): Box {
    const box = ++this.#count;
    this.#events.set(box, events);
    this.#post({ box, open: spec });
    return {
      send: (bytes) => this.#post({ box, bytes }),
      kill: (signal) => this.#post({ box, kill: signal }),
    };
  }

  /** Takes what the parent says. */
  take(answer: BoxAnswer): void {
    const events = this.#events.get(answer.box);
    if ("bytes" in answer) return events?.onBytes(answer.bytes);
    this.#events.delete(answer.box);
    events?.onEnded(answer.ended);
  }
}

/** The parent's side, for one slot. */
export class Boxes {
  #opener: BoxOpener;
  #answer: (answer: BoxAnswer) => void;
  #boxes = new Map<number, Box>();

  constructor(opener: BoxOpener, answer: (answer: BoxAnswer) => void) {
    this.#opener = opener;
    this.#answer = answer;
  }

  /** Takes what the slot asks. */
  take(request: BoxRequest): void {
    const { box } = request;
    if ("open" in request) {
      const opened = this.#opener.open(request.open, {
        onBytes: (bytes) => this.#answer({ box, bytes }),
        onEnded: (ended) => {
          this.#boxes.delete(box);
          this.#answer({ box, ended });
        },
      });
      this.#boxes.set(box, opened);
    } else if ("bytes" in request) this.#boxes.get(box)?.send(request.bytes);
    else this.#boxes.get(box)?.kill(request.kill);
  }

  /** The slot has ended, and its boxes with it. */
  close(): void {
    for (const box of this.#boxes.values()) box.kill("SIGKILL");
    this.#boxes.clear();
  }
}
