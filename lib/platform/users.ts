/** Users and groups by name or number, as `--uid` and `--gid` take them. */

import { UsageError } from "../base/mod.ts";
import { setIds } from "./libc.ts";

/** The largest number of a user or group; the next one means "nobody in particular" to the system. */
const ID_MAX = 2 ** 32 - 2;

/** A user: `name` and `home` are null where only a number is known. */
export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
  readonly name: string | null;
  readonly home: string | null;
}

/**
 * Finds whom `--uid` and `--gid` mean; a user's own group where only the user is given, our own user where only the
 * group is. Null where neither is given. Throws UsageError for names that are not known.
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

/** Whether a text is a number that a user or group can have: the system takes a larger one modulo 2^32, so as root. */
function isId(text: string): boolean {
  return /^\d+$/.test(text) && Number(text) <= ID_MAX;
}

/** True where we are that user and group. */
export function isUs(user: SystemUser): boolean {
  return Deno.uid() === user.uid && Deno.gid() === user.gid;
}

/**
 * Becomes a user for good, with all of its groups, and has HOME and USER say so. Throws OperatingError where the system
 * refuses (only root may).
 */
export function becomeUser(user: SystemUser): void {
  setIds(user.uid, user.gid, user.name);
  if (user.home !== null) Deno.env.set("HOME", user.home);
  for (const name of ["USER", "LOGNAME"]) if (user.name !== null) Deno.env.set(name, user.name);
}

/** True for root. */
export function isRoot(): boolean {
  return Deno.uid() === 0;
}

/** A line of a system database by its name or number; `getent` knows directories on the network too. */
async function lookUp(database: "passwd" | "group", key: string): Promise<string[] | null> {
  // Neither is a name, and getent takes them for no key and for an option.
  if (key === "" || key.startsWith("-")) return null;
  try {
    const { success, stdout } = await new Deno.Command("getent", {
      args: [database, key],
      stdout: "piped",
      stderr: "null",
    }).output();
    if (success) {
      const line = new TextDecoder().decode(stdout).trim().split("\n")[0]!.split(":");
      // It reads numbers modulo 2^32 as well.
      const isOther = /^\d+$/.test(key) && line[0] !== key && Number(line[2]) !== Number(key);
      return isOther ? null : line;
    }
  } catch {
    // No getent on this system: the file, then.
  }
  const lines = Deno.readTextFileSync(`/etc/${database}`).split("\n").map((line) => line.split(":"));
  return lines.find((line) => line[0] === key || line[2] === key) ?? null;
}
