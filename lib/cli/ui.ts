/** `lovage ui`, also called `lovage flower`: the console. */

import { UsageError, VERSION } from "../base/mod.ts";
import { EXIT, listenSignals } from "../platform/mod.ts";
import { shownJson } from "../wire/mod.ts";
import { type Command, command, type CommandContext } from "./command.ts";
import { consoleOptions, UI_OPTIONS, type UiValues } from "./ui_options.ts";

/** The command. */
export const ui: Command = consoleCommand(false);

/**
 * The command under Flower's name: it asks workers for task events, and closes Flower's API as Flower does.
 */
export const flower: Command = consoleCommand(true);

function consoleCommand(isFlower: boolean): Command {
  return command({
    options: UI_OPTIONS,
    run: (context, values) => run(context, values, isFlower),
  });
}

async function run(context: CommandContext, values: UiValues, isFlower: boolean): Promise<number> {
  const { world, globals } = context;
  const { terminal, log } = world;
  if (values.openapi) {
    const { openApi } = await import("../console/mod.ts");
    terminal.out(`${shownJson(openApi({ version: VERSION, prefix: "" }))}\n`);
    return EXIT.OK;
  }
  if (values.hashPassword) return await hash(context);
  log.configure({ level: values.loglevel ?? (values.debug ? "DEBUG" : "INFO") });
  const stop = Promise.withResolvers<void>();
  const unlisten = listenSignals(["SIGINT", "SIGTERM"], () => stop.resolve());
  try {
    await using app = await context.loadApp();
    const { Console } = await import("../console/mod.ts");
    const options = consoleOptions(world, app, { values, hasModule: context.module !== null, isFlower });
    await using console = await Console.open(app, options, { isOpenToAll: values.noAuth ?? false });
    if (!globals.quiet) terminal.out(`Console: ${console.url}\n`);
    await stop.promise;
  } finally {
    unlisten();
  }
  return EXIT.OK;
}

async function hash({ world: { terminal } }: CommandContext): Promise<number> {
  const { hashPassword } = await import("../console/mod.ts");
  const password = terminal.prompt("Password:");
  if (!password) throw new UsageError("Cannot hash a password: none was given");
  terminal.out(`${await hashPassword(password)}\n`);
  return EXIT.OK;
}
