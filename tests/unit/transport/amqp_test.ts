/** What AMQP's connection promises beyond the common suite, on a real RabbitMQ. */

import assert from "node:assert/strict";
import { connect, type Connection, type Delivery, exchange, queue } from "../../../lib/transport/mod.ts";
import { CONNECT_OPTIONS, textMessage, textOf } from "../../conformance/transport.ts";
import { eventually, freePort } from "../../support/ports.ts";
import { startProxy } from "../../support/proxy.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { type RabbitServer, startRabbit } from "../../support/servers.ts";

let server: RabbitServer;
let used = 0;
const folder = Deno.makeTempDirSync({ prefix: "lovage-tls-" });
const tlsPort = freePort();

/** An authority, and signed by it the server's certificate and one of a client named guest. */
async function makeCertificates(): Promise<void> {
  for (
    const [name, subject, extension] of [
      ["ca", "an authority", "basicConstraints=critical,CA:TRUE"],
      ["server", "localhost", "subjectAltName=DNS:localhost"],
      ["client", "guest", "extendedKeyUsage=clientAuth"],
    ]
  ) {
    const signer = name === "ca" ? [] : ["-CA", `${folder}/ca.pem`, "-CAkey", `${folder}/ca.key`];
    const leaf = name === "ca" ? [] : ["-addext", "basicConstraints=critical,CA:FALSE"];
    const { success } = await new Deno.Command("openssl", {
      args: [
        ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" "),
        ...["-subj", `/CN=${subject}`, "-addext", extension!, ...leaf, ...signer],
        ...["-keyout", `${folder}/${name}.key`, "-out", `${folder}/${name}.pem`],
      ],
      stderr: "null",
    }).output();
    assert.ok(success, "openssl makes a certificate");
  }
}

