/** `lovage result ID`: waits for a result and prints it. Source: celery 5.2.6 bin/result.py. */

import type { Command } from "commander";
import { EXIT } from "../platform/mod.ts";
import { numeric } from "./arguments.ts";
import { described } from "./call.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { jsonLine, plain } from "./output.ts";

interface ResultOptions {
  traceback?: boolean;
  timeout?: number;
  json?: boolean;
}

/** The command. */
export const result: CommandModule = {
  define(command: Command): void {
    command.argument("<task-id>", "the task's id")
      .option("-t, --task <name>", "the task's name (kept for Celery's sake; every task has the same store)")
      .option("--traceback", "print the traceback instead")
      .option("--timeout <seconds>", "give up after; 0 only looks", numeric)
      .option("-j, --json", "print JSON");
  },

  async run({ world, loadApp }: CommandContext, [id], raw): Promise<number> {
    const { traceback, timeout, json } = raw as ResultOptions;
    await using app = await loadApp();
    const wanted = app.AsyncResult(id!);
    const { out, err } = world.terminal;
    let value: unknown = null;
    let error: unknown = null;
    try {
      value = await wanted.get(timeout === undefined ? {} : { timeout });
    } catch (thrown) {
      error = thrown;
    }
    const state = await wanted.state();
    if (json) {
      out(jsonLine({
        id,
        state,
        ...(error === null ? { result: value } : { error: described(error) }),
        ...(traceback ? { traceback: await wanted.traceback() } : {}),
      }));
    } else if (traceback) out(`${await wanted.traceback() ?? "None"}\n`);
    else if (error === null) out(`${plain(value)}\n`);
    else err(`Error: ${described(error)}\n`);
    return error === null ? EXIT.OK : EXIT.FAILURE;
  },
};
