/**
 * Waking connections to one embedded database: those of this process directly, those of other processes through wake
 * files beside the database, which they watch. A topic hashes to one of a few files, so that a process wakes for
 * little else than what it waits for.
 */

import { errorText, type World } from "../base/mod.ts";
import { makePrivateFolder, touchFile, type TouchWatch, watchTouches } from "../platform/mod.ts";

/** How many wake files there are. */
const FILES = 16;

interface Member {
  topics: ReadonlySet<string>;
  onWake: () => void;
}

const hubs = new Map<string, SqliteHub>();
/** Tells our own sessions from those of other isolates and earlier starts; made once. */
let instance: string | null = null;

/** One per database and process (isolate). */
export class SqliteHub {
  /** Names this start of this isolate among the sessions of a database. */
  readonly instance: string;
  /** The sessions that connections of this process keep. */
  readonly sessions = new Set<number>();
  #path: string;
  #world: World;
  #members = new Map<object, Member>();
  #users = 0;
  #watch: TouchWatch | null = null;
  #watched = new Set<number>();

  private constructor(world: World, path: string) {
    this.#world = world;
    this.#path = path;
    this.instance = instance ??= world.random.id();
  }

  /** The hub of a database; each `open` is matched by a `close`. */
  static open(world: World, path: string): SqliteHub {
    let hub = hubs.get(path);
    if (!hub) hubs.set(path, hub = new SqliteHub(world, path));
    hub.#users++;
    return hub;
  }

  /** Forgets a member; the last one ends the watch. */
  close(member: object): void {
    this.#members.delete(member);
    if (--this.#users > 0) return;
    hubs.delete(this.#path);
    this.#watch?.close();
    this.#watch = null;
    this.#watched.clear();
  }

  /** Calls `onWake` when one of the topics is woken, here or in another process; replaces what was watched. */
  watch(member: object, topics: ReadonlySet<string>, onWake: () => void): void {
    this.#members.set(member, { topics, onWake });
    const wanted = new Set(this.#watched);
    for (const topic of topics) wanted.add(fileOf(topic));
    if (wanted.size > this.#watched.size) this.#watchFiles(wanted);
  }

  /** Wakes everyone who watches one of the topics. Cost: one file per topic, once a turn. */
  wake(topics: ReadonlySet<string>): void {
    const files = new Set<number>();
    for (const topic of topics) files.add(fileOf(topic));
    const nowMs = this.#world.clock.wallMs();
    for (const file of files) touchFile(this.#fileName(file), nowMs);
    for (const { topics: wanted, onWake } of this.#members.values()) {
      for (const topic of topics) {
        if (!wanted.has(topic)) continue;
        onWake();
        break;
      }
    }
  }

  #watchFiles(files: Set<number>): void {
    this.#watched = files;
    const before = this.#watch;
    try {
      this.#watch = watchTouches(
        [...files].map((file) => this.#fileName(file)),
        (path) => this.#touched(path),
      );
    } catch (error) {
      this.#watch = null;
      this.#world.log.warning(`${errorText(error)}: new messages are noticed within a second only`);
    }
    before?.close();
  }

  #touched(path: string): void {
    const file = parseInt(path.slice(path.lastIndexOf("/") + 1), 16);
    for (const { topics, onWake } of this.#members.values()) {
      for (const topic of topics) {
        if (fileOf(topic) !== file) continue;
        onWake();
        break;
      }
    }
  }

  #fileName(file: number): string {
    return `${this.#path}-wake/${file.toString(16)}`;
  }
}

/** Makes the folder of a database's wake files. Throws OperatingError. */
export function makeWakeFolder(path: string): void {
  makePrivateFolder(`${path}-wake`);
}

/** The file of a topic: a hash (FNV-1a) that every process computes alike. */
function fileOf(topic: string): number {
  let hash = 0x811c9dc5;
  for (let n = 0; n < topic.length; n++) hash = Math.imul(hash ^ topic.charCodeAt(n), 0x01000193);
  return (hash >>> 16 ^ hash) & (FILES - 1);
}