Deno.test.beforeAll(async () => {
  await makeCertificates();
  server = await startRabbit({
    conf: [
      `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
      `ssl_options.cacertfile = ${folder}/ca.pem`,
      `ssl_options.certfile = ${folder}/server.pem`,
      `ssl_options.keyfile = ${folder}/server.key`,
      "ssl_options.verify = verify_peer",
      "ssl_options.fail_if_no_peer_cert = false",
      ...["PLAIN", "AMQPLAIN", "EXTERNAL"].map((name, n) => `auth_mechanisms.${n} = ${name}`),
      "ssl_cert_login_from = common_name",
    ].join("\n") + "\n",
    plugins: ["rabbitmq_auth_mechanism_ssl"],
  });
  await server.addVhosts(Array.from({ length: 16 }, (_, n) => `u${n}`));
});
Deno.test.afterAll(async () => {
  await server.stop();
  await Deno.remove(folder, { recursive: true });
});

function open(
  more: Record<string, unknown> = {},
  vhost = `u${used++}`,
  port = server.port,
): Promise<Connection> {
  const url = `amqp://guest:guest@127.0.0.1:${port}/${vhost}`;
  return connect(realTestWorld(), url, { ...CONNECT_OPTIONS, ...more });
}

const to = (routingKey: string, text: string, exchangeName = "") => ({
  exchange: exchangeName,
  routingKey,
  message: textMessage(text),
});

Deno.test("amqp: a queue that was deleted under a publisher is declared again, and nothing is lost", async () => {
  const vhost = `u${used++}`;
  await using ours = await open({}, vhost);
  await using theirs = await open({}, vhost);
  await ours.declare(queue("tasks"));
  await theirs.deleteQueue("tasks");
  await Promise.all([ours.publish([to("tasks", "a"), to("tasks", "b")]), ours.publish([to("tasks", "c")])]);
  const texts = [];
  for (let note; (note = await theirs.take("tasks"));) texts.push(textOf(note));
  assert.deepEqual(texts.sort(), ["a", "b", "c"]);
});

Deno.test("amqp: a full queue's refusal reaches the caller", async () => {
  await using connection = await open();
  const small = queue("small", { queueArguments: { "x-max-length": 1, "x-overflow": "reject-publish" } });
  await connection.declare(small);
  await connection.publish([to("small", "a")]);
  await assert.rejects(connection.publish([to("small", "b"), to("small", "c")]), (error: Error) => {
    assert.match(error.message, /refused 2 of 2 messages/);
    return (error as { isRetryable?: boolean }).isRetryable === true;
  });
});

Deno.test("amqp: an exchange that is not there fails the publish, and the next one goes", async () => {
  await using connection = await open();
  await connection.declare(queue("q"));
  await assert.rejects(
    connection.publish([to("k", "a", "nowhere")]),
    /NOT_FOUND - no exchange 'nowhere'.*\(404\)/,
  );
  await connection.publish([to("q", "b")]);
  assert.equal(textOf((await connection.take("q"))!), "b");
  assert.equal(await connection.queueLength("nothing"), null);
  assert.equal(await connection.queueLength("q"), 0);
});

Deno.test("amqp: a queue with other arguments is refused in words; the connection goes on", async () => {
  const vhost = `u${used++}`;
  await using connection = await open({}, vhost);
  await connection.declare(queue("q"));
  await assert.rejects(
    connection.declare(queue("q", { queueArguments: { "x-max-priority": 5 } })),
    /Cannot declare queue "q": PRECONDITION_FAILED - inequivalent arg 'x-max-priority'.*\(406\)/,
  );
  await connection.declareExchange(exchange("news", { type: "topic" }));
  assert.equal(await connection.declare(queue("q")), 0);
});

Deno.test("amqp: wrong password, unknown virtual host, another login method", async () => {
  const url = (user: string, vhost: string) => `amqp://${user}@127.0.0.1:${server.port}/${vhost}`;
  const opening = (target: string, more = {}) =>
    connect(realTestWorld(), target, { ...CONNECT_OPTIONS, ...more });
  await assert.rejects(opening(url("guest:wr0ng", "")), (error: Error) => {
    assert.match(error.message, /ACCESS_REFUSED/);
    assert.ok(!error.message.includes("wr0ng"));
    return error.name === "AccessRefused";
  });
  await assert.rejects(opening(url("guest:guest", "nowhere")), { name: "AccessRefused", message: /nowhere/ });
  await (await opening(url("guest:guest", ""), { loginMethod: "AMQPLAIN" })).close();
  await assert.rejects(opening(url("guest:guest", ""), { loginMethod: "EXTERNAL" }), {
    name: "AccessRefused",
  });
});

Deno.test("amqp: while the broker is short of memory publishers wait and consumers go on", async () => {
  const vhost = `u${used++}`;
  await using publisher = await open({}, vhost);
  await using worker = await open({}, vhost);
  await publisher.declare(queue("q"));
  await publisher.publish([to("q", "a"), to("q", "b")]);
  await server.ctl("set_vm_memory_high_watermark", "absolute", "1MB");
  try {
    let isDone = false;
    const late = publisher.publish([to("q", "c")]).then(() => isDone = true);
    late.catch(() => {});
    const got: string[] = [];
    const tags: (number | string)[] = [];
    const consumer = await worker.consume({
      queues: [queue("q")],
      window: () => 5,
      owner: "x",
      leaseSeconds: 1,
    }, {
      onDeliveries(batch: Delivery[]) {
        for (const one of batch) {
          got.push(textOf(one));
          tags.push(one.tag);
        }
      },
      onUndecodable() {},
      onLost() {},
    });
    await eventually(() => got.length === 2, "both messages");
    for (const tag of tags.splice(0)) consumer.ack(tag);
    await consumer.flush();
    assert.equal(isDone, false);
    await server.ctl("set_vm_memory_high_watermark", "absolute", "2GB");
    await late;
    await eventually(() => got.length === 3, "the third message");
  } finally {
    await server.ctl("set_vm_memory_high_watermark", "absolute", "2GB");
  }
});

Deno.test("amqp: a broker that has stopped is noticed by heartbeat; a cut at once", async () => {
  await using proxy = startProxy(server.port);
  const vhost = `u${used++}`;
  await using stalled = await open({ heartbeatSeconds: 1 }, vhost, proxy.port);
  await stalled.declare(queue("q"));
  proxy.stall();
  const began = performance.now();
  const error = await stalled.lost;
  assert.match(error!.message, /no heartbeat in 2 s/);
  assert.ok(performance.now() - began < 5000);
  proxy.cut();
  await using cut = await open({}, vhost, proxy.port);
  const waiting = cut.queueLength("q").catch((error: Error) => error.name);
  proxy.cut();
  assert.equal((await cut.lost)?.name, "ConnectionLost");
  await waiting;
});

Deno.test("amqp: TLS, by scheme and by setting, with the certificate looked at or not", async () => {
  const opening = (url: string, useSsl: boolean | Record<string, unknown> = false) =>
    connect(realTestWorld(), url, { ...CONNECT_OPTIONS, useSsl });
  const large = "over TLS ".repeat(50_000);
  for (
    const [url, useSsl] of [
      [`amqps://localhost:${tlsPort}/u0?ssl_ca_certs=${folder}/ca.pem`, false],
      [`amqp://localhost:${tlsPort}/u0`, { ca_certs: `${folder}/ca.pem` }],
      [`amqp://localhost:${tlsPort}/u0`, { cert_reqs: "CERT_NONE" }],
    ] as const
  ) {
    await using connection = await opening(url, useSsl);
    await connection.declare(queue("over-tls"));
    await connection.publish([to("over-tls", large)]);
    assert.equal(textOf((await connection.take("over-tls"))!), large);
  }
  await assert.rejects(opening(`amqps://localhost:${tlsPort}/u0`), {
    name: "DialError",
    message: /certificate/i,
  });
});

Deno.test("amqp: EXTERNAL: the client's certificate says who it is", async () => {
  const opening = (certificate: Record<string, string>) =>
    connect(realTestWorld(), `amqps://nobody:wr0ng@localhost:${tlsPort}/u0`, {
      ...CONNECT_OPTIONS,
      loginMethod: "EXTERNAL",
      useSsl: { ca_certs: `${folder}/ca.pem`, ...certificate },
    });
  const ours = { certfile: `${folder}/client.pem`, keyfile: `${folder}/client.key` };
  await using connection = await opening(ours);
  await connection.declare(queue("by-certificate"));
  const users = await server.ctl("-q", "list_connections", "user", "auth_mechanism");
  assert.match(users, /guest\tEXTERNAL/);
  await assert.rejects(opening({}), { name: "AccessRefused" });
});
