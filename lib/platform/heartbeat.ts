/**
 * Signs of life in files: what nodes of this machine say of themselves, for `status --local` and for probes that look
 * at a file, without a broker and without a socket.
 *
 * Each node has one small file, which is rewritten when its state changes and touched while its main loop turns. A file
 * that is touched no more belongs to a node that stands still; whether its process lives is looked up besides.
 */

import { type Clock, type Disarm, embeddedHome, errorText, type Host, UsageError } from "../base/mod.ts";
import { fromPlainJson, toJson } from "../wire/mod.ts";
import { isWritableFolder, listFolder, removeFile, replaceFile } from "./files.ts";
import { EXIT } from "./exit_codes.ts";
import { isOwnerAlive } from "./pidfile.ts";
import { makePrivateFolder } from "./private_file.ts";
import { readRegular } from "./regular_file.ts";

/** Between two touches, milliseconds. */
const TOUCH_MS = 2000;
/** A file that was not touched for so long belongs to a node that stands still. */
const STALE_MS = 15_000;
/** What is left of a node that ended without saying so is removed after so long. */
const FORGET_MS = 86_400_000;
const SUFFIX = ".json";
/** The most that a heartbeat file holds, bytes. */
const BYTES_MAX = 16_384;

/** What a node says of itself. */
export interface NodeFacts {
  readonly kind: "worker" | "beat";
  /** Node name; of a beat "beat@host". */
  readonly node: string;
  /** In words: "running", "starting", "stopping (warm)". */
  readonly state: string;
}

/** Writes the files of one node. */
export class Heartbeat {
  readonly #clock: Clock;
  readonly #pid: number;
  readonly #paths: string[] = [];
  /** The first of them, if it was given: it lies where others write, too. */
  #given: string | null = null;
  #facts: (() => NodeFacts) | null = null;
  #written = "";
  #disarm: Disarm | null = null;

  constructor(clock: Clock, host: Host) {
    this.#clock = clock;
    this.#pid = host.pid;
  }

  /**
   * Begins. The file in the folder of this machine's nodes is written if there is such a folder; `path` is written
   * besides, and must be: throws UsageError with status 73 if it cannot.
   */
  start(host: Host, facts: () => NodeFacts, path: string | null): void {
    this.#facts = facts;
    if (path !== null) {
      try {
        if (isForeign(path)) throw new Error("the file there is not a heartbeat file");
        this.#paths.push(path);
        this.#write();
        this.#given = path;
      } catch (error) {
        this.#paths.length = 0;
        throw new UsageError(`Cannot write heartbeat file "${path}": ${errorText(error)}`, {
          exitCode: EXIT.CANNOT_CREATE,
        });
      }
    }
    const folder = ownFolder(host);
    if (folder !== null) this.#paths.push(`${folder}/${encodeURIComponent(facts().node)}${SUFFIX}`);
    this.#written = "";
    this.#turn(this.#clock.monoMs());
  }

