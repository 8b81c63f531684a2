/**
 * Regular files: the only kind that this program uses for its own data. If a folder, a device or a pipe lies
 * at a path for one of our files, it belongs to somebody else: it is neither read, which could wait for ever,
 * nor replaced or removed.
 */

import { nodeFs, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { systemFiles } from "./system_files.ts";

/**
 * Returns the kind of a special file at a path, such as "a folder"; null for a regular file and if nothing is
 * there. Follows links.
 */
export function specialFile(path: string): string | null {
  try {
    const { kind } = systemFiles().facts(path);
    return kind === "file" ? null : `a ${kind}`;
  } catch {
    return null; // missing, or not accessible: opening it will give the reason
  }
}

/**
 * Returns the identity of the file at a path, which differs for any other file at that path; null if there is
 * no file, or if the system has no such ids.
 */
export function fileId(path: string): string | null {
  try {
    return systemFiles().facts(path).id;
  } catch {
    return null;
  }
}

/** Returns true for a named pipe without a reader, on which opening for writing would wait. */
export function isUnreadPipe(path: string): boolean {
  if (specialFile(path) !== "a named pipe") return false;
  const fs = nodeFs();
  try {
    fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK));
    return false;
  } catch (error) {
    return (error as { code?: unknown }).code === "ENXIO";
  }
}

/**
 * Throws UsageError with exit status 73 if a special file lies at the path for one of our files; `what` names
 * our file in the error.
 */
export function refuseSpecial(path: string, what: string): void {
  const found = specialFile(path);
  if (found === null) return;
  throw new UsageError(`Cannot use "${path}" as ${what}: it is ${found}`, { exitCode: EXIT.CANNOT_CREATE });
}

/**
 * Returns the first `maxBytes` bytes of a regular file; null if there is none. Never waits, even if the file
 * is replaced by a pipe meanwhile. Throws the system's error if it cannot be read.
 */
export function readRegular(path: string, maxBytes = Infinity): Uint8Array | null {
  const fs = nodeFs();
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ENXIO"].includes(String((error as { code?: unknown }).code))) return null;
    throw error;
  }
  try {
    const info = fs.fstatSync(fd);
    if (!info.isFile()) return null;
    const bytes = new Uint8Array(Math.min(info.size, maxBytes));
    let at = 0;
    while (at < bytes.length) {
      const got = fs.readSync(fd, bytes, at, bytes.length - at, at);
      if (got === 0) break;
      at += got;
    }
    return bytes.subarray(0, at);
  } finally {
    fs.closeSync(fd);
  }
}
