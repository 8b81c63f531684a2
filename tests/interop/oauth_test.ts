/**
 * OAuth 2 on RabbitMQ: the password is a JSON Web Token that lives for seconds, and open connections are given the next
 * one before it expires (`connection.update-secret`).
 *
 * A RabbitMQ with Debian's plugin rabbitmq_auth_backend_oauth2 trusts a key of the test's own. A proxy in front of it
 * counts what each connection was told.
 */

import assert from "node:assert/strict";
import { App } from "lovage";
import { connect, queue } from "../../lib/transport/mod.ts";
import { textMessage } from "../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";
import { eventually } from "../support/ports.ts";
import { startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startAmqpProxy, startRabbit, startRedis } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";
import { mustRun } from "../support/run.ts";

/** How long a token lives, seconds; it is renewed in the last fifth. */
const LIFE = 10;
const TASKS = 1000;
const RENEWALS = 3;

/**
 * A program that writes a token: of the life given as its argument. It is signed by openssl, as somebody would do it
 * who has no library.
 */
const MINT = `#!/bin/sh
text() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
head=$(printf '{"alg":"RS256","kid":"key-1","typ":"JWT"}' | text)
body=$(printf '{"aud":["rabbitmq"],"sub":"shop","scope":["rabbitmq.configure:*/*","rabbitmq.read:*/*/*",` +
  `"rabbitmq.write:*/*/*"],"exp":%s}' $(($(date +%s) + \${1:-${LIFE}})) | text)
sign=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign "$0.key" -binary | text)
echo "$head.$body.$sign"
`;

/** What a worker runs: it asks the program at each call. LIFE: of a token; SAYS: what it says of that instead. */
const MODULE = `
import { App } from "lovage";
const credentials = async () => {
  const life = Deno.env.get("LIFE") ?? "${LIFE}";
  const { stdout } = await new Deno.Command("/bin/sh", { args: [Deno.env.get("MINT")!, life] }).output();
  const expires = Number(Deno.env.get("SAYS")) || null;
  return { username: "shop", password: new TextDecoder().decode(stdout).trim(), expires };
};
export const app = new App("shop", {
  broker_url: Deno.env.get("TEST_BROKER")!,
  result_backend: Deno.env.get("TEST_BACKEND")!,
  task_acks_late: true,
  broker_transport_options: { credentials },
});
app.task("shop.add", (x: number, y: number) => x + y);
`;

Deno.test("OAuth 2: tokens expire every few seconds while tasks run; none is lost, connections stay", async () => {
  await using folder = await disposableFolder();
  const [mint, publicKey, module] = ["mint", "public.pem", "tasks.ts"].map((name) =>
    `${folder.path}/${name}`
  );
  await mustRun(["openssl", "genrsa", "-out", `${mint}.key`, "2048"]);
  await mustRun(["openssl", "rsa", "-in", `${mint}.key`, "-pubout", "-out", publicKey!]);
  await Deno.writeTextFile(mint!, MINT, { mode: 0o700 });
  await Deno.writeTextFile(module!, MODULE);
  await using redis = await startRedis();
  await using rabbit = await startRabbit({
    plugins: ["rabbitmq_auth_backend_oauth2"],
    conf: [
      "auth_backends.1 = rabbit_auth_backend_oauth2",
      "auth_oauth2.resource_server_id = rabbitmq",
      "auth_oauth2.default_key = key-1",
      `auth_oauth2.signing_keys.key-1 = ${publicKey}`,
      "auth_oauth2.algorithms.1 = RS256",
    ].join("\n"),
  });
  // How often a channel looks whether its token is still good: every minute, if nobody says otherwise.
  await rabbit.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).");
  await using proxy = await startAmqpProxy(rabbit.port);
  const url = `amqp://shop@127.0.0.1:${proxy.port}//`;
  const world = realTestWorld();

  // The server looks at tokens: one that has expired opens nothing, and ends what it has opened.
  const expired = (await mustRun([mint!, "-5"])).trim();
  await assert.rejects(
    connect(world, url.replace("shop@", `shop:${expired}@`), CONNECT_OPTIONS),
    /ACCESS_REFUSED|refused/i,
  );
  {
    const short = (await mustRun([mint!, "3"])).trim();
    await using connection = await connect(world, url.replace("shop@", `shop:${short}@`), CONNECT_OPTIONS);
    await connection.declare(queue("short"));
    const message = { exchange: "", routingKey: "short", message: textMessage("1"), queue: queue("short") };
    await eventually(
      () => connection.publish([message]).then(() => false, () => true),
      "a token that is not renewed ends its connection",
      { everyMs: 100 },
    );
  }

  await using worker = await startWorker(
    { broker: url, backend: redis.url(), env: { MINT: mint! } },
    ["-P", "solo", "-n", "w@h"],
    { app: module! },
  );
  await using app = new App("shop", {
    broker_url: url,
    result_backend: redis.url(),
    broker_transport_options: { password_command: mint! },
  }, { world });
  const renewals = async () => {
    const counts = new Map<number, number>();
    for (const { connection, name } of (await proxy.seen()).calls) {
      if (name === "connection.update-secret") counts.set(connection, (counts.get(connection) ?? 0) + 1);
    }
    return [...counts.values()];
  };
  const results: Promise<unknown>[] = [];
  // The sender asks a command, the worker a function. Two connections at least live through several tokens.
  while (results.length < TASKS || (await renewals()).filter((count) => count >= RENEWALS).length < 2) {
    const sent = await app.sendMany(
      Array.from({ length: 20 }, (_, n) => ({ task: "shop.add", args: [results.length + n, 1] })),
    );
    for (const one of sent) results.push(one.get({ timeout: 300 }));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const values = await Promise.all(results);
  assert.deepEqual(values, values.map((_, n) => n + 1));
  for (const text of [worker.text, ...world.log.messages()]) assert.doesNotMatch(text, /eyJ/);
  assert.doesNotMatch(worker.text, /ACCESS_REFUSED|Cannot renew/);
  assert.equal(await worker.stop(), 0, worker.text);

  // A token that has expired before the next one came: here nobody knows of its end. Both sides are refused, renew and
  // go on, and no result is lost.
  const life = "5";
  await using late = await startWorker(
    { broker: url, backend: "rpc://", env: { MINT: mint!, LIFE: life, SAYS: "3600" } },
    ["-P", "solo", "-n", "late@h"],
    { app: module! },
  );
  const credentials = async () => ({
    username: "shop",
    password: (await mustRun([mint!, life])).trim(),
    expires: 3600,
  });
  await using client = new App("shop", {
    broker_url: url,
    result_backend: "rpc://",
    broker_transport_options: { credentials },
  }, { world });
  const before = (await proxy.seen()).calls.length;
  const connections = async () => {
    const calls = (await proxy.seen()).calls.slice(before);
    return new Set(
      calls.filter(({ name }) => name === "connection.update-secret").map((call) => call.connection),
    );
  };
  for (let n = 0; (await connections()).size < 2; n++) {
    assert.equal(await (await client.sendTask("shop.add", { args: [n, 1] })).get({ timeout: 300 }), n + 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.doesNotMatch(late.text, /Cannot store/);
  assert.equal(await late.stop(), 0, late.text);
});
