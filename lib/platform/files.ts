/** Small files that must never be seen half written, and folders that may belong to others. */

import { embeddedHome, errorText, type Host, nodeFs, OperatingError, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { readRegular, specialFile } from "./regular_file.ts";

/**
 * Returns true if files can be created in a folder, or if the missing folder itself can be. Creates nothing.
 */
export function isWritableFolder(path: string): boolean {
  for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
    try {
      if (!Deno.statSync(at).isDirectory) return false;
    } catch {
      continue; // missing: its parent decides
    }
    try {
      nodeFs().accessSync(at, nodeFs().constants.W_OK);
      return true;
    } catch {
      return false;
    }
  }
  return false;
}

/**
 * Makes a folder with its parents; `mode` applies to those that are created. Throws UsageError with exit
 * status 73.
 */
export function makeFolder(path: string, mode = 0o755): void {
  try {
    Deno.mkdirSync(path, { recursive: true, mode });
  } catch (error) {
    throw new UsageError(`Cannot create folder "${path}": ${errorText(error)}`, {
      cause: error,
      exitCode: EXIT.CANNOT_CREATE,
    });
  }
}

/** Returns the mode for a new folder for pid and log files. In the user's own state folder it is private. */
export function stateFolderMode(path: string, host: Host): number {
  try {
    const home = embeddedHome(host);
    return path === home || path.startsWith(`${home}/`) ? 0o700 : 0o755;
  } catch {
    return 0o755; // The environment has no state folder.
  }
}

/**
 * Makes a folder with its parents and gives the created ones to a user; existing ones keep their owner.
 * Throws OperatingError.
 */
