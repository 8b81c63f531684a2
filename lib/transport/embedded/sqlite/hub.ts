/**
 * Waking connections to one embedded database: those of this process directly, those of other processes through wake
 * files. A topic hashes to one of a few files, so that a process wakes for little else than what it waits for.
 */

import { errorText, type World } from "../../../base/mod.ts";
import { makePrivateFolder } from "../../../platform/mod.ts";
import { WakeFiles } from "../../../sqlite/mod.ts";

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
  #files: WakeFiles;

  private constructor(world: World, path: string) {
    this.#world = world;
    this.#path = path;
    this.#files = new WakeFiles(world.clock, (file) => this.#touched(file));
    this.instance = instance ??= world.random.id();
  }

  /** The hub of a database; each `open` is matched by a `close`. Makes the folder of the wake files. */
  static open(world: World, path: string): SqliteHub {
    makePrivateFolder(`${path}-wake`);
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
    this.#files.close();
  }

  /** Calls `onWake` when one of the topics is woken, here or in another process; replaces what was watched. */
  watch(member: object, topics: ReadonlySet<string>, onWake: () => void): void {
    this.#members.set(member, { topics, onWake });
    try {
      this.#files.watch([...topics].map((topic) => this.#fileOf(topic)));
    } catch (error) {
      this.#world.log.warning(`${errorText(error)}: new messages are noticed within a second only`);
    }
  }

  /** Wakes everyone who watches one of the topics. Cost: one file per topic, once a turn. */
  wake(topics: ReadonlySet<string>): void {
    const files = new Set<string>();
    for (const topic of topics) files.add(this.#fileOf(topic));
    for (const file of files) this.#files.touch(file);
    for (const { topics: wanted, onWake } of this.#members.values()) {
      if (!topics.isDisjointFrom(wanted)) onWake();
    }
  }

  #touched(file: string): void {
    for (const { topics, onWake } of this.#members.values()) {
      if (topics.values().some((topic) => this.#fileOf(topic) === file)) onWake();
    }
  }

  /** The wake file of a topic: by a hash (FNV-1a) that every process computes alike. */
  #fileOf(topic: string): string {
    let hash = 0x811c9dc5;
    for (let n = 0; n < topic.length; n++) hash = Math.imul(hash ^ topic.charCodeAt(n), 0x01000193);
    return `${this.#path}-wake/${((hash >>> 16 ^ hash) & (FILES - 1)).toString(16)}`;
  }
}
