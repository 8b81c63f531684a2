/** The place of the embedded broker and result store (one rule for both), and absolute paths. */

import { UsageError } from "./errors.ts";
import type { Host } from "./world.ts";

const FILE = "lovage.db";

/**
 * Returns the folder of the embedded broker and result store: `$LOVAGE_HOME`, else `$XDG_STATE_HOME/lovage`,
 * else `~/.local/state/lovage`. Throws UsageError if none of these variables is set.
 */
export function embeddedHome(host: Host): string {
  const own = host.env("LOVAGE_HOME");
  if (own) return absolutePath(own, host.cwd);
  const state = host.env("XDG_STATE_HOME");
  // The XDG specification says to ignore a relative path.
  if (state?.startsWith("/")) return `${trimmed(state)}/lovage`;
  const home = host.env("HOME");
  if (home) return absolutePath(`${home}/.local/state/lovage`, host.cwd);
  throw new UsageError(
    "Cannot place the embedded broker: none of LOVAGE_HOME, XDG_STATE_HOME and HOME is set",
  );
}

/**
 * Returns the database file of a `sqlite:` URL. `sqlite://` is `lovage.db` in `embeddedHome`;
 * `sqlite:///path.db` is the absolute path, `sqlite://path.db` a path from the current folder. The query is
 * ignored, escapes are decoded. Throws UsageError for another scheme, `:memory:`, a path that ends in a
 * slash, or an invalid escape.
 */
export function embeddedDatabasePath(url: string, host: Host): string {
  const match = /^sqlite:(?:\/\/)?([^?#]*)/.exec(url);
  if (!match) throw new UsageError(`Cannot read "${url}" as a sqlite: URL`);
  let path: string;
  try {
    path = decodeURIComponent(match[1]!);
  } catch {
    throw new UsageError(`Cannot read "${url}": invalid % escape`);
  }
  if (path === "" || path === "/") return `${embeddedHome(host)}/${FILE}`;
  if (path === ":memory:" || path === "/:memory:") {
    throw new UsageError(`Cannot share "${url}" between processes: use memory:// for one process`);
  }
  if (path.endsWith("/")) throw new UsageError(`Cannot use "${url}": it names a folder, not a file`);
  return absolutePath(path, host.cwd);
}

/**
 * Returns a path as an absolute one, relative to `folder`, without `.`, `..`, double and trailing slashes.
 * Symbolic links are not followed.
 */
export function absolutePath(path: string, folder: string): string {
  const full = path.startsWith("/") ? path : `${folder}/${path}`;
  const parts: string[] = [];
  for (const part of full.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function trimmed(path: string): string {
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}
