/** What AMQP's connection promises beyond the common suite, on a real RabbitMQ. */

import assert from "node:assert/strict";
import {
  connect,
  type Connection,
  type Delivery,
  exchange,
  type OutgoingMessage,
  PublishError,
  queue,
} from "../../../../lib/transport/mod.ts";
import { textMessage, textOf } from "../../../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";
import { eventually, freePort } from "../../../support/ports.ts";
import { startProxy } from "../../../support/proxy.ts";
import { realTestWorld } from "../../../support/real_test_world.ts";
import { type RabbitServer, startRabbit } from "../../../support/servers.ts";
import { temporaryFolder } from "../../../support/temporary.ts";

const MESSAGE_BYTES_MAX = 1_000_000;

let server: RabbitServer;
let used = 0;
const folder = temporaryFolder();
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
      `max_message_size = ${MESSAGE_BYTES_MAX}`,
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
  await server.addVhosts(Array.from({ length: 24 }, (_, n) => `u${n}`));
});
Deno.test.afterAll(async () => {
  await server?.stop();
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
  isMandatory: true,
});

async function takeAll(connection: Connection, queueName: string): Promise<string[]> {
  const texts: string[] = [];
  for (let note; (note = await connection.take(queueName));) texts.push(textOf(note));
  return texts;
}

Deno.test("amqp: a queue that was deleted under a publisher is declared again, and nothing is lost", async () => {
  const vhost = `u${used++}`;
  await using ours = await open({}, vhost);
  await using theirs = await open({}, vhost);
  await ours.declare(queue("tasks"));
  await theirs.deleteQueue("tasks");
  await Promise.all([ours.publish([to("tasks", "a"), to("tasks", "b")]), ours.publish([to("tasks", "c")])]);
  assert.deepEqual((await takeAll(theirs, "tasks")).sort(), ["a", "b", "c"]);
});

Deno.test("amqp: what no queue gets is its sender's error, unless it may reach nobody", async () => {
  await using connection = await open();
  const media = exchange("media", { type: "topic" });
  await connection.declare(queue("video", { exchange: media, routingKey: "video.#" }));
  const nowhere = (error: Error) => {
    assert.ok(error instanceof PublishError);
    assert.equal(error.isRetryable, false);
    return error.message;
  };
  await assert.rejects(connection.publish([to("audio.mp3", "a", "media")]), (error: Error) => {
    assert.match(
      nowhere(error),
      /Cannot publish to exchange "media": no queue .* "audio.mp3" \(NO_ROUTE, 312\)/,
    );
    return true;
  });
  await assert.rejects(connection.publish([to("gone", "a")]), (error: Error) => {
    assert.match(nowhere(error), /Cannot publish to queue "gone": there is no such queue/);
    return true;
  });
  const batch = [to("video.mp4", "b", "media"), to("audio.mp3", "c", "media"), to("video.ogg", "d", "media")];
  await assert.rejects(connection.publish(batch), (error: PublishError) => {
    assert.deepEqual(error.unpublished, [batch[1]]);
    return true;
  });
  await connection.publish([{ ...to("audio.mp3", "e", "media"), isMandatory: false }]);
  assert.deepEqual(await takeAll(connection, "video"), ["b", "d"]);
  // A binding that was removed is made again, as a queue is.
  await connection.deleteQueue("video");
  await connection.declare(queue("video", { exchange: media, routingKey: "video.#" }));
  await connection.publish([to("video.mp4", "f", "media")]);
  assert.deepEqual(await takeAll(connection, "video"), ["f"]);
});

