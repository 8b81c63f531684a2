/**
 * Results in this process alone, for tests and programs with a single process. All stores of one `memory://`
 * URL share one set of results, which is deleted when the last of them closes.
 */

import type { World } from "../base/mod.ts";
import { decodeResultMeta, loadSerializer, type ResultMeta } from "../wire/mod.ts";
import {
  type Backend,
  type BackendOptions,
  type ChordPart,
  type CompleteHeader,
  mustStay,
  type ResultRecord,
  type Watch,
} from "./backend.ts";
import { encodeChordMember, ENDED_SECONDS, headerMembers } from "./chord.ts";
import { type StoreDone, StoreQueue } from "./queue.ts";
import { retryPolicy } from "./retry.ts";
import { Watchers } from "./watchers.ts";

/** Results kept at most; beyond that the oldest are deleted. */
const RESULTS_MAX = 1_000_000;
/** Expired results deleted for each result stored: more than one, so that they do not accumulate. */
const EXPIRED_PER_STORE = 2;

interface Stored {
  document: string | Uint8Array;
  state: string;
  /** Monotonic milliseconds; Infinity: never. */
  expiresAt: number;
}

interface Counted {
  size: number | null;
  grown: number;
  members: Map<string, { index: number; order: number; document: string | Uint8Array }>;
  /** The task that completed the header. */
  owner: string | null;
  expiresAt: number;
}

interface Shared {
  /** In the order of storing, which is that of expiry. */
  results: Map<string, Stored>;
  groups: Map<string, { tuple: string; expiresAt: number }>;
  chords: Map<string, Counted>;
  /** Ended chords with the time until which they are remembered, monotonic milliseconds; in order of time. */
  ended: Map<string, number>;
  watchers: Set<Watchers>;
  users: number;
}

const sharedByUrl = new Map<string, Shared>();

/** The store of `memory://`. */
export class MemoryBackend implements Backend {
  readonly kind = "memory" as const;
  readonly url: string;
  readonly countsChords = true;
  readonly expiresByItself = true;
  readonly replyTo = null;
  readonly #world: World;
  readonly #options: BackendOptions;
  readonly #shared: Shared;
  readonly #queue: StoreQueue;
  readonly #watchers: Watchers;
  readonly #lifeMs: number;
  #isClosed = false;

