/**
 * The schedule file: `celerybeat-schedule`, a key-value file in our format, not Python's shelve.
 *
 * One beat uses it at a time, by a lock on `celerybeat-schedule.lock` that ends with its process. Only its
 * user may read it. If the file is damaged, of a later version, or Celery's, it is renamed and that is
 * logged; any other file is refused and left as it is. Every save is on disk when it resolves.
 *
 *   ["lovage"]  { schema, owner }    ["entry", name]  state    ["long", hash of the name]  { name, state }
 */

import { createHash } from "node:crypto";
import { errorText, OperatingError, UsageError, type World } from "../base/mod.ts";
import {
  EXIT,
  type FileKind,
  fileKind,
  type FileLock,
  lockFile,
  makePrivateFile,
  moveAside,
  openKv,
  protectFiles,
  refuseSpecial,
} from "../platform/mod.ts";
import { decodeState, encodeState, type RunState, type ScheduleStore } from "./store.ts";

/** The version of the format; a file of a later one is renamed. */
const SCHEMA = 1;
/** Changes in one commit; the format allows 1000, and 800 KiB. */
const ROWS_PER_COMMIT = 500;
/** Longest name, in characters, that is used as a key; the format allows 2048 bytes. */
const NAME_MAX = 500;

/** Kinds of files that are renamed, and why. */
const SET_ASIDE: Readonly<Record<string, string>> = { python: "is one of Python's", damaged: "is damaged" };
/** Kinds of files that are refused, and what they are. */
const FOREIGN = {
  sqlite: "a database of something else",
  other: "not a schedule",
  kv: "a key-value file of something else",
} as const;

/** A store in a file. */
export class KvStore implements ScheduleStore {
  readonly owner: string;
  readonly path: string;
  readonly #kv: Deno.Kv;
  readonly #lock: FileLock;
  #isClosed = false;

  private constructor(kv: Deno.Kv, parts: { path: string; owner: string; lock: FileLock }) {
    this.#kv = kv;
    this.path = parts.path;
    this.owner = parts.owner;
    this.#lock = parts.lock;
  }

  /**
   * Opens the file, or makes it. Rejects with UsageError (exit status 73) if another beat uses it or it is
   * not a schedule, with OperatingError if folder or file cannot be written.
   */
  static async open(world: World, path: string): Promise<KvStore> {
    // Checked before a lock file is made next to it.
    refuseSpecial(path, "the schedule file");
    await ownKind(path);
    const lock = lockFile(`${path}.lock`);
    if ("heldBy" in lock) {
      const pid = lock.heldBy === 0 ? "" : ` (pid: ${lock.heldBy})`;
      throw new UsageError(`Schedule file "${path}" is in use: another beat runs on it${pid}`, {
        exitCode: EXIT.CANNOT_CREATE,
      });
    }
    try {
      const kind = await ownKind(path);
      if (kind in SET_ASIDE) setAside(world, path, SET_ASIDE[kind]!);
      makePrivateFile(path);
      let opened = await read(path);
      if (typeof opened === "string") {
        setAside(world, path, opened);
        makePrivateFile(path);
        opened = await read(path);
      }
      if (typeof opened === "string") throw new OperatingError(`Cannot open "${path}": it ${opened}`);
      if (opened === null) throw foreign(path, FOREIGN.kv);
      protectFiles(path);
      const { kv } = opened;
      const owner = opened.owner ?? world.random.id();
      if (opened.owner === null) await write(path, () => kv.set(["lovage"], { schema: SCHEMA, owner }));
      return new KvStore(kv, { path, owner, lock });
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Reads the states in a file while a beat may use it; empty if there is no file of ours. */
  static async peek(path: string): Promise<Map<string, RunState>> {
    if (await fileKind(path) !== "kv") return new Map();
    const opened = await read(path);
    if (opened === null || typeof opened === "string") return new Map();
    try {
      return await states(opened.kv);
    } finally {
      opened.kv.close();
    }
  }

  load(): Promise<Map<string, RunState>> {
    return states(this.#kv);
  }

  async save(changed: ReadonlyMap<string, RunState | null>): Promise<void> {
    const rows = [...changed];
    for (let from = 0; from < rows.length; from += ROWS_PER_COMMIT) {
      const commit = this.#kv.atomic();
      for (const [name, state] of rows.slice(from, from + ROWS_PER_COMMIT)) {
        const key = keyOf(name);
        if (state === null) commit.delete(key);
        else commit.set(key, key[0] === "entry" ? encodeState(state) : { name, state: encodeState(state) });
      }
      await write(this.path, () => commit.commit());
    }
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#kv.close();
      this.#lock.release();
    }
    return Promise.resolve();
  }
}

/** Returns the kind of the file. Rejects with UsageError if it is not ours. */
async function ownKind(path: string): Promise<FileKind> {
  const kind = await fileKind(path);
  if (kind === "sqlite" || kind === "other") throw foreign(path, FOREIGN[kind]);
  return kind;
}

function foreign(path: string, what: string): UsageError {
  return new UsageError(
    `Cannot use "${path}" as the schedule file: it is ${what}; name another file with -s, or move this one away`,
    { exitCode: EXIT.CANNOT_CREATE },
  );
}

/**
 * Opens a file. Resolves with null if it belongs to another program, with a text if it is ours and cannot be
 * used. Rejects with OperatingError if it cannot be opened at all.
 */
async function read(path: string): Promise<{ kv: Deno.Kv; owner: string | null } | null | string> {
  const kv = await openKv(path);
  try {
    const mark = (await kv.get(["lovage"])).value as { schema?: unknown; owner?: unknown } | null;
    if (mark === null) {
      for await (const _ of kv.list({ prefix: [] }, { limit: 1 })) {
        kv.close();
        return null;
      }
      return { kv, owner: null };
    }
    if (typeof mark.schema === "number" && mark.schema > SCHEMA) {
      kv.close();
      return `is of a later version (${mark.schema}; this one knows ${SCHEMA})`;
    }
    return { kv, owner: typeof mark.owner === "string" ? mark.owner : null };
  } catch (error) {
    kv.close();
    return `cannot be read (${errorText(error)})`;
  }
}

async function states(kv: Deno.Kv): Promise<Map<string, RunState>> {
  const found = new Map<string, RunState>();
  for await (
    const { key, value } of kv.list<unknown>({ prefix: ["entry"] }, { batchSize: ROWS_PER_COMMIT })
  ) {
    const state = decodeState(value);
    if (state !== null) found.set(String(key[1]), state);
  }
  for await (const { value } of kv.list<{ name?: unknown; state?: unknown }>({ prefix: ["long"] })) {
    const state = decodeState(value?.state);
    if (state !== null && typeof value.name === "string") found.set(value.name, state);
  }
  return found;
}

async function write(path: string, commit: () => Promise<unknown>): Promise<void> {
  try {
    await commit();
  } catch (error) {
    throw new OperatingError(`Cannot write "${path}": ${errorText(error)}`, { cause: error });
  }
}

function setAside(world: World, path: string, what: string): void {
  const stamp = new Date(world.clock.wallMs()).toISOString().slice(0, 19).replaceAll(/[-:]/g, "");
  const target = moveAside(path, stamp);
  world.log.warning(
    `beat: The schedule file "${path}" ${what}: it is kept as "${target}", and a new one is begun`,
  );
}

function keyOf(name: string): string[] {
  if (name.length <= NAME_MAX) return ["entry", name];
  return ["long", createHash("sha256").update(name).digest("hex")];
}
