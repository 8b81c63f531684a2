/**
 * Waking connections to one embedded database: those of this process directly, those of other processes
 * through wake files. A topic hashes to one of a few files, so that a process is rarely woken for other
 * topics.
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
/** Distinguishes this isolate's sessions from those of other isolates and earlier starts; made once. */
let instance: string | null = null;

/** The hub of one database in one isolate. */
export class SqliteHub {
  /** Identifies this isolate, and its start, among the sessions of a database. */
  readonly instance: string;
  /** The live sessions of this isolate's connections. */
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

  /** Returns the hub of a database; each `open` needs a `close`. Makes the folder of the wake files. */
  static open(world: World, path: string): SqliteHub {
    makePrivateFolder(`${path}-wake`);
    let hub = hubs.get(path);
    if (!hub) hubs.set(path, hub = new SqliteHub(world, path));
    hub.#users++;
    return hub;
  }

  /** Removes a member; the last one ends the watch. */
  close(member: object): void {
    this.#members.delete(member);
    if (--this.#users > 0) return;
    hubs.delete(this.#path);
    this.#files.close();
  }

  /**
   * Calls `onWake` when one of the topics is woken, here or in another process; replaces the topics of the
   * last call.
   */
  watch(member: object, topics: ReadonlySet<string>, onWake: () => void): void {
    this.#members.set(member, { topics, onWake });
    try {
      this.#files.watch([...topics].map((topic) => this.#fileOf(topic)));
    } catch (error) {
      this.#world.log.warning(`${errorText(error)}: new messages are noticed up to a second later`);
    }
  }

  /** Wakes the watchers of the topics. Cost: one file per topic, once a turn. */
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

  /** Returns the wake file of a topic, by a hash (FNV-1a) that is the same in every process. */
  #fileOf(topic: string): string {
    let hash = 0x811c9dc5;
    for (let n = 0; n < topic.length; n++) hash = Math.imul(hash ^ topic.charCodeAt(n), 0x01000193);
    return `${this.#path}-wake/${((hash >>> 16 ^ hash) & (FILES - 1)).toString(16)}`;
  }
}
