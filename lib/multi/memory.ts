/**
 * Remembers how a fleet's nodes were started, so that `restart` and `stop` need no options again.
 *
 * There is one small file for each node and pid file in the user's state folder. Only the user may read it,
 * since a broker's URL may hold a password; it is replaced whole. It also identifies the process, so that a
 * later process with the same pid is not taken for the node.
 */

import { embeddedHome, type Host, UsageError } from "../base/mod.ts";
import {
  listFolder,
  makePrivateFolder,
  processMark,
  readFile,
  removeFile,
  replaceFile,
} from "../platform/mod.ts";
import { toJson } from "../wire/mod.ts";
import { absoluteFormat, type Node } from "./node.ts";
import { longOption, type NodeOptions } from "./options.ts";

/** Files kept at most; the oldest starts are forgotten first. */
const FILES_MAX = 2000;

/** Options whose values are files; they are remembered as absolute paths. */
const FILES: ReadonlySet<string> = new Set(["--pidfile", "-p", "--logfile", "-f"]);

/** How a node was started. */
export interface Remembered {
  readonly name: string;
  readonly folder: string;
  /** Absolute path. */
  readonly pidfile: string;
  readonly options: readonly (readonly [string, string | null])[];
  readonly passThrough: readonly string[];
  readonly cmd: string | null;
  readonly append: string | null;
  readonly pid: number;
  /** Distinguishes the process from a later one with the same pid; null if the system gives no such mark. */
  readonly mark: string | null;
  /** Wall clock, milliseconds. */
  readonly startedMs: number;
}

/** The remembered starts. */
export class FleetMemory {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /** Remembers a node started as process `pid`. Throws OperatingError if the folder cannot be written. */
  remember(node: Node, pid: number, startedMs: number): void {
    const folder = this.#folder();
    if (folder === null) return;
    makePrivateFolder(folder);
    const { init } = node;
    const record: Remembered = {
      name: node.name,
      folder: init.folder,
      pidfile: node.pidfilePath,
      options: [...node.options].map(([option, value]) =>
        value && FILES.has(option) ? [option, absoluteFormat(value, node.workdir)] : [option, value]
      ),
      passThrough: init.passThrough,
      cmd: init.cmd,
      append: init.append,
      pid,
      mark: processMark(pid),
      startedMs,
    };
    replaceFile(`${folder}/${fileName(node.name, node.pidfilePath)}`, toJson(record), 0o600);
    this.#prune(folder);
  }

  /**
   * Returns how a node was last started: with that pid file if one is given, else from `folder`, else the
   * latest start. `name` is a whole node name, or with `isShort` a name before the @ that only one node has.
   * `pidfile` returns the path that a node of a given name would have now.
   */
  recall(
    name: string,
    { pidfile = null, folder, isShort = false }: {
      pidfile?: ((nodename: string) => string) | null;
      folder: string;
      isShort?: boolean;
    },
  ): Remembered | null {
    const prefix = isShort ? `${encode(name)}@` : `${encode(name)}~`;
    const found = listFolder(this.#folder() ?? "").filter((file) => file.startsWith(prefix))
      .map((file) => this.#read(file))
      .filter((record): record is Remembered => record !== null)
      .filter((record) => pidfile === null || record.pidfile === pidfile(record.name))
      .sort((a, b) => b.startedMs - a.startedMs);
    if (isShort && new Set(found.map((record) => record.name)).size > 1) return null;
    return found.find((record) => record.folder === folder) ?? found[0] ?? null;
  }

  /** Returns the record of the process that a pid file names, or null. */
  recordOf(node: Node, pid: number): Remembered | null {
    const record = this.#read(fileName(node.name, node.pidfilePath));
    return record?.pid === pid ? record : null;
  }

  /** Null if the environment names no place for state: then nothing is remembered. */
  #folder(): string | null {
    try {
      return `${embeddedHome(this.#host)}/multi`;
    } catch (error) {
      if (error instanceof UsageError) return null;
      throw error;
    }
  }

  #read(file: string): Remembered | null {
    const folder = this.#folder();
    const text = folder === null ? null : readFile(`${folder}/${file}`);
    if (text === null) return null;
    try {
      const record = JSON.parse(text) as Remembered;
      return typeof record.name === "string" && Array.isArray(record.options) ? record : null;
    } catch {
      return null; // not ours: treated as missing
    }
  }

  #prune(folder: string): void {
    const files = listFolder(folder);
    if (files.length <= FILES_MAX) return;
    const aged = files.map((file) => ({ file, startedMs: this.#read(file)?.startedMs ?? 0 }))
      .sort((a, b) => a.startedMs - b.startedMs);
    for (const { file } of aged.slice(0, files.length - FILES_MAX)) removeFile(`${folder}/${file}`);
  }
}

/** Returns remembered options with the options given now on top, whatever their spelling. */
export function mergeOptions(remembered: Remembered["options"], given: NodeOptions): NodeOptions {
  const now = new Set([...given.keys()].map(longOption));
  return new Map([
    ...remembered.filter(([option]) => !now.has(longOption(option)) && option !== "-n"),
    ...given,
  ]);
}

function encode(name: string): string {
  return encodeURIComponent(name).replaceAll("%40", "@").replaceAll("~", "%7E");
}

/** The pid file is part of the file name, since two fleets may use the same node names. */
function fileName(name: string, pidfile: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(pidfile)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return `${encode(name)}~${hash.toString(16).padStart(8, "0")}.json`;
}
