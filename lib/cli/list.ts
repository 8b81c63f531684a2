/** `lovage list bindings`. Source: celery 5.2.6 bin/list.py (layout). */

import type { Command } from "commander";
import { nearest, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { jsonLine } from "./output.ts";

/** The command. */
export const list: CommandModule = {
  define(command: Command): void {
    command.argument("<what>", "bindings").option("-j, --json", "print JSON");
  },

  async run({ world, loadApp }: CommandContext, [what], { json }): Promise<number> {
    if (what !== "bindings") {
      const near = nearest(what!, ["bindings"]);
      throw new UsageError(
        `Cannot list "${what}"${near ? `: did you mean "${near}"?` : ': there is "bindings"'}`,
      );
    }
    await using app = await loadApp();
    await using connection = await app.connectBroker({ forWriting: true });
    for (const queue of app.amqp.queues) await connection.declare(queue);
    const bindings = await connection.bindings();
    const { out } = world.terminal;
    if (json) {
      out(
        jsonLine(
          bindings.map(({ queue, exchange, routingKey }) => ({ queue, exchange, routing_key: routingKey })),
        ),
      );
      return EXIT.OK;
    }
    const row = (...cells: string[]) => `${cells.map((cell) => cell.padEnd(28)).join(" ").trimEnd()}\n`;
    out(row("Queue", "Exchange", "Routing Key") + row("-".repeat(16), "-".repeat(16), "-".repeat(16)));
    for (const { queue, exchange, routingKey } of bindings) out(row(queue, exchange, routingKey));
    return EXIT.OK;
  },
};
