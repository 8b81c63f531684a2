/** `lovage purge`: deletes what waits in the known queues. Source: celery 5.2.6 bin/purge.py (texts). */

import type { Command } from "commander";
import { UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { commaList } from "./arguments.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { jsonLine } from "./output.ts";

interface PurgeOptions {
  force?: boolean;
  queues?: string[];
  excludeQueues?: string[];
  json?: boolean;
}

/** The command. */
export const purge: CommandModule = {
  define(command: Command): void {
    command.option("-f, --force", "do not ask")
      .option("-Q, --queues <names>", "only these queues, comma separated", commaList)
      .option("-X, --exclude-queues <names>", "not these queues, comma separated", commaList)
      .option("-j, --json", "print JSON");
  },

  async run({ world, loadApp }: CommandContext, _args, raw): Promise<number> {
    const { force, queues, excludeQueues = [], json } = raw as PurgeOptions;
    await using app = await loadApp();
    const names = [...new Set(queues ?? app.amqp.queues.names())].filter((name) =>
      !excludeQueues.includes(name)
    ).sort();
    const { terminal } = world;
    const plural = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
    if (!force) {
      if (json || !terminal.inIsTty) {
        throw new UsageError("There is no undo for purge: say --force where nobody can be asked");
      }
      terminal.out(
        `WARNING: This will remove all tasks from ${names.length === 1 ? "queue" : "queues"}: ${
          names.join(", ")
        }.\n` +
          "         There is no undo for this operation!\n\n(to skip this prompt use the -f option)\n",
      );
      const answer = terminal.prompt("Are you sure you want to delete all tasks? [y/N] ");
      if (!/^y(es)?$/i.test(answer?.trim() ?? "")) return EXIT.FAILURE;
    }
    await using connection = await app.connectBroker({ forWriting: true });
    const deleted: Record<string, number> = {};
    for (const name of names) deleted[name] = await connection.purge(name);
    const total = Object.values(deleted).reduce((sum, n) => sum + n, 0);
    if (json) terminal.out(jsonLine({ purged: total, queues: deleted }));
    else if (total > 0) {
      terminal.out(`Purged ${plural(total, "message")} from ${plural(names.length, "known task queue")}.\n`);
    } else terminal.out(`No messages purged from ${plural(names.length, "queue")}.\n`);
    return EXIT.OK;
  },
};
