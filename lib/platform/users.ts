/** Users and groups by name or number, for `--uid` and `--gid`. */

import { UsageError } from "../base/mod.ts";
import { setIds } from "./libc.ts";

/** The largest id of a user or group; the system uses the next number for "none". */
const ID_MAX = 2 ** 32 - 2;

/** A user; `name` and `home` are null if only the number is known. */
export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
  readonly name: string | null;
  readonly home: string | null;
}

/**
 * Finds the user and group of `--uid` and `--gid`. If only the user is given, the group is that user's; if
 * only the group is given, the user stays the current one. Null if neither is given. Rejects with UsageError
 * for unknown names.
 * Source: celery 5.2.6 platforms.py parse_uid, parse_gid, maybe_drop_privileges (behaviour).
 */
export async function findUser(uid: string | undefined, gid: string | undefined): Promise<SystemUser | null> {
  if (uid === undefined && gid === undefined) return null;
  let user: SystemUser = { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0, name: null, home: null };
  if (uid !== undefined) {
    const entry = await lookUp("passwd", uid);
    if (entry) {
      user = { uid: Number(entry[2]), gid: Number(entry[3]), name: entry[0]!, home: entry[5] ?? null };
    } else if (isId(uid)) user = { uid: Number(uid), gid: Number(uid), name: null, home: null };
    else throw new UsageError(`Cannot find user "${uid}"`);
  }
  if (gid !== undefined) {
    const entry = await lookUp("group", gid);
    if (!entry && !isId(gid)) throw new UsageError(`Cannot find group "${gid}"`);
    user = { ...user, gid: Number(entry?.[2] ?? gid) };
  }
  return user;
}

/**
 * Returns true if a text is a valid id of a user or group. The system takes a larger number modulo 2^32,
 * which may be root.
 */
function isId(text: string): boolean {
  return /^\d+$/.test(text) && Number(text) <= ID_MAX;
}

/** Returns true if this process runs as that user and group. */
export function isUs(user: SystemUser): boolean {
  return Deno.uid() === user.uid && Deno.gid() === user.gid;
}

/**
 * Changes to a user for good, with all its groups, and sets HOME, USER and LOGNAME. Throws OperatingError if
 * the system refuses: only root may do it.
 */
export function becomeUser(user: SystemUser): void {
  setIds(user.uid, user.gid, user.name);
  if (user.home !== null) Deno.env.set("HOME", user.home);
  for (const name of ["USER", "LOGNAME"]) if (user.name !== null) Deno.env.set(name, user.name);
}

/** Returns true if this process runs as root. */
export function isRoot(): boolean {
  return Deno.uid() === 0;
}

/**
 * Returns an entry of a system database by name or number. `getent` also queries directories on the network.
 */
async function lookUp(database: "passwd" | "group", key: string): Promise<string[] | null> {
  // Neither can be a name: getent would list everything, or read it as an option.
  if (key === "" || key.startsWith("-")) return null;
  try {
    const { success, stdout } = await new Deno.Command("getent", {
      args: [database, key],
      stdout: "piped",
      stderr: "null",
    }).output();
    if (success) {
      const line = new TextDecoder().decode(stdout).trim().split("\n")[0]!.split(":");
      // getent also takes numbers modulo 2^32.
      const isOther = /^\d+$/.test(key) && line[0] !== key && Number(line[2]) !== Number(key);
      return isOther ? null : line;
    }
  } catch {
    // The system has no getent: read the file.
  }
  const lines = Deno.readTextFileSync(`/etc/${database}`).split("\n").map((line) => line.split(":"));
  return lines.find((line) => line[0] === key || line[2] === key) ?? null;
}
