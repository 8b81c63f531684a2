/** `lovage version [--json]`: prints the version of this program; with --json also how it was built. */

import { VERSION } from "../base/mod.ts";
import { buildFacts, EXIT, formName, selfPath } from "../platform/mod.ts";
import { command, JSON_OPTION } from "./command.ts";
import { jsonLine } from "./output.ts";

/** The command. */
export const version = command({
  options: JSON_OPTION,
  isModuleUnused: () => true,

  run({ world }, { json }): Promise<number> {
    const { out } = world.terminal;
    if (json) {
      const { os, arch } = Deno.build;
      out(jsonLine({
        version: VERSION,
        commit: buildFacts().commit,
        form: formName(),
        platform: `${os}-${arch}`,
        deno: Deno.version.deno,
        v8: Deno.version.v8,
        typescript: Deno.version.typescript,
        program: selfPath(),
      }));
    } else out(`${VERSION} (lovage)\n`);
    return Promise.resolve(EXIT.OK);
  },
});
