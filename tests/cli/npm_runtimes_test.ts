/**
 * The npm package on Node, Bun and Deno: one program that calls workers of both languages over Redis and RabbitMQ, waits
 * for results, asks the workers, hears their events, and ends by itself. Clusters and TLS are in npm_servers_test.ts.
 */

import assert from "node:assert/strict";
import { bun, installedPackage } from "../support/npm_package.ts";
import { startPythonWorker, startWorker } from "../support/programs.ts";
import { startRabbit, startRedis } from "../support/servers.ts";

const client = await installedPackage();

/** What every runtime does, with each broker and the workers of each language. */
const PROGRAM = `import { App, chain, chord, group } from "lovage";
const { REDIS, RABBIT } = process.env;
const WAIT = { timeout: 60 };
const show = (...values) => console.log(JSON.stringify(values));
const nodes = (answers) => Object.fromEntries(Object.keys(answers).map((name) => [name.replace(/@.*/, "@"), true]));
const run = async (broker, backend, queue) => {
  const app = new App("shop", { broker_url: broker, result_backend: backend, task_default_queue: queue });
  const add = app.task("t.add", (x, y) => x + y);
  const receiver = await app.events.receiver();
  const heard = (async () => {
    for await (const { type, uuid } of receiver.capture()) if (type === "task-succeeded") return uuid;
  })();
  const first = await add.delay(1, 2);
  show(queue, await first.get(WAIT));
  show(await (await app.sendTask("t.add", { args: [2.5, 1], countdown: 0.1 })).get(WAIT));
  show(await (await group(add.s(1, 2), add.s(3, 4)).delay()).get(WAIT));
  show(await (await chain(add.s(1, 2), add.s(10)).delay()).get(WAIT));
  if (backend !== "rpc://") {
    show(await (await chord([add.s(1, 2), add.s(3, 4)], app.signature("t.echo")).delay()).get(WAIT));
  }
  const failed = await app.sendTask("t.fail", { args: ["ValueError", "no such thing"] });
  show(await failed.get(WAIT).catch((error) => [error instanceof Error, error.name, error.message]));
  const many = await app.sendMany(Array.from({ length: 200 }, (_, i) => ({ task: add, args: [i, 1] })));
  let sum = 0;
  for (const result of many) sum += await result.get(WAIT);
  show(sum);
  const odd = [NaN, -Infinity, 9007199254740993n, "9007199254740993", new Date(0), "půlka"];
  console.log(...await (await app.sendTask("t.echo", { args: [odd] })).get(WAIT));
  show(queue + "@" in nodes(await app.control.inspect().ping()), await heard === first.id);
  await receiver.close();
  await app.close();
};
for (const queue of ["typescript", "python"]) {
  await run(REDIS + "/0", REDIS + "/1", queue);
  await run(RABBIT, "rpc://", queue + "-rpc");
  await run(RABBIT, REDIS + "/1", queue);
}
`;
/** As Node 20 cannot be told yet. */
const USING = `await using app = new App("shop", { broker_url: REDIS + "/0", result_backend: REDIS + "/1" });
show(await (await app.sendTask("t.add", { args: [1, 2], queue: "typescript" })).get(WAIT));
`;

const GIVES = (queue: string, isRpc: boolean) => [
  `["${queue}${isRpc ? "-rpc" : ""}",3]`,
  ...["[3.5]", "[[3,7]]", "[13]", ...(isRpc ? [] : ["[[3,7]]"])],
  `[[true,"ValueError","no such thing"]]`,
  "[20100]",
  "NaN -Infinity 9007199254740993n 9007199254740993 1970-01-01T00:00:00.000Z půlka",
  "[true,true]",
];

Deno.test("npm: programs of Node, Bun and Deno call workers over Redis and RabbitMQ, and end", async (t) => {
  const [redis, rabbit] = await Promise.all([startRedis(), startRabbit()]);
  await using stack = new AsyncDisposableStack();
  stack.use(redis);
  stack.use(rabbit);
  const results = redis.url(1);
  const places: [string, string, string][] = [[redis.url(0), results, ""], [rabbit.url(), "rpc://", "-rpc"], [
    rabbit.url(),
    results,
    "",
  ]];
  const workers = await Promise.allSettled(places.flatMap(([broker, backend, suffix]) => {
    // What a worker sends in its turn, as the next step of a chain, goes by its own settings.
    const place = (queue: string) => ({ broker, backend, conf: { task_default_queue: queue + suffix } });
    const args = (queue: string) => ["-P", "solo", "-E", "-n", `${queue}${suffix}@%h`];
    return [
      startWorker(place("typescript"), args("typescript")),
      startPythonWorker(place("python"), args("python")),
    ];
  }));
  for (const started of workers) if (started.status === "fulfilled") stack.use(started.value);
  for (const started of workers) if (started.status === "rejected") throw started.reason;
  const env = { REDIS: `redis://127.0.0.1:${redis.port}`, RABBIT: rabbit.url() };
  const wanted = ["typescript", "python"].flatMap((queue) =>
    [false, true, false].flatMap((isRpc) => GIVES(queue, isRpc))
  );
  await Deno.writeTextFile(`${client.folder}/main.mjs`, PROGRAM);
  await Deno.writeTextFile(`${client.folder}/using.mjs`, PROGRAM + USING);
  const runtimes = {
    node: ["node", "main.mjs"],
    bun: [await bun(), "using.mjs"],
    deno: [Deno.execPath(), "run", "-A", "--quiet", "--node-modules-dir=manual", "using.mjs"],
  };
  for (const [name, command] of Object.entries(runtimes)) {
    await t.step(name, async () => {
      const { code, out, err } = await client.run(command, env);
      assert.equal(err, "", out);
      assert.deepEqual(out.trimEnd().split("\n"), command.includes("main.mjs") ? wanted : [...wanted, "[3]"]);
      assert.equal(code, 0);
    });
  }
});
