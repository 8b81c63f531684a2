/** `lovage man [COMMAND]`: prints a manual page, for `man -l -`. */

import { nearest, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { command } from "./command.ts";

/** The command. */
export const man = command({
  arguments: [{ name: "command", help: "print this command's page; by default the program's" }],
  options: {},
  isModuleUnused: () => true,

  async run({ world, facts, args: [name = ""] }): Promise<number> {
    const all = await facts();
    const { manPage } = await import("./man_page.ts");
    const page = all.find((one) => one.name === name.replace(/^lovage-/, ""));
    if (page === undefined) {
      const near = nearest(name, all.map((one) => one.name).filter(Boolean));
      throw new UsageError(`There is no manual page for "${name}"${near ? `: did you mean "${near}"?` : ""}`);
    }
    world.terminal.out(manPage(page, { all }));
    return EXIT.OK;
  },
});
