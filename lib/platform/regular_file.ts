/**
 * Regular files: the only ones that this program takes for its own. A folder, a device or a pipe at a path where a
 * file of ours belongs is somebody else's: it is neither read, which could wait for ever, nor replaced or removed.
 */

import { nodeFs, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { systemFiles } from "./system_files.ts";

/** What a path names that is not a regular file, such as "a folder"; null for a file and for nothing. Follows links. */
export function specialFile(path: string): string | null {
  try {
    const { kind } = systemFiles().facts(path);
    return kind === "file" ? null : `a ${kind}`;
  } catch {
    return null; // Nothing there, or not for us to look at: whoever opens it hears why.
  }
}

/** What tells the file at a path from any other that was or will be there; null if there is none, or no telling. */
export function fileId(path: string): string | null {
  try {
    return systemFiles().facts(path).id;
  } catch {
    return null;
  }
}

/** True for a named pipe that nobody reads: whoever opens it for writing waits for a reader. */
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

/** Throws UsageError with exit status 73 where a path for a file of ours, `what`, names something else than a file. */
export function refuseSpecial(path: string, what: string): void {
  const found = specialFile(path);
  if (found === null) return;
  throw new UsageError(`Cannot use "${path}" as ${what}: it is ${found}`, { exitCode: EXIT.CANNOT_CREATE });
}

/**
 * The bytes of a regular file, at most the first `maxBytes` of them; null where there is no such file. Throws the
 * system's error where it cannot be read. Never waits, also where the file is exchanged for a pipe meanwhile.
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
