/** No broker: each command says so in one line and ends with 69, whether nobody listens or nobody answers. */

import assert from "node:assert/strict";
import { environment, LOVAGE, Program } from "../support/programs.ts";
import { eventually, freePort } from "../support/ports.ts";

const COMMANDS = [
  ["status"],
  ["inspect", "ping"],
  ["control", "rate_limit", "t.add", "1/m"],
  ["call", "t.add"],
  ["purge", "--force"],
  ["metrics", "--once"],
  ["list", "bindings"],
  ["dead", "list"],
  ["failed", "list"],
  ["graph", "workers"],
];

/** A server that accepts and says nothing. */
function silentServer(): { readonly port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const kept: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) kept.push(connection);
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const connection of kept) connection.close();
    },
  };
}

/** Runs a command until it ends by itself. */
async function ended(args: readonly string[]): Promise<{ args: string; code: number; text: string }> {
  await using program = new Program([...LOVAGE, ...args], environment({}));
  await eventually(() => program.status !== null, () => `${args.join(" ")} goes on: ${program.text}`);
  return { args: args.join(" "), code: program.status!.code, text: program.text };
}

async function checkAll(url: string, reason: RegExp): Promise<void> {
  const commands = COMMANDS.map((command) => [...command, "-b", url]);
  // RabbitMQ's results are awaited, not looked up.
  commands.push([
    "result",
    "an-id",
    "-b",
    url,
    ...url.startsWith("amqp") ? ["--result-backend", "rpc://"] : [],
  ]);
  for (const { args, code, text } of await Promise.all(commands.map(ended))) {
    assert.equal(code, 69, `${args}: ${text}`);
    assert.match(text, /^Error: [^\n]*\n$/, args);
    assert.match(text, reason, args);
  }
}

Deno.test("commands without a broker: nobody listens there", async () => {
  const port = freePort();
  await checkAll(`redis://127.0.0.1:${port}/0`, /refused/i);
  await checkAll(`amqp://127.0.0.1:${port}//`, /refused/i);
});

Deno.test("commands without a broker: it accepts and says nothing", async () => {
  await using server = silentServer();
  await checkAll(`redis://127.0.0.1:${server.port}/0`, /no answer (in|within)/);
  await checkAll(`amqp://127.0.0.1:${server.port}//`, /no answer (in|within)/);
});

Deno.test("events and metrics without a broker: they go on, and say so", async () => {
  await using server = silentServer();
  const silent = `redis://127.0.0.1:${server.port}/0`;
  const at = `127.0.0.1:${freePort()}`;
  for (
    const [command, line] of [
      [["events", "--dump"], /Cannot connect to redis:\/\/[^\n]*: no answer in 4 s\.\nTrying again in /],
      [["metrics", "--http", at], /Cannot listen to events: [^\n]*: no answer in 4 s\. Trying again\./],
    ] as const
  ) {
    await using program = new Program([...LOVAGE, ...command, "-b", silent], environment({}));
    await program.says(line);
    await program.stop();
  }
});
