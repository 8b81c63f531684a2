/**
 * `lovage upgrade [VERSION]`: replaces this program with its newest version. `lovage upgrade settings FILE…`
 * is Celery's command of that name.
 */

import { nearest, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { command, JSON_OPTION } from "./command.ts";

/** "0.2.0", "v0.2.0-rc.1". */
const VERSION_WORD = /^v?\d+\.\d+\.\d+(-[\w.]+)?$/;

/** The command. */
export const upgrade = command({
  usage: "[options] [version] | settings <files...>",
  arguments: [
    { name: "what", help: "a version, by default the newest; or settings", words: ["settings"] },
    { name: "files", help: "settings: the files to upgrade", isRest: true },
  ],
  options: {
    check: { help: "only report whether there is a newer version" },
    json: { ...JSON_OPTION.json, help: "with --check: print JSON" },
    django: { help: "settings: use upper-case names with the prefix CELERY_, for Django" },
    compat: { help: "settings: same as --django" },
    noBackup: { help: "settings: keep no copy of the old file (FILE.orig)" },
  },
  isModuleUnused: () => true,

  validate([what, ...files]) {
    if (what === "settings") {
      if (files.length === 0) throw new UsageError("Missing argument: name the settings files to upgrade");
      return;
    }
    if (what !== undefined && !VERSION_WORD.test(what)) {
      const near = nearest(what, ["settings"]);
      const there = `give a version such as 1.2.3, or "settings"`;
      throw new UsageError(`Cannot upgrade "${what}": ${near ? `did you mean "${near}"?` : there}`);
    }
    if (files.length > 0) throw new UsageError(`Too many arguments: "${files[0]}"`);
  },

  async run(context, { check, json, django, compat, noBackup }): Promise<number> {
    const [what, ...files] = context.args;
    if (what === "settings") {
      const { upgradeSettings } = await import("./upgrade_settings.ts");
      const isDjango = django === true || compat === true;
      if (check) {
        throw new UsageError(
          "Cannot use --check with settings: it applies only to versions; nothing was changed",
        );
      }
      await upgradeSettings(context, files, { isDjango, hasBackup: !noBackup });
      return EXIT.OK;
    }
    const { upgradeProgram } = await import("./upgrade_program.ts");
    return await upgradeProgram(context, {
      wanted: what?.replace(/^v/, "") ?? null,
      isCheck: check ?? false,
      isJson: json ?? false,
    });
  },
});
