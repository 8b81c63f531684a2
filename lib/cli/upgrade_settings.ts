/**
 * `lovage upgrade settings FILE…`: replaces old upper-case names of settings with today's names, in Python
 * files and in `.ts`, `.json` and `.toml` settings.
 *
 * Source: celery 5.6.3 bin/upgrade.py settings (options, backup, messages). Celery replaces an old name
 * anywhere; here it must be the target of an assignment.
 */

import { shownLine, UsageError } from "../base/mod.ts";
import { settingName } from "../app/mod.ts";
import { placeOfFile, readRegular, replaceBytes, specialFile } from "../platform/mod.ts";
import type { CommandContext } from "./command.ts";

/**
 * Upgrades files in place and prints what was done to each. File modes, links and all other bytes are kept.
 * Rejects with UsageError, and with OperatingError for a file that cannot be written.
 */
export async function upgradeSettings(
  { world: { terminal: { out, err } } }: CommandContext,
  files: readonly string[],
  { isDjango, hasBackup }: { readonly isDjango: boolean; readonly hasBackup: boolean },
): Promise<void> {
  const found = files.map((path) => [path, bytesOf(path)] as const);
  for (const [path, bytes] of found) {
    err(`processing ${shownLine(path)}...\n`);
    // Names are ASCII, so each byte is handled as a character, whatever encoding the file has.
    const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
    const upgraded = upgradedSettings(text, isDjango ? prefixed : (name) => name);
    if (upgraded === text) {
      out("Does not seem to require any changes :-)\n");
      continue;
    }
    const place = placeOfFile(path);
    if (hasBackup) {
      err(`writing backup to ${shownLine(path)}.orig...\n`);
      await replaceBytes(`${place.path}.orig`, bytes, place.mode);
    }
    await replaceBytes(place.path, Uint8Array.from(upgraded, (one) => one.charCodeAt(0)), place.mode);
    out("Changes to your setting have been made!\n");
  }
}

/** Reads a file. Throws UsageError if it is missing. */
function bytesOf(path: string): Uint8Array {
  const bytes = readRegular(path);
  if (bytes !== null) return bytes;
  const special = specialFile(path);
  throw new UsageError(
    `Cannot upgrade "${path}": ${special === null ? "there is no such file" : `it is ${special}`}`,
  );
}

/** Converts a name such as `task_acks_late` to its form in Django's settings. */
function prefixed(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith("CELERY") ? upper : `CELERY_${upper}`;
}

/**
 * Matches an upper-case name that is assigned: `NAME =`, `conf.NAME =`, `"NAME":`, `NAME:`, `conf["NAME"] =`,
 * `update(NAME=…)`. The first group is the text before it on its line.
 */
const ASSIGNED = /^(.*?)\b([A-Z][A-Z0-9_]+)(?=["']?\]?\s*(?:=(?![=>])|:(?!:)))/gm;
/** A name after this text is an environment variable. */
const OF_ENVIRONMENT = /(environ|\benv)\s*(\.|\[["']|\.get\(["']|\(["'])$/;

/** Replaces each old name that is assigned with `rename` of today's name. */
export function upgradedSettings(text: string, rename: (name: string) => string): string {
  return text.split("\n").map((line) => {
    let done = "";
    let rest = line;
    for (;;) {
      ASSIGNED.lastIndex = 0;
      const found = ASSIGNED.exec(rest);
      if (found === null) return done + rest;
      const [whole, before = "", old = ""] = found;
      const today = settingName(old);
      const isComment = /^\s*(#|\/\/)/.test(done + before);
      const isVariable = OF_ENVIRONMENT.test(done + before);
      const name = today === null || isComment || isVariable ? old : rename(today);
      done += before + name;
      rest = rest.slice(whole.length);
    }
  }).join("\n");
}
