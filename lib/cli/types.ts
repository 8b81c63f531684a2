/**
 * `lovage types`: writes this version's declaration file into the project in the current folder; with `-A` or
 * `-b` also stubs of tasks that other workers register; with `--python` signatures of the module's tasks for
 * Python.
 */

import { absolutePath, UsageError } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { EXIT, makeFolder, replaceFile, TYPES_FILE } from "../platform/mod.ts";
import { duration } from "./arguments.ts";
import { command, type CommandContext } from "./command.ts";
import { adviseOnConfigurations, writeTypes } from "./init.ts";
import { REMOTE_FILE } from "./project_files.ts";
import { pythonModule, pythonStub } from "./python_stubs.ts";
import { askOf, NOBODY, openCluster } from "./remote.ts";
import { REMOTE_ATTRIBUTES, remoteStubs } from "./remote_stubs.ts";

/** The command. */
export const types = command({
  options: {
    python: {
      value: "file",
      help: "write signatures of the module's tasks for Python: FILE.py and FILE.pyi",
    },
    timeout: {
      value: "seconds",
      help: "how long to wait for workers (default: 1)",
      read: duration(0),
    },
  },

  validate(_args, { python }): void {
    if (python !== undefined && !/[^/]\.py$/.test(python)) {
      throw new UsageError(`Cannot write Python signatures to "${python}": the name must end in .py`);
    }
  },

  async run(context, { python, timeout, quiet }): Promise<number> {
    const { globals, module, world } = context;
    const folder = world.host.cwd;
    const say = (text: string): void => quiet ? undefined : world.terminal.out(`${text}\n`);
    if (python !== undefined && module === null) {
      throw new UsageError("Cannot write Python signatures: name the task module with -A");
    }
    await writeTypes(folder);
    say(`wrote ${TYPES_FILE}`);
    adviseOnConfigurations(context, folder);
    if (module === null && globals.broker === undefined) return EXIT.OK;
    await using app = module === null ? null : await context.loadApp();
    if (python !== undefined) {
      const path = absolutePath(python, folder);
      makeFolder(path.slice(0, path.lastIndexOf("/")) || "/");
      replaceFile(path, pythonModule(app!));
      replaceFile(`${path}i`, pythonStub(app!));
      say(`wrote ${python} and ${python}i`);
      if (globals.broker === undefined) return EXIT.OK;
    }
    return await writeRemote(context, app, { folder, say, ...timeout === undefined ? {} : { timeout } });
  },
});

/** Asks the workers for their tasks and writes stubs of those that are not the App's own. */
async function writeRemote(
  context: CommandContext,
  app: App | null,
  { folder, say, timeout }: { folder: string; say(text: string): void; timeout?: number },
): Promise<number> {
  await using cluster = await openCluster(context, app);
  const asked = { command: "registered", arguments: { taskinfoitems: REMOTE_ATTRIBUTES } };
  const { replies } = await cluster.ask(askOf(asked, timeout === undefined ? {} : { timeout }));
  const lines = replies.flatMap(([, reply]) => Array.isArray(reply) ? reply.map(String) : []);
  if (replies.length === 0) {
    context.world.terminal.err(`${NOBODY}: ${REMOTE_FILE} is left as it is\n`);
    return EXIT.UNAVAILABLE;
  }
  const own = new Set(app?.tasks.names() ?? []);
  const { text, count } = remoteStubs(lines, own);
  replaceFile(`${folder}/${REMOTE_FILE}`, text);
  say(`wrote ${REMOTE_FILE} (${count} ${count === 1 ? "task" : "tasks"} of other workers)`);
  return EXIT.OK;
}