  /** The state has changed: it is written now and not at the next touch. */
  changed(): void {
    if (this.#facts !== null) this.#beat();
  }

  /** Removes the files. */
  close(): void {
    this.#disarm?.();
    this.#disarm = null;
    this.#facts = null;
    // What somebody has put there meanwhile stays.
    if (this.#given !== null && isForeign(this.#given)) this.#paths.shift();
    this.#given = null;
    for (const path of this.#paths.splice(0)) removeFile(path);
  }

  #turn(plannedMs: number): void {
    this.#beat();
    const next = Math.max(plannedMs + TOUCH_MS, this.#clock.monoMs());
    this.#disarm = this.#clock.arm(next, () => this.#turn(next));
  }

  #beat(): void {
    try {
      this.#write();
    } catch {
      // A full disk is not a reason to end; whoever reads sees a file that grows old.
    }
  }

  #write(): void {
    const text = `${toJson({ ...this.#facts!(), pid: this.#pid })}\n`;
    for (const path of this.#paths) {
      if (text !== this.#written || !touched(path)) replaceFile(path, text, 0o644);
    }
    this.#written = text;
  }
}

/** A node of this machine, as its file and its process tell. */
export interface LocalNode extends NodeFacts {
  readonly pid: number;
  /** Its process lives. */
  readonly isAlive: boolean;
  /** Its main loop turns. */
  readonly isTurning: boolean;
  /** Since it was last seen turning, milliseconds. */
  readonly ageMs: number;
}

/** The nodes of this user on this machine, by name. */
export function localNodes(host: Host, nowMs: number): LocalNode[] {
  const nodes = new Map<string, LocalNode>();
  for (const folder of foldersOf(host).filter(isOwn)) {
    for (const name of listFolder(folder)) {
      const node = name.endsWith(SUFFIX) ? read(`${folder}/${name}`, nowMs) : null;
      if (node !== null) nodes.set(node.node, node);
    }
  }
  return [...nodes.values()].sort((a, b) => a.node < b.node ? -1 : 1);
}

/** Where nodes are looked for: the first that can be used is written to, all are read. */
export function foldersOf(host: Host): string[] {
  const folders: string[] = [];
  try {
    folders.push(`${embeddedHome(host)}/nodes`);
  } catch {
    // The environment names no place for state.
  }
  const runtime = host.env("XDG_RUNTIME_DIR");
  if (runtime?.startsWith("/")) folders.push(`${runtime}/lovage/nodes`);
  const temporary = host.env("TMPDIR");
  folders.push(`${temporary?.startsWith("/") ? temporary : "/tmp"}/lovage-nodes-${Deno.uid() ?? 0}`);
  return folders;
}

function read(path: string, nowMs: number): LocalNode | null {
  try {
    const { isFile, mtime } = Deno.lstatSync(path);
    if (!isFile) return null;
    const ageMs = nowMs - mtime!.getTime();
    // Nobody else writes in this folder, so it is still that file. `readFile` would load node:fs: 40 ms of `status`.
    const { kind, node, state, pid } = fromPlainJson(Deno.readTextFileSync(path)) as Record<string, unknown>;
    if (typeof node !== "string" || typeof state !== "string" || typeof pid !== "number") return null;
    const isAlive = isOwnerAlive(pid, path);
    if (!isAlive && ageMs > FORGET_MS) {
      removeFile(path);
      return null;
    }
    return {
      kind: kind === "beat" ? "beat" : "worker",
      node,
      state,
      pid,
      isAlive,
      isTurning: isAlive && ageMs < STALE_MS,
      ageMs: Math.max(0, ageMs),
    };
  } catch {
    return null; // gone meanwhile, or not written by us
  }
}

/** Whether something else than a heartbeat file is at a path; an empty file is one that was made ahead. */
function isForeign(path: string): boolean {
  const bytes = readRegular(path, BYTES_MAX);
  if (bytes === null) return false; // Nothing, or no file, which `replaceFile` refuses.
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") return bytes.length === BYTES_MAX;
  try {
    const { kind, node, state, pid } = fromPlainJson(text) as Record<string, unknown>;
    const isNode = (kind === "worker" || kind === "beat") && typeof node === "string";
    return !isNode || typeof state !== "string" || typeof pid !== "number";
  } catch {
    return true;
  }
}

function touched(path: string): boolean {
  try {
    const now = new Date();
    Deno.utimeSync(path, now, now);
    return true;
  } catch {
    return false; // it was removed: it is made again
  }
}

/** The first folder that is ours or can be made; null if there is none. */
function ownFolder(host: Host): string | null {
  for (const folder of foldersOf(host)) {
    if (!isWritableFolder(folder)) continue;
    try {
      makePrivateFolder(folder);
    } catch {
      continue; // the next one
    }
    if (isOwn(folder)) return folder;
  }
  return null;
}

/** Whether a folder is there and nobody else could have put it there. */
function isOwn(folder: string): boolean {
  try {
    const { isDirectory, uid } = Deno.lstatSync(folder);
    return isDirectory && uid === Deno.uid();
  } catch {
    return false;
  }
}
