/** Small files that must never be seen half written, and folders that may not be ours. */

import { errorText, nodeFs, OperatingError } from "../base/mod.ts";

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

/** Makes a folder with its parents; `mode` holds for those that are made. Throws OperatingError. */
export function makeFolder(path: string, mode = 0o755): void {
  try {
    Deno.mkdirSync(path, { recursive: true, mode });
  } catch (error) {
    throw new OperatingError(`Cannot create folder "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Makes a folder with its parents and gives what is made to a user; one that exists stays whose it is. Throws
 * OperatingError.
 */
export function giveFolder(path: string, user: { uid: number; gid: number } | null): void {
  const made: string[] = [];
  for (let at = path; at !== "" && !exists(at); at = at.slice(0, at.lastIndexOf("/"))) made.push(at);
  makeFolder(path);
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
  const temporary = `${path}.${Deno.pid}.new`;
  try {
    Deno.writeTextFileSync(temporary, text, { mode });
    Deno.chmodSync(temporary, mode);
    Deno.renameSync(temporary, path);
  } catch (error) {
    removeFile(temporary);
    throw new OperatingError(`Cannot write "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * The same for bytes, which are on the disk before the old ones are gone. Makes the folder. Rejects with
 * OperatingError.
 */
export async function replaceBytes(path: string, bytes: Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${path}.${Deno.pid}.new`;
  try {
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")) || "/", { recursive: true });
    {
      using file = await Deno.open(temporary, { write: true, create: true, truncate: true, mode });
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    removeFile(temporary);
    throw new OperatingError(`Cannot write "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** A file's bytes, or null where there is none. Throws OperatingError where it cannot be read. */
export function readBytes(path: string): Uint8Array | null {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
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

/** A file's text, or null where there is none or it cannot be read. */
export function readFile(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}

/** Removes a file; true where there was one. */
export function removeFile(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Removes a folder where it is empty; true where it went. */
export function removeEmptyFolder(path: string): boolean {
  return removeFile(path);
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
