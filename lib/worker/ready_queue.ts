/** Requests that wait for a slot, oldest first. */

import type { Request } from "./request.ts";

const COMPACT_AT = 1024;

/** A queue that is also given back to at its head and taken from at its tail. Bounded by the prefetch window. */
export class ReadyQueue {
  #items: Request[] = [];
  #head = 0;

  /** How many wait. */
  get length(): number {
    return this.#items.length - this.#head;
  }

  /** Appends at the tail. Data lane: per message. */
  push(request: Request): void {
    this.#items.push(request);
  }

  /** Takes the oldest, or undefined. Data lane: per message. */
  shift(): Request | undefined {
    if (this.#head === this.#items.length) return undefined;
    const request = this.#items[this.#head++];
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return request;
  }

  /** Puts one back at the head. */
  unshift(request: Request): void {
    if (this.#head > 0) this.#items[--this.#head] = request;
    else this.#items.unshift(request);
  }

  /** Takes the newest, or undefined. */
  pop(): Request | undefined {
    return this.length === 0 ? undefined : this.#items.pop();
  }

  /** The waiting requests, oldest first; a copy. */
  toArray(): Request[] {
    return this.#items.slice(this.#head);
  }

  /** Forgets all. */
  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
