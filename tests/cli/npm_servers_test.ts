/**
 * The npm package on Node and Bun, with servers that ask for more than one plain connection: a Redis Cluster, sentinels,
 * Redis and RabbitMQ over TLS; and the embedded broker, on the runtimes that have SQLite. One program calls a worker, waits for results, runs a chord, and ends by itself.
 */

import assert from "node:assert/strict";
import { makeSigner } from "../support/certificates.ts";
import { bun, installedPackage } from "../support/npm_package.ts";
import { freePort } from "../support/ports.ts";
import { type Place, startWorker } from "../support/programs.ts";
import { startRedisCluster } from "../support/redis_cluster.ts";
import { startSentinel } from "../support/sentinel.ts";
import { startRabbit, startRedis } from "../support/servers.ts";
import { temporaryFolder } from "../support/temporary.ts";

const client = await installedPackage();
const RUNTIMES = { Node: ["node"], Bun: [await bun()] };
const DENO = [Deno.execPath(), "run", "-A", "--quiet", "--node-modules-dir=manual"];

/** Two Apps: what the first has sent, the second waits for. */
const PROGRAM = `import { App, chord } from "lovage";
const settings = JSON.parse(process.env.SETTINGS);
const WAIT = { timeout: 60 };
const show = (...values) => console.log(JSON.stringify(values));
const app = new App("shop", settings);
const add = app.task("t.add", (x, y) => x + y);
show(await (await add.delay(1, 2)).get(WAIT));
const many = await app.sendMany(Array.from({ length: 200 }, (_, i) => ({ task: add, args: [i, 1] })));
let sum = 0;
for (const result of many) sum += await result.get(WAIT);
show(sum);
if (settings.result_backend !== "rpc://") {
  const members = Array.from({ length: 20 }, (_, i) => add.s(i, 1));
  show(await (await chord(members, app.signature("t.echo")).delay()).get(WAIT));
  const other = new App("other", settings);
  show(await other.AsyncResult(many[7].id).get(WAIT));
  await other.close();
}
show(Object.values(await app.control.inspect().ping()));
await app.close();
`;
const GIVES = ["[3]", "[20100]"];
const STORE_GIVES = [`[[${Array.from({ length: 20 }, (_, i) => i + 1).join(",")}]]`, "[8]"];
const PONG = `[[{"ok":"pong"}]]`;

/** Runs the program on each runtime, with one worker at the same servers. */
async function show(
  t: Deno.TestContext,
  settings: Record<string, unknown>,
  place: Place,
  runtimes: Readonly<Record<string, readonly string[]>> = RUNTIMES,
): Promise<void> {
  await using worker = await startWorker(place);
  await Deno.writeTextFile(`${client.folder}/main.mjs`, PROGRAM);
  for (const [name, runtime] of Object.entries(runtimes)) {
    await t.step(name, async () => {
      const env = { SETTINGS: JSON.stringify(settings) };
      const { code, out, err } = await client.run([...runtime, "main.mjs"], env);
      assert.equal(err, "", out + worker.text);
      const isRpc = settings["result_backend"] === "rpc://";
      assert.deepEqual(out.trimEnd().split("\n"), [...GIVES, ...(isRpc ? [] : STORE_GIVES), PONG]);
      assert.equal(code, 0);
    });
  }
}

Deno.test("npm: tasks, results and chords over a Redis Cluster", async (t) => {
  await using cluster = await startRedisCluster();
  // One node is enough to find the others.
  const url = `redis-cluster://127.0.0.1:${cluster.nodes[4]!.port}/0`;
  await show(t, { broker_url: url, result_backend: url }, { broker: cluster.url(), backend: cluster.url() });
});

Deno.test("npm: tasks, results and chords over a master that sentinels name", async (t) => {
  await using master = await startRedis();
  await using sentinel = await startSentinel({ name: "mine", port: master.port });
  const options = { master_name: "mine" };
  const settings = {
    // The first sentinel of the list is dead.
    broker_url: `sentinel://127.0.0.1:${freePort()};sentinel://127.0.0.1:${sentinel.port}/0`,
    result_backend: `sentinel://127.0.0.1:${sentinel.port}/1`,
    broker_transport_options: options,
    result_backend_transport_options: options,
  };
  await show(t, settings, { broker: master.url(0), backend: master.url(1) });
});

Deno.test("npm: tasks and results over TLS, with Redis and with RabbitMQ", async (t) => {
  const folder = temporaryFolder();
  const { key, certificate } = await makeSigner(folder, "tls", { subject: "/CN=localhost" });
  const [redisPort, rabbitPort] = [freePort(), freePort()];
  const tls = [
    ...["--tls-port", String(redisPort), "--tls-cert-file", certificate, "--tls-key-file", key],
    ...["--tls-auth-clients", "no", "--tls-ca-cert-file", certificate],
  ];
  const conf = `listeners.ssl.default = ${rabbitPort}\nssl_options.certfile = ${certificate}\n` +
    `ssl_options.keyfile = ${key}\nssl_options.cacertfile = ${certificate}\nssl_options.verify = verify_none\n`;
  await using redis = await startRedis({ args: tls });
  await using rabbit = await startRabbit({ conf });
  const query = `ssl_ca_certs=${encodeURIComponent(certificate)}`;
  const secured = {
    redis: `rediss://localhost:${redisPort}/0?ssl_cert_reqs=required&${query}`,
    rabbit: `amqps://localhost:${rabbitPort}//?${query}`,
  };
  await t.step("rediss", async (t) => {
    const settings = { broker_url: secured.redis, result_backend: secured.redis };
    await show(t, settings, { broker: redis.url(0), backend: redis.url(0) });
  });
  await t.step("amqps and rpc://", async (t) => {
    const settings = { broker_url: secured.rabbit, result_backend: "rpc://" };
    await show(t, settings, { broker: rabbit.url(), backend: "rpc://" });
  });
});

Deno.test("npm: tasks, results and chords over the embedded broker, if the runtime has SQLite", async (t) => {
  const url = `sqlite://${temporaryFolder()}/lovage.db`;
  const settings = { broker_url: url, result_backend: url };
  await show(t, settings, { broker: url, backend: url }, { Bun: RUNTIMES.Bun, Deno: DENO });
});
