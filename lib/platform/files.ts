/** Small files that must never be seen half written, and folders that may not be ours. */

import { embeddedHome, errorText, type Host, nodeFs, OperatingError, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { readRegular, specialFile } from "./regular_file.ts";

/** Whether files can be made in a folder, or the folder itself where it is missing. Nothing is made. */
export function isWritableFolder(path: string): boolean {
  for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
    try {
      if (!Deno.statSync(at).isDirectory) return false;
    } catch {
      continue; // missing: whether it can be made is up to its parent
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

/** Makes a folder with its parents; `mode` holds for those that are made. Throws UsageError with exit status 73. */
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

/** The mode of a folder that is made for pid and log files: in the user's own state folder nobody else looks. */
export function stateFolderMode(path: string, host: Host): number {
  try {
    const home = embeddedHome(host);
    return path === home || path.startsWith(`${home}/`) ? 0o700 : 0o755;
  } catch {
    return 0o755; // The environment names no place for state.
  }
}

/**
 * Makes a folder with its parents and gives what is made to a user; one that exists stays whose it is. Throws
 * OperatingError.
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

/** Writes a whole file or none of it: whoever reads meanwhile sees the old one. Throws OperatingError. */
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
 * Makes an empty file in the same folder, under a name that nobody can foresee: what others may have put there is
 * neither followed nor written to. Throws the system's error.
 */
export function makeFileBeside(path: string, mode: number): string {
  const at = path.lastIndexOf("/");
  const random = crypto.getRandomValues(new Uint8Array(8)).toHex();
  // Not the file's own name in front: it may be as long as a name can be.
  const temporary = `${at < 0 ? "." : path.slice(0, at)}/.${random}.new`;
  Deno.openSync(temporary, { write: true, createNew: true, mode }).close();
  // Whatever the umask.
  Deno.chmodSync(temporary, mode);
  return temporary;
}

function refuseToReplace(path: string): void {
  const found = specialFile(path);
  if (found !== null) throw new OperatingError(`it is ${found}`);
}

/**
 * The same for bytes, which are on the disk before the old ones are gone. Makes the folder. Rejects with
 * OperatingError.
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

/** Where a path leads, through links, and the mode of the file there. Throws OperatingError. */
export function placeOfFile(path: string): { readonly path: string; readonly mode: number } {
  try {
    const real = Deno.realPathSync(path);
    return { path: real, mode: (Deno.statSync(real).mode ?? 0o600) & 0o777 };
  } catch (error) {
    throw new OperatingError(`Cannot find "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** A regular file's bytes, or null where there is none. Throws OperatingError where it cannot be read. */
export function readBytes(path: string): Uint8Array | null {
  try {
    return readRegular(path);
  } catch (error) {
    throw new OperatingError(`Cannot read "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** Gives a file that is of no use another name, which tells when; the new name, or the old one where that fails. */
export function setAside(path: string, wallMs: number): string {
  const aside = `${path}.broken-${Math.floor(wallMs / 1000)}`;
  try {
    Deno.renameSync(path, aside);
    return aside;
  } catch {
    return path; // It will be replaced.
  }
}

/** An open file that is used synchronously. Each throws the system's error. */
export interface OpenFile {
  /** All of it, from the start. */
  readAll(): Uint8Array;
  /** Reads from an offset until `bytes` is full or the file ends; bytes read. */
  readAt(offset: number, bytes: Uint8Array): number;
  /** Writes at the place it is at, or at the end of a file that was made to append; bytes written. */
  write(bytes: Uint8Array): number;
  /** Writes at an offset, in a file that was not made to append; bytes written. */
  writeAt(offset: number, bytes: Uint8Array): number;
  /** Cuts it to so many bytes; a shorter one is filled with zeros. */
  cut(length: number): void;
  close(): void;
}

/** Makes a file to append to and read, for us alone. Throws the system's error, also where there is one. */
export function createAppendFile(path: string): OpenFile {
  return openFile(Deno.openSync(path, { read: true, append: true, createNew: true, mode: 0o600 }));
}

/** Opens a file to read and to write in. Throws the system's error. */
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

/** A regular file's text, or null where there is none or it cannot be read. */
export function readFile(path: string): string | null {
  try {
    const bytes = readRegular(path);
    return bytes === null ? null : new TextDecoder().decode(bytes);
  } catch {
    return null;
  }
}

/** Removes a regular file, or a link; true where there was one. */
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

/** Removes a folder where it is empty; true where it went. */
export function removeEmptyFolder(path: string): boolean {
  try {
    if (!Deno.lstatSync(path).isDirectory) return false;
    Deno.removeSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The names in a folder, sorted; none where there is no such folder. */
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

/** Deletes a unix socket that nobody listens on any more. False: there is none at the path. */
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
