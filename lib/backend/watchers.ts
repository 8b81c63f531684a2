/** Waits for results: one table per store, whatever way the store learns of changes. */

import type { ResultMeta } from "../wire/mod.ts";
import { errorText, OperatingError } from "../base/mod.ts";
import type { Watch } from "./backend.ts";

/** Callbacks to the store for changes of the table. Called synchronously; they must not throw. */
export interface WatchersEvents {
  /** The first watch on these ids. */
  onFirst(ids: readonly string[]): void;
  /** A further watch on awaited ids: the stored state must be delivered again. */
  onMore(ids: readonly string[]): void;
  /** The last watch on this id has ended. */
  onLast(id: string): void;
  decode(document: string | Uint8Array): ResultMeta;
}

/** An awaited id. */
interface Awaited {
  readonly watches: Set<OpenWatch>;
  /** The document delivered last: if it arrives again in another way, it is not delivered twice. */
  document: string | Uint8Array | null;
  meta: ResultMeta | null;
}

/** The table of awaited ids. */
export class Watchers {
  readonly #events: WatchersEvents;
  readonly #awaited = new Map<string, Awaited>();
  #closed: Error | null = null;

  constructor(events: WatchersEvents) {
    this.#events = events;
  }

  /** The number of awaited ids. */
  get size(): number {
    return this.#awaited.size;
  }

  /** Every awaited id. */
  ids(): string[] {
    return [...this.#awaited.keys()];
  }

  /** Whether anybody waits for an id. */
  has(id: string): boolean {
    return this.#awaited.has(id);
  }

  /** Opens a wait; its callbacks are never called before this returns. */
  open(
    ids: readonly string[],
    onMeta: (meta: ResultMeta) => void,
    onError: (error: Error) => void,
  ): Watch {
    const watch = new OpenWatch(this, onMeta, onError);
    const closed = this.#closed;
    if (closed === null) watch.add(ids);
    else queueMicrotask(() => onError(closed));
    return watch;
  }

  /** Delivers a stored document to its watches. */
  deliver(id: string, document: string | Uint8Array): void {
    const awaited = this.#awaited.get(id);
    if (!awaited || sameDocument(awaited.document, document)) return;
    let meta: ResultMeta;
    try {
      meta = this.#events.decode(document);
    } catch (error) {
      const reason = error instanceof Error ? error : new OperatingError(errorText(error));
      for (const watch of [...awaited.watches]) watch.onError(reason);
      return;
    }
    awaited.document = document;
    awaited.meta = meta;
    if (awaited.watches.size === 1) {
      for (const watch of awaited.watches) watch.onMeta(meta);
      return;
    }
    for (const watch of [...awaited.watches]) if (watch.ids.has(id)) watch.onMeta(meta);
  }

  /** Ends all watches with an error. */
  fail(error: Error): void {
    const all = new Set<OpenWatch>();
    for (const { watches } of this.#awaited.values()) for (const watch of watches) all.add(watch);
    this.#awaited.clear();
    for (const watch of all) {
      watch.ids.clear();
      watch.onError(error);
    }
  }

  /** Ends all watches, and all later ones, with the error that the store is closed. */
  close(): void {
    this.#closed = new OperatingError("The result store is closed");
    this.fail(this.#closed);
  }

  /** Called by OpenWatch. */
  add(watch: OpenWatch, ids: readonly string[]): void {
    if (this.#closed !== null) return;
    const first: string[] = [];
    const more: string[] = [];
    for (const id of ids) {
      if (watch.ids.has(id)) continue;
      watch.ids.add(id);
      const awaited = this.#awaited.get(id);
      if (!awaited) {
        this.#awaited.set(id, { watches: new Set([watch]), document: null, meta: null });
        first.push(id);
        continue;
      }
      awaited.watches.add(watch);
      const { meta } = awaited;
      if (meta === null) more.push(id);
      else queueMicrotask(() => watch.ids.has(id) && watch.onMeta(meta));
    }
    if (first.length > 0) this.#events.onFirst(first);
    if (more.length > 0) this.#events.onMore(more);
  }

  /** Called by OpenWatch. */
  drop(watch: OpenWatch, id: string): void {
    if (!watch.ids.delete(id)) return;
    const awaited = this.#awaited.get(id);
    if (!awaited) return;
    awaited.watches.delete(watch);
    if (awaited.watches.size > 0) return;
    this.#awaited.delete(id);
    this.#events.onLast(id);
  }
}

/** One caller's wait. */
class OpenWatch implements Watch {
  readonly #table: Watchers;
  readonly ids = new Set<string>();
  readonly onMeta: (meta: ResultMeta) => void;
  readonly onError: (error: Error) => void;

  constructor(table: Watchers, onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void) {
    this.#table = table;
    this.onMeta = onMeta;
    this.onError = onError;
  }

  add(ids: readonly string[]): void {
    this.#table.add(this, ids);
  }

  drop(id: string): void {
    this.#table.drop(this, id);
  }

  close(): void {
    for (const id of [...this.ids]) this.#table.drop(this, id);
  }
}

function sameDocument(a: string | Uint8Array | null, b: string | Uint8Array): boolean {
  if (a === null || typeof a !== typeof b) return false;
  if (typeof a === "string") return a === b;
  const bytes = b as Uint8Array;
  return a.length === bytes.length && a.every((byte, n) => byte === bytes[n]);
}
