/** `lovage list bindings`. Source: celery 5.2.6 bin/list.py (layout). */

import { nearest, shownLine, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { command, JSON_OPTION } from "./command.ts";
import { jsonLine } from "./output.ts";

/** The command. */
export const list = command({
  arguments: [{ name: "what", help: "bindings", words: ["bindings"], isRequired: true }],
  options: JSON_OPTION,

  validate([what]) {
    if (what === "bindings") return;
    const near = nearest(what!, ["bindings"]);
    throw new UsageError(
      `Cannot list "${what}"${near ? `: did you mean "${near}"?` : ': there is "bindings"'}`,
    );
  },

  async run({ world, loadApp }, { json }): Promise<number> {
    await using app = await loadApp();
    await using connection = await app.connectBroker({ forWriting: true, retry: false });
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
    const row = (...cells: string[]) =>
      `${cells.map((cell) => shownLine(cell).padEnd(28)).join(" ").trimEnd()}\n`;
    out(row("Queue", "Exchange", "Routing Key") + row("-".repeat(16), "-".repeat(16), "-".repeat(16)));
    for (const { queue, exchange, routingKey } of bindings) out(row(queue, exchange, routingKey));
    return EXIT.OK;
  },
});
