/**
 * How the isolates that sandboxes are get started, and how a slot that is an isolate has its parent start them.
 *
 * They are started by the main isolate of a process, never by an isolate that may be ended itself: Deno ends a
 * Worker in a busy loop two seconds after it was told to, and only if who told it is still there. So an isolate of
 * the threads or async pool asks its parent (`IsolateRelay`), which passes bytes on and ends the isolates of a slot
 * with it.
 */

import type { Link, LinkEvents, SlotEnd } from "./link.ts";
import type { ThreadInit } from "./slot_message.ts";

/** Milliseconds that a busy isolate may go on after it was ended. */
export const DYING_MS = 2500;

/** What an isolate comes up with. Plain data, and shared memory. */
export interface IsolateSpec {
  readonly first: ThreadInit;
  /** Absolute paths of what it may import. */
  readonly modules: readonly string[];
  /** Every kind; null: all that this program may. */
  readonly permissions: Readonly<Record<string, boolean | "inherit" | string[]>> | null;
  readonly mayDial: boolean;
  readonly maySignal: boolean;
  readonly mayImport: boolean;
  readonly mayKeep: boolean;
}

/** A running isolate. */
export type IsolateLink = Pick<Link, "send" | "kill">;

/** Starts isolates. Failures arrive as `onEnded`, their error's class and message as `lastWords`. */
export interface IsolateOpener {
  open(spec: IsolateSpec, events: LinkEvents): IsolateLink;
}

/** From a slot to its parent: opens isolate `isolate`, sends it bytes, or ends it. */
export type IsolateRequest =
  | { readonly isolate: number; readonly open: IsolateSpec }
  | { readonly isolate: number; readonly bytes: Uint8Array }
  | { readonly isolate: number; readonly kill: string };

/** And back: bytes from it, or its end. */
export type IsolateAnswer =
  | { readonly isolate: number; readonly bytes: Uint8Array }
  | { readonly isolate: number; readonly ended: SlotEnd };

/** The slot's side. */
export class IsolateRelay implements IsolateOpener {
  #post: (request: IsolateRequest) => void = () => {};
  #events = new Map<number, LinkEvents>();
  #count = 0;

  /** How the parent is reached; before the first `open`. */
  connect(post: (request: IsolateRequest) => void): void {
    this.#post = post;
  }

  open(spec: IsolateSpec, events: LinkEvents): IsolateLink {
    const isolate = ++this.#count;
    this.#events.set(isolate, events);
    this.#post({ isolate, open: spec });
    return {
      send: (bytes) => this.#post({ isolate, bytes }),
      kill: (signal) => this.#post({ isolate, kill: signal }),
    };
  }

  /** Takes what the parent says. */
  take(answer: IsolateAnswer): void {
    const events = this.#events.get(answer.isolate);
    if ("bytes" in answer) return events?.onBytes(answer.bytes);
    this.#events.delete(answer.isolate);
    events?.onEnded(answer.ended);
  }
}

/** The parent's side, for one slot. */
export class Isolates {
  #opener: IsolateOpener;
  #answer: (answer: IsolateAnswer) => void;
  #isolates = new Map<number, IsolateLink>();

  constructor(opener: IsolateOpener, answer: (answer: IsolateAnswer) => void) {
    this.#opener = opener;
    this.#answer = answer;
  }

  /** Takes what the slot asks. */
  take(request: IsolateRequest): void {
    const { isolate } = request;
    if ("open" in request) {
      const opened = this.#opener.open(request.open, {
        onBytes: (bytes) => this.#answer({ isolate, bytes }),
        onEnded: (ended) => {
          this.#isolates.delete(isolate);
          this.#answer({ isolate, ended });
        },
      });
      this.#isolates.set(isolate, opened);
    } else if ("bytes" in request) this.#isolates.get(isolate)?.send(request.bytes);
    else this.#isolates.get(isolate)?.kill(request.kill);
  }

  /** The slot has ended, and its isolates with it. */
  close(): void {
    for (const isolate of this.#isolates.values()) isolate.kill("SIGKILL");
    this.#isolates.clear();
  }
}
