/**
 * `lovage purge`: deletes the pending messages of the known queues. Source: celery 5.2.6 bin/purge.py
 * (texts).
 */

import { UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { commaList } from "./arguments.ts";
import { command, JSON_OPTION } from "./command.ts";
import { jsonLine } from "./output.ts";

const NOBODY_TO_ASK = "Cannot purge without a terminal to confirm on: use --force";

/** The command. */
export const purge = command({
  options: {
    force: { short: "-f", help: "do not ask" },
    queues: { short: "-Q", value: "names", help: "only these queues, comma separated", read: commaList },
    excludeQueues: {
      short: "-X",
      value: "names",
      help: "not these queues, comma separated",
      read: commaList,
    },
    ...JSON_OPTION,
  },

  async run({ world, loadApp }, { force, queues, excludeQueues = [], json }): Promise<number> {
    await using app = await loadApp();
    const names = [...new Set(queues ?? app.amqp.queues.names())].filter((name) =>
      !excludeQueues.includes(name)
    ).sort();
    const { terminal } = world;
    const plural = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
    if (!force) {
      if (json) throw new UsageError(NOBODY_TO_ASK);
      terminal.out(
        `WARNING: This will remove all tasks from ${names.length === 1 ? "queue" : "queues"}: ${
          names.join(", ")
        }.\n` +
          "         There is no undo for this operation!\n\n(to skip this prompt use the -f option)\n",
      );
      const answer = terminal.prompt("Are you sure you want to delete all tasks? [y/N] ");
      // An answer may also be piped; end of input means that nobody could be asked.
      if (answer === null) throw new UsageError(NOBODY_TO_ASK);
      if (!/^y(es)?$/i.test(answer.trim())) return EXIT.FAILURE;
    }
    await using connection = await app.connectBroker({ forWriting: true, retry: false });
    const deleted: Record<string, number> = {};
    for (const name of names) deleted[name] = await connection.purge(name);
    const total = Object.values(deleted).reduce((sum, n) => sum + n, 0);
    if (json) terminal.out(jsonLine({ purged: total, queues: deleted }));
    else if (total > 0) {
      terminal.out(`Purged ${plural(total, "message")} from ${plural(names.length, "known task queue")}.\n`);
    } else terminal.out(`No messages purged from ${plural(names.length, "queue")}.\n`);
    return EXIT.OK;
  },
});