export function giveFolder(
  path: string,
  { user, mode }: { user: { uid: number; gid: number } | null; mode: number },
): void {
  const made: string[] = [];
  for (let at = path; at !== "" && !exists(at); at = at.slice(0, at.lastIndexOf("/"))) made.push(at);
  makeFolder(path, mode);
  if (user === null) return;
  try {
    for (const folder of made) Deno.chownSync(folder, user.uid, user.gid);
  } catch (error) {
    throw new OperatingError(`Cannot give folder "${path}" to user ${user.uid}: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/** Replaces a file as a whole: a reader sees the old text or the new one. Throws OperatingError. */
export function replaceFile(path: string, text: string, mode = 0o644): void {
  let temporary: string | null = null;
  try {
    refuseToReplace(path);
    temporary = makeFileBeside(path, mode);
    Deno.writeTextFileSync(temporary, text);
    Deno.renameSync(temporary, path);
  } catch (error) {
    if (temporary !== null) removeFile(temporary);
    throw new OperatingError(`Cannot write "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Creates an empty file in the same folder under an unpredictable name, so that no link or file of another
 * user can be followed or written to. Returns its path. Throws the system's error.
 */
export function makeFileBeside(path: string, mode: number): string {
  const at = path.lastIndexOf("/");
  const random = crypto.getRandomValues(new Uint8Array(8)).toHex();
  // The name does not begin with the file's own, which may have the maximum length already.
  const temporary = `${at < 0 ? "." : path.slice(0, at)}/.${random}.new`;
  Deno.openSync(temporary, { write: true, createNew: true, mode }).close();
  // Sets the mode regardless of the umask.
  Deno.chmodSync(temporary, mode);
  return temporary;
}

function refuseToReplace(path: string): void {
  const found = specialFile(path);
  if (found !== null) throw new OperatingError(`it is ${found}`);
}

/**
 * Like `replaceFile`, for bytes: they are synced to disk before the old file is replaced. Makes the folder.
 * Rejects with OperatingError.
 */
export async function replaceBytes(path: string, bytes: Uint8Array, mode = 0o600): Promise<void> {
  let temporary: string | null = null;
  try {
    refuseToReplace(path);
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")) || "/", { recursive: true });
    temporary = makeFileBeside(path, mode);
    {
      using file = await Deno.open(temporary, { write: true });
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    if (temporary !== null) removeFile(temporary);
    throw new OperatingError(`Cannot write "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** Returns the real path of a file, with links followed, and the file's mode. Throws OperatingError. */
export function placeOfFile(path: string): { readonly path: string; readonly mode: number } {
  try {
    const real = Deno.realPathSync(path);
    return { path: real, mode: (Deno.statSync(real).mode ?? 0o600) & 0o777 };
  } catch (error) {
    throw new OperatingError(`Cannot find "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Returns the bytes of a regular file, or null if there is none. Throws OperatingError if it cannot be read.
 */
export function readBytes(path: string): Uint8Array | null {
  try {
    return readRegular(path);
  } catch (error) {
    throw new OperatingError(`Cannot read "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Renames an unusable file to `<path>.broken-<seconds>`. Returns the new name, or the old one if that fails.
 */
export function setAside(path: string, wallMs: number): string {
  const aside = `${path}.broken-${Math.floor(wallMs / 1000)}`;
  try {
    Deno.renameSync(path, aside);
    return aside;
  } catch {
    return path; // the caller replaces it
  }
}

/** An open file with synchronous methods. Each throws the system's error. */
export interface OpenFile {
  /** Reads the whole file from the start. */
  readAll(): Uint8Array;
  /** Reads from an offset until `bytes` is full or the file ends. Returns the number of bytes read. */
  readAt(offset: number, bytes: Uint8Array): number;
  /**
   * Writes at the current position, or at the end of a file opened for appending. Returns the number of bytes
   * written, which may be fewer than given.
   */
  write(bytes: Uint8Array): number;
  /**
   * Writes at an offset of a file that was not opened for appending. Returns the number of bytes written,
   * which may be fewer than given.
   */
  writeAt(offset: number, bytes: Uint8Array): number;
  /** Sets the file's length: cuts a longer file, and fills a shorter one with zeros. */
  cut(length: number): void;
  close(): void;
}

/**
 * Creates a private file (0600) for appending and reading. Throws the system's error, also if the file
 * exists.
 */
export function createAppendFile(path: string): OpenFile {
  return openFile(Deno.openSync(path, { read: true, append: true, createNew: true, mode: 0o600 }));
}

/** Opens an existing file for reading and writing. Throws the system's error. */
export function openToUpdate(path: string): OpenFile {
  return openFile(Deno.openSync(path, { read: true, write: true }));
}

function openFile(file: ReturnType<typeof Deno.openSync>): OpenFile {
  const readAt = (offset: number, bytes: Uint8Array) => {
    file.seekSync(offset, Deno.SeekMode.Start);
    let at = 0;
    while (at < bytes.length) {
      const got = file.readSync(bytes.subarray(at));
      if (got === null) break;
      at += got;
    }
    return at;
  };
  return {
    readAll() {
      const bytes = new Uint8Array(file.statSync().size);
      return bytes.subarray(0, readAt(0, bytes));
    },
    readAt,
    write: (bytes) => file.writeSync(bytes),
    writeAt(offset, bytes) {
      file.seekSync(offset, Deno.SeekMode.Start);
      return file.writeSync(bytes);
    },
    cut: (length) => file.truncateSync(length),
    close: () => file.close(),
  };
}

/** Returns the text of a regular file, or null if there is none or it cannot be read. */
export function readFile(path: string): string | null {
  try {
    const bytes = readRegular(path);
    return bytes === null ? null : new TextDecoder().decode(bytes);
  } catch {
    return null;
  }
}

/** Removes a regular file or a link. Returns true if it was removed. Never throws. */
export function removeFile(path: string): boolean {
  try {
    const { isFile, isSymlink } = Deno.lstatSync(path);
    if (!isFile && !isSymlink) return false;
    Deno.removeSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Removes a folder if it is empty. Returns true if it was removed. Never throws. */
export function removeEmptyFolder(path: string): boolean {
  try {
    if (!Deno.lstatSync(path).isDirectory) return false;
    Deno.removeSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Returns the sorted names in a folder; none if it cannot be read. */
export function listFolder(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Removes a unix socket on which nobody listens any more. Returns false if there is no socket at the path.
 * Throws the system's error.
 */
export function removeSocket(path: string): boolean {
  try {
    if (Deno.lstatSync(path).isSocket !== true) return false;
    Deno.removeSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