Deno.test("amqp: one message that the broker refuses costs the others nothing", async () => {
  await using connection = await open();
  await connection.declare(queue("q"));
  await connection.declare(queue("bound", { exchange: exchange("known", { autoDelete: true }) }));
  const all = async (bad: OutgoingMessage, good: (n: number) => OutgoingMessage) => {
    const sending = Array.from({ length: 40 }, (_, n) => connection.publish([n === 20 ? bad : good(n)]));
    const refused = (await Promise.allSettled(sending)).flatMap((one, n) =>
      one.status === "rejected" ? [n] : []
    );
    assert.deepEqual(refused, [20]);
  };
  const good = (n: number) => to("q", `${n}`);
  const want = Array.from({ length: 40 }, (_, n) => `${n}`).filter((text) => text !== "20");
  // Larger than this server takes; to an exchange that is not there.
  for (const bad of [to("q", "z".repeat(MESSAGE_BYTES_MAX + 1)), to("q", "x", "nowhere")]) {
    await all(bad, good);
    assert.deepEqual(await takeAll(connection, "q"), want);
  }
  // An exchange that was there at the last message: each batch that was open is sent again, at least once.
  await connection.publish([to("bound", "first", "known")]);
  // It goes with its last binding.
  await connection.deleteQueue("bound");
  await all(to("bound", "x", "known"), good);
  assert.deepEqual([...new Set(await takeAll(connection, "q"))].sort(), [...want].sort());
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

Deno.test("amqp: a queue that is not to be declared, or may not be, is used as it is", async () => {
  const vhost = `u${used++}`;
  await using theirs = await open({}, vhost);
  await theirs.declare(queue("ops", { queueArguments: { "x-max-priority": 5 } }));
  await theirs.publish([to("ops", "a")]);
  await using ours = await open({}, vhost);
  assert.equal(await ours.declare(queue("ops", { noDeclare: true })), 1);
  await assert.rejects(ours.declare(queue("none", { noDeclare: true })), /no queue 'none'.*\(404\)/);
  await ours.declareExchange(exchange("absent", { noDeclare: true }));
  // A user that may declare nothing.
  await server.ctl("add_user", "app", "app");
  await server.ctl("set_permissions", "-p", vhost, "app", "^$", ".*", ".*");
  const world = realTestWorld();
  await using theirApp = await connect(
    world,
    `amqp://app:app@127.0.0.1:${server.port}/${vhost}`,
    CONNECT_OPTIONS,
  );
  assert.equal(await theirApp.declare(queue("ops")), 1);
  await theirApp.publish([to("ops", "b")]);
  await assert.rejects(theirApp.declare(queue("none")), { name: "AccessRefused" });
  assert.deepEqual(await takeAll(theirApp, "ops"), ["a", "b"]);
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
  const error = await stalled.lost;
  assert.match(error!.message, /no heartbeat in 2 s/);
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

Deno.test("amqp: an exclusive queue that another connection has: the listener takes a name of its own", async () => {
  const vhost = `u${used++}`;
  await using one = await open({}, vhost);
  await using two = await open({}, vhost);
  const box = queue("w@h.celery.pidbox", {
    exchange: exchange("celery.pidbox", { type: "fanout", durable: false }),
    routingKey: "",
    durable: false,
    exclusive: true,
    autoDelete: true,
  });
  const heard: string[] = [];
  for (const [name, connection] of [["one", one], ["two", two]] as const) {
    await connection.subscribe(box, (note) => heard.push(`${name} ${textOf(note)}`));
  }
  await one.publish([{ exchange: "celery.pidbox", routingKey: "", message: textMessage("x") }]);
  await eventually(() => heard.length === 2, () => `both hear it: ${heard}`);
  assert.deepEqual(heard.sort(), ["one x", "two x"]);
  // What is another connection's is none of ours.
  assert.equal(await two.queueLength("w@h.celery.pidbox"), null);
  assert.equal(await two.purge("w@h.celery.pidbox"), 0);
  assert.equal(await one.queueLength("w@h.celery.pidbox"), 0);
});

Deno.test("amqp: a queue without a type and a classic one are the same to RabbitMQ", async () => {
  await using connection = await open({}, `u${used++}`);
  const classic = (name: string) => queue(name, { queueArguments: { "x-queue-type": "classic" } });
  await connection.declare(queue("a"));
  await connection.declare(classic("a"));
  await connection.declare(classic("b"));
  await connection.declare(queue("b"));
});
