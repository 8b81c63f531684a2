/**
 * Starting isolates for sandboxes, also on behalf of a slot that is an isolate itself.
 *
 * They are started by the main isolate of a process, never by an isolate that may be ended itself: Deno ends
 * a Worker in a busy loop two seconds after `terminate`, and only if the isolate that called it still exists.
 * So an isolate of the threads or async pool asks its parent (`IsolateRelay`), which relays bytes and ends
 * the isolates of a slot when the slot ends.
 */

import type { Link, LinkEvents, SlotEnd } from "./link.ts";
import type { ThreadInit } from "./slot_message.ts";

/** Milliseconds for which a busy isolate may go on after it was ended. */
export const DYING_MS = 2500;

/** What an isolate is started with: plain data, and shared memory. */
export interface IsolateSpec {
  readonly first: ThreadInit;
  /** Absolute paths of the modules that it may import. */
  readonly modules: readonly string[];
  /** Deno permissions of every kind; null: those of this program. */
  readonly permissions: Readonly<Record<string, boolean | "inherit" | string[]>> | null;
  readonly mayDial: boolean;
  readonly maySignal: boolean;
  readonly mayImport: boolean;
  readonly mayKeep: boolean;
}

/** The connection to a running isolate. */
export type IsolateLink = Pick<Link, "send" | "kill">;

/**
 * Starts isolates. A failed start is reported by `onEnded`, with the error's class and message as
 * `lastOutput`.
 */
export interface IsolateOpener {
  open(spec: IsolateSpec, events: LinkEvents): IsolateLink;
}

/** A request from a slot to its parent: open isolate `isolate`, send it bytes, or end it. */
export type IsolateRequest =
  | { readonly isolate: number; readonly open: IsolateSpec }
  | { readonly isolate: number; readonly bytes: Uint8Array }
  | { readonly isolate: number; readonly kill: string };

/** A message from the parent to the slot: bytes from an isolate, or its end. */
export type IsolateAnswer =
  | { readonly isolate: number; readonly bytes: Uint8Array }
  | { readonly isolate: number; readonly ended: SlotEnd };

/** The slot's end of the relay. */
export class IsolateRelay implements IsolateOpener {
  #post: (request: IsolateRequest) => void = () => {};
  #events = new Map<number, LinkEvents>();
  #count = 0;

  /** Sets how to reach the parent; call it before the first `open`. */
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

  /** Handles a message from the parent. */
  take(answer: IsolateAnswer): void {
    const events = this.#events.get(answer.isolate);
    if ("bytes" in answer) return events?.onBytes(answer.bytes);
    this.#events.delete(answer.isolate);
    events?.onEnded(answer.ended);
  }
}

/** The parent's end of the relay, for one slot. */
export class Isolates {
  #opener: IsolateOpener;
  #answer: (answer: IsolateAnswer) => void;
  #isolates = new Map<number, IsolateLink>();

  constructor(opener: IsolateOpener, answer: (answer: IsolateAnswer) => void) {
    this.#opener = opener;
    this.#answer = answer;
  }

  /** Handles a request of the slot. */
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

  /** Ends the slot's isolates, because the slot has ended. */
  close(): void {
    for (const isolate of this.#isolates.values()) isolate.kill("SIGKILL");
    this.#isolates.clear();
  }
}
