/**
 * `lovage init [FOLDER]`: writes a task module, and the files that editors and compilers need to resolve
 * "lovage". Existing files stay, except the declaration file.
 */

import { absolutePath, UsageError } from "../base/mod.ts";
import { EXIT, makeFolder, projectTypes, readFile, replaceFile, TYPES_FILE } from "../platform/mod.ts";
import { command, type CommandContext } from "./command.ts";
import { shellLine } from "./output.ts";
import { NO_REMOTE, PACKAGED_LINES, PROJECT_FILES, REMOTE_FILE, WANTED_LINES } from "./project_files.ts";

/** The command. */
export const init = command({
  arguments: [{
    name: "folder",
    help: "the project's folder, created if missing; by default the current one",
  }],
  options: {},
  isModuleUnused: () => true,

  async run(context, { quiet }): Promise<number> {
    const { terminal, host } = context.world;
    const given = context.args[0] ?? ".";
    const folder = absolutePath(given, host.cwd);
    const say = (text: string): void => quiet ? undefined : terminal.out(`${text}\n`);
    if (given.trim() === "") throw new UsageError('Cannot use folder "": it is empty');
    if (host.fileKind(folder) === "file") {
      throw new UsageError(`Cannot make the folder "${folder}": something else is there`, {
        exitCode: EXIT.CANNOT_CREATE,
      });
    }
    makeFolder(folder);
    for (const [path, text] of Object.entries(PROJECT_FILES)) {
      if (host.fileKind(`${folder}/${path}`) !== null) {
        say(`kept   ${path}`);
        continue;
      }
      // With a deno.json next to it, Deno would ignore the existing deno.jsonc.
      if (path === "deno.json" && host.fileKind(`${folder}/deno.jsonc`) !== null) continue;
      replaceFile(`${folder}/${path}`, text);
      say(`wrote  ${path}`);
    }
    await writeTypes(folder);
    say(`wrote  ${TYPES_FILE}`);
    adviseOnConfigurations(context, folder);
    const there = given === "." ? "" : `${shellLine(["cd", given])} && `;
    say(`\nStart a worker:  ${there}lovage -A tasks.ts worker`);
    say(`Call a task:     ${there}lovage -A tasks.ts call --wait tasks.add -a '[2, 3]'`);
    return EXIT.OK;
  },
});

/**
 * Writes this version's declaration file into a project; existing stubs stay. Rejects with OperatingError.
 */
export async function writeTypes(folder: string): Promise<void> {
  const text = await projectTypes();
  makeFolder(`${folder}/.lovage/types`);
  if (readFile(`${folder}/${REMOTE_FILE}`) === null) replaceFile(`${folder}/${REMOTE_FILE}`, NO_REMOTE);
  replaceFile(`${folder}/${TYPES_FILE}`, text);
}

/**
 * Warns if existing configurations do not define "lovage". If the npm package is installed, it has the types,
 * so only the stubs of other workers' tasks are checked.
 */
export function adviseOnConfigurations({ world }: CommandContext, folder: string): void {
  const isPackaged = world.host.fileKind(`${folder}/node_modules/lovage`) === "folder";
  for (const [path, line] of Object.entries(isPackaged ? PACKAGED_LINES : WANTED_LINES)) {
    const text = readFile(`${folder}/${path}`);
    if (text === null || text.includes(isPackaged ? REMOTE_FILE : `"lovage"`)) continue;
    const what = isPackaged ? "does not include the tasks of other workers" : `does not define "lovage"`;
    world.terminal.err(`Warning: ${path} ${what}: add ${line}\n`);
  }
}
