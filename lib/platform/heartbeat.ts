/**
 * Heartbeat files: the state of the nodes on this machine, for `status --local` and for probes that read a
 * file and need neither a broker nor a socket.
 *
 * Each node has one small file, which is rewritten when its state changes and touched while its event loop
 * runs. If a file is no longer touched, its node is stuck. Readers also check that its process is alive.
 */

import { type Clock, type Disarm, embeddedHome, errorText, type Host, UsageError } from "../base/mod.ts";
import { fromPlainJson, toJson } from "../wire/mod.ts";
import { isWritableFolder, listFolder, removeFile, replaceFile } from "./files.ts";
import { EXIT } from "./exit_codes.ts";
import { isOwnerAlive } from "./pidfile.ts";
import { makePrivateFolder } from "./private_file.ts";
import { readRegular } from "./regular_file.ts";

/** The time between two touches, milliseconds. */
const TOUCH_MS = 2000;
/** If a file was not touched for this long, milliseconds, its node is stuck. */
const STALE_MS = 15_000;
/** The file of a node that ended without removing it is removed after this long, milliseconds. */
const FORGET_MS = 86_400_000;
const SUFFIX = ".json";
/** The maximum size of a heartbeat file, bytes. */
const BYTES_MAX = 16_384;

/** What a node reports about itself. */
export interface NodeFacts {
  readonly kind: "worker" | "beat";
  /** The node name; "beat@host" for a beat. */
  readonly node: string;
  /** The state in words, such as "running", "starting" or "stopping (warm)". */
  readonly state: string;
}

/** Writes the heartbeat files of one node. */
export class Heartbeat {
  readonly #clock: Clock;
  readonly #pid: number;
  readonly #paths: string[] = [];
  /** The path that the user gave, which is the first one. Others may write there too. */
  #given: string | null = null;
  #facts: (() => NodeFacts) | null = null;
  #written = "";
  #disarm: Disarm | null = null;

  constructor(clock: Clock, host: Host) {
    this.#clock = clock;
    this.#pid = host.pid;
  }

  /**
   * Starts. Writes a file in the folder of this machine's nodes, if there is a usable one, and a file at
   * `path`. Throws UsageError with exit status 73 if `path` cannot be written.
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

  /** Writes the file now, because the state has changed. */
  changed(): void {
    if (this.#facts !== null) this.#beat();
  }

  /** Stops, and removes the files. */
  close(): void {
    this.#disarm?.();
    this.#disarm = null;
    this.#facts = null;
    // Keep a file that somebody else has put there meanwhile.
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
      // A full disk must not end the node. Readers see that the file is old.
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

/** A node of this machine, from its file and its process. */
export interface LocalNode extends NodeFacts {
  readonly pid: number;
  /** True if its process is alive. */
  readonly isAlive: boolean;
  /** True if its event loop runs. */
  readonly isTurning: boolean;
  /** The time since its event loop was last seen running, milliseconds. */
  readonly ageMs: number;
}

/** Returns the nodes of this user on this machine, sorted by name. `nowMs` is wall-clock time. */
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

/** Returns the folders of heartbeat files: the first usable one is written to, all are read. */
export function foldersOf(host: Host): string[] {
  const folders: string[] = [];
  try {
    folders.push(`${embeddedHome(host)}/nodes`);
  } catch {
    // The environment has no state folder.
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
    // Nobody else writes in this folder, so it is still the same file. `readFile` would load node:fs and add
    // 40 ms to `status`.
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
    return null; // removed meanwhile, or not a heartbeat file
  }
}

/**
 * Returns true if the file at a path is not a heartbeat file. An empty file is accepted, since users may
 * create it in advance.
 */
function isForeign(path: string): boolean {
  const bytes = readRegular(path, BYTES_MAX);
  if (bytes === null) return false; // nothing there, or a special file, which `replaceFile` refuses
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
    return false; // it was removed and must be written again
  }
}

/** Returns the first folder that is ours or can be created; null if there is none. */
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

/** Returns true if the folder exists and belongs to this user. */
function isOwn(folder: string): boolean {
  try {
    const { isDirectory, uid } = Deno.lstatSync(folder);
    return isDirectory && uid === Deno.uid();
  } catch {
    return false;
  }
}
