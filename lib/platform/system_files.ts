/**
 * The few file system calls that a database shared by processes needs (private_file.ts, watch.ts): Deno's, or
 * those of node:fs in other runtimes. In Deno, loading node:fs would add 40 ms to every start.
 */

import { nodeFs } from "../base/mod.ts";

/** Facts about the file at a path. */
export interface FileFacts {
  readonly kind: "file" | "folder" | "named pipe" | "socket" | "device";
  /** The mode; null on a file system without modes. */
  readonly mode: number | null;
  readonly uid: number | null;
  /** Device and inode; null on a system without such numbers. */
  readonly id: string | null;
}

/** The calls. Each throws the system's error, unless its comment says otherwise. */
export interface SystemFiles {
  /** Makes a folder and its missing parents. An existing folder stays as it is. */
  makeFolder(path: string, mode: number): void;
  /** Creates an empty file. Returns false if something is at the path. */
  makeNewFile(path: string, mode: number): boolean;
  /** Creates an empty file if nothing is at the path. */
  makeFile(path: string, mode: number): void;
  chmod(path: string, mode: number): void;
  /** Returns facts about a file, following links. */
  facts(path: string): FileFacts;
  /** Returns the user id of this process; null on a system without such ids. */
  uid(): number | null;
  realPath(path: string): string;
  /** Sets the times of a file to wall-clock milliseconds. */
  touch(path: string, atMs: number): void;
  readText(path: string): string;
  readLink(path: string): string;
  /**
   * Calls `onChange` with the path of each file that was touched or written, until the returned function is
   * called.
   */
  watch(paths: readonly string[], onChange: (path: string) => void): () => void;
}

/** Returns the calls for this runtime. */
export function systemFiles(): SystemFiles {
  return typeof Deno === "undefined" ? NODE_FILES : DENO_FILES;
}

const DENO_FILES: SystemFiles = {
  makeFolder: (path, mode) => Deno.mkdirSync(path, { recursive: true, mode }),
  makeNewFile(path, mode) {
    try {
      Deno.openSync(path, { write: true, createNew: true, mode }).close();
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) return false;
      throw error;
    }
  },
  makeFile: (path, mode) => Deno.openSync(path, { write: true, create: true, mode }).close(),
  chmod: (path, mode) => Deno.chmodSync(path, mode),
  facts(path) {
    const { isFile, isDirectory, isFifo, isSocket, mode, uid, dev, ino } = Deno.statSync(path);
    const id = ino === null ? null : `${dev}:${ino}`;
    return { kind: kindOf(isFile, isDirectory, isFifo === true, isSocket === true), mode, uid, id };
  },
  uid: () => Deno.uid(),
  realPath: (path) => Deno.realPathSync(path),
  touch: (path, atMs) => Deno.utimeSync(path, atMs / 1000, atMs / 1000),
  readText: (path) => Deno.readTextFileSync(path),
  readLink: (path) => Deno.readLinkSync(path),
  watch(paths, onChange) {
    const watcher = Deno.watchFs([...paths], { recursive: false });
    let isClosed = false;
    void listen();
    return () => {
      if (isClosed) return;
      isClosed = true;
      watcher.close();
    };

    async function listen(): Promise<void> {
      try {
        for await (const event of watcher) {
          if (isClosed) return;
          if (event.kind === "access") continue;
          for (const path of event.paths) onChange(path);
        }
      } catch {
        // Without events the periodic check remains.
      }
    }
  },
};

const NODE_FILES: SystemFiles = {
  makeFolder: (path, mode) => void nodeFs().mkdirSync(path, { recursive: true, mode }),
  makeNewFile(path, mode) {
    try {
      nodeFs().closeSync(nodeFs().openSync(path, "wx", mode));
      return true;
    } catch (error) {
      if ((error as { code?: unknown }).code === "EEXIST") return false;
      throw error;
    }
  },
  makeFile: (path, mode) => nodeFs().closeSync(nodeFs().openSync(path, "a", mode)),
  chmod: (path, mode) => nodeFs().chmodSync(path, mode),
  facts(path) {
    const stats = nodeFs().statSync(path);
    const kind = kindOf(stats.isFile(), stats.isDirectory(), stats.isFIFO(), stats.isSocket());
    return {
      kind,
      mode: stats.mode,
      uid: stats.uid,
      id: stats.ino === 0 ? null : `${stats.dev}:${stats.ino}`,
    };
  },
  uid: () => process.getuid?.() ?? null,
  realPath: (path) => nodeFs().realpathSync(path),
  touch: (path, atMs) => nodeFs().utimesSync(path, atMs / 1000, atMs / 1000),
  readText: (path) => nodeFs().readFileSync(path, "utf8"),
  readLink: (path) => nodeFs().readlinkSync(path),
  watch(paths, onChange) {
    const watchers: import("node:fs").FSWatcher[] = [];
    const close = () => {
      for (const watcher of watchers.splice(0)) watcher.close();
    };
    try {
      for (const path of paths) {
        const watcher = nodeFs().watch(path, () => onChange(path));
        // Without events the periodic check remains.
        watcher.on("error", () => {});
        watchers.push(watcher);
      }
    } catch (error) {
      close();
      throw error;
    }
    return close;
  },
};

function kindOf(isFile: boolean, isFolder: boolean, isPipe: boolean, isSocket: boolean): FileFacts["kind"] {
  if (isFile) return "file";
  if (isFolder) return "folder";
  if (isPipe) return "named pipe";
  return isSocket ? "socket" : "device";
}
