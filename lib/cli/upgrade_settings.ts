/**
 * `lovage upgrade settings FILE…`: the names of today in the place of old upper-case ones, in Python files and in
 * `.ts`, `.json` and `.toml` settings.
 *
 * Source: celery 5.6.3 bin/upgrade.py settings (options, backup, messages). Celery replaces any text that is an old
 * name; here it must be the name of something that is set.
 */

import { shownLine, UsageError } from "../base/mod.ts";
import { settingName } from "../app/mod.ts";
import { readRegular, replaceFile } from "../platform/mod.ts";
import type { CommandContext } from "./command.ts";

/** Upgrades files in place, and says of each what was done. Throws UsageError. */
export function upgradeSettings(
  { world: { terminal: { out, err } } }: CommandContext,
  files: readonly string[],
  { isDjango, hasBackup }: { readonly isDjango: boolean; readonly hasBackup: boolean },
): void {
  const texts = files.map((path) => [path, textOf(path)] as const);
  for (const [path, text] of texts) {
    err(`processing ${shownLine(path)}...\n`);
    const upgraded = upgradedSettings(text, isDjango ? prefixed : (name) => name);
    if (upgraded === text) {
      out("Does not seem to require any changes :-)\n");
      continue;
    }
    if (hasBackup) {
      err(`writing backup to ${shownLine(path)}.orig...\n`);
      replaceFile(`${path}.orig`, text);
    }
    replaceFile(path, upgraded);
    out("Changes to your setting have been made!\n");
  }
}

/** The text of a file that there is. Throws UsageError. */
function textOf(path: string): string {
  const bytes = readRegular(path);
  if (bytes === null) throw new UsageError(`Cannot upgrade "${path}": there is no such file`);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** `task_acks_late` in Django's settings. */
function prefixed(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith("CELERY") ? upper : `CELERY_${upper}`;
}

/**
 * An upper-case name that is set: `NAME =`, `conf.NAME =`, `"NAME":`, `NAME:`, `conf["NAME"] =`, `update(NAME=…)`. What
 * stands before it on its line is the first group.
 */
const ASSIGNED = /^(.*?)\b([A-Z][A-Z0-9_]+)(?=["']?\]?\s*(?:=(?![=>])|:(?!:)))/gm;
/** Behind these it is a variable of the environment. */
const OF_ENVIRONMENT = /(environ|\benv)\s*(\.|\[["']|\.get\(["']|\(["'])$/;

/** The text with each old name of a setting that is set replaced by `rename` of the name of today. */
export function upgradedSettings(text: string, rename: (name: string) => string): string {
  return text.split("\n").map((line) => {
    let done = "";
    let rest = line;
    for (;;) {
      ASSIGNED.lastIndex = 0;
      const found = ASSIGNED.exec(rest);
      if (found === null) return done + rest;
      const [whole, before, old] = found as unknown as [string, string, string];
      const today = settingName(old);
      const isComment = /^\s*(#|\/\/)/.test(done + before);
      const isVariable = OF_ENVIRONMENT.test(done + before);
      const name = today === null || isComment || isVariable ? old : rename(today);
      done += before + name;
      rest = rest.slice(whole.length);
    }
  }).join("\n");
}