  /** Use `open`. */
  constructor(world: World, url: string, options: BackendOptions) {
    this.#world = world;
    this.#options = options;
    this.url = url;
    this.#lifeMs = options.expiresSeconds ? options.expiresSeconds * 1000 : Infinity;
    let shared = sharedByUrl.get(url);
    if (!shared) {
      shared = {
        results: new Map(),
        groups: new Map(),
        chords: new Map(),
        ended: new Map(),
        watchers: new Set(),
        users: 0,
      };
      sharedByUrl.set(url, shared);
    }
    shared.users++;
    this.#shared = shared;
    this.#queue = new StoreQueue({
      clock: world.clock,
      log: world.log,
      policy: retryPolicy(options, world.random),
      schedule: (fn) => world.clock.defer(fn),
      write: (records) => {
        for (const record of records) this.#put(record);
        return null;
      },
    });
    this.#watchers = new Watchers({
      onFirst: (ids) => queueMicrotask(() => this.#notifyStored(ids)),
      onMore: (ids) => queueMicrotask(() => this.#notifyStored(ids)),
      onLast: () => {},
      decode: (document) => decodeResultMeta(document, this.#options),
    });
    shared.watchers.add(this.#watchers);
  }

  /** Opens the results of this URL. */
  static async open(world: World, url: string, options: BackendOptions): Promise<MemoryBackend> {
    await loadSerializer(options.serializer);
    return new MemoryBackend(world, url, options);
  }

  store(record: ResultRecord, done: StoreDone | null): void {
    this.#queue.append(record, done);
  }

  get isCongested(): boolean {
    return this.#queue.isCongested;
  }

  flush(): Promise<void> {
    return this.#queue.flush();
  }

  fetch(taskId: string): Promise<ResultMeta | null> {
    return Promise.resolve().then(() => this.#meta(taskId));
  }

  fetchMany(ids: readonly string[], isCarried = false): Promise<(ResultMeta | null)[]> {
    return Promise.resolve().then(() => ids.map((id) => this.#meta(id, isCarried)));
  }

  watch(ids: readonly string[], onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void): Watch {
    return this.#watchers.open(ids, onMeta, onError);
  }

  forget(taskId: string): Promise<void> {
    this.#shared.results.delete(taskId);
    return Promise.resolve();
  }

  saveGroup(groupId: string, tuple: string): Promise<void> {
    this.#shared.groups.set(groupId, { tuple, expiresAt: this.#expiry() });
    return Promise.resolve();
  }

  fetchGroup(groupId: string): Promise<string | null> {
    const group = this.#shared.groups.get(groupId);
    return Promise.resolve(group && group.expiresAt > this.#now() ? group.tuple : null);
  }

  deleteGroup(groupId: string): Promise<void> {
    this.#shared.groups.delete(groupId);
    return Promise.resolve();
  }

  startChord(groupId: string, size: number): Promise<void> {
    this.#chord(groupId).size = size;
    return Promise.resolve();
  }

  growChord(groupId: string, by: number): Promise<void> {
    this.#chord(groupId).grown += by;
    return Promise.resolve();
  }

  countChordParts(parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]> {
    return Promise.resolve(parts.map((part) => this.#count(part)).filter((header) => header !== null));
  }

  #count(part: ChordPart): CompleteHeader | null {
    if ((this.#shared.ended.get(part.groupId) ?? 0) > this.#now()) return null;
    const chord = this.#chord(part.groupId);
    const before = chord.members.get(part.taskId);
    chord.members.set(part.taskId, {
      index: part.groupIndex ?? Infinity,
      order: before?.order ?? chord.members.size,
      document: encodeChordMember(part, this.#options.serializer),
    });
    if (chord.size === null || chord.members.size !== chord.size + chord.grown) return null;
    if (before && chord.owner !== null && chord.owner !== part.taskId) return null;
    chord.owner = part.taskId;
    const members = [...chord.members.values()].sort((a, b) =>
      a.index === b.index ? a.order - b.order : a.index - b.index
    );
    return {
      part,
      members: () => {
        const documents = members.map((member) => member.document);
        return headerMembers(this, part.groupId, documents, this.#options, this.#world.clock);
      },
    };
  }

  endChord(groupId: string): Promise<void> {
    const { chords, ended } = this.#shared;
    chords.delete(groupId);
    for (const [id, until] of ended) {
      if (until > this.#now()) break;
      ended.delete(id);
    }
    ended.delete(groupId);
    ended.set(groupId, this.#now() + ENDED_SECONDS * 1000);
    return Promise.resolve();
  }

  cleanup(): Promise<void> {
    const now = this.#now();
    const { results, groups, chords } = this.#shared;
    for (const map of [results, groups, chords]) {
      for (const [id, { expiresAt }] of map) if (expiresAt <= now) map.delete(id);
    }
    return Promise.resolve();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#queue.flush();
    this.#queue.close();
    this.#shared.watchers.delete(this.#watchers);
    this.#watchers.close();
    if (--this.#shared.users === 0) sharedByUrl.delete(this.url);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #now(): number {
    return this.#world.clock.monoMs();
  }

  #expiry(): number {
    return this.#now() + this.#lifeMs;
  }

  #meta(id: string, isCarried = false): ResultMeta | null {
    const stored = this.#shared.results.get(id);
    return stored && stored.expiresAt > this.#now()
      ? decodeResultMeta(stored.document, this.#options, isCarried)
      : null;
  }

  #put(record: ResultRecord): void {
    const { results, watchers } = this.#shared;
    const before = results.get(record.taskId);
    if (before) {
      if (record.guard && before.expiresAt > this.#now() && mustStay(before.state, record.state)) return;
      results.delete(record.taskId);
    }
    const { document, state, taskId } = record;
    results.set(taskId, { document, state, expiresAt: this.#expiry() });
    this.#dropOld();
    for (const table of watchers) table.deliver(taskId, document);
  }

  #dropOld(): void {
    const { results } = this.#shared;
    const now = this.#now();
    let looked = 0;
    for (const [id, { expiresAt }] of results) {
      if (expiresAt > now && results.size <= RESULTS_MAX || looked++ >= EXPIRED_PER_STORE) return;
      results.delete(id);
    }
  }

  #notifyStored(ids: readonly string[]): void {
    for (const id of ids) {
      const stored = this.#shared.results.get(id);
      if (stored && stored.expiresAt > this.#now()) this.#watchers.deliver(id, stored.document);
    }
  }

  #chord(groupId: string): Counted {
    const { chords } = this.#shared;
    let chord = chords.get(groupId);
    if (!chord || chord.expiresAt <= this.#now()) {
      chord = { size: null, grown: 0, members: new Map(), owner: null, expiresAt: 0 };
      chords.set(groupId, chord);
      for (const [id, { expiresAt }] of chords) {
        if (id !== groupId && expiresAt <= this.#now()) chords.delete(id);
        else break;
      }
    }
    chord.expiresAt = this.#expiry();
    return chord;
  }
}
