/**
 * Brokers that are not installed here, played by a proxy in front of RabbitMQ 3.10: RabbitMQ 4.3 under every command,
 * a virtual host whose queues are quorum queues by default, LavinMQ without disk space. And credentials that rotate.
 *
 * One RabbitMQ serves the whole file; every test has a virtual host of its own.
 */

import assert from "node:assert/strict";
import { App } from "lovage";
import {
  connect,
  type Connection,
  type Consumer,
  type Delivery,
  type Queue,
  queue,
} from "../../lib/transport/mod.ts";
import { textMessage, textOf } from "../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";
import { eventually } from "../support/ports.ts";
import { lovage, type Place, Program, startWorker, TASKS } from "../support/programs.ts";
import { environment, LOVAGE } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type AmqpProxy, type RabbitServer, startAmqpProxy, startRabbit } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";
import type { ProxySeen } from "../support/amqp_proxy.ts";

let rabbit: RabbitServer;
let used = 0;

Deno.test.beforeAll(async () => {
  rabbit = await startRabbit();
  await rabbit.addVhosts(Array.from({ length: 8 }, (_, n) => `b${n}`));
});
Deno.test.afterAll(() => rabbit?.stop());

/** A virtual host of one test's own, reached through a proxy; null: without one. */
function urlOf(proxy: AmqpProxy | null, login = "guest:guest"): string {
  return `amqp://${login}@127.0.0.1:${proxy?.port ?? rabbit.port}/b${used++}`;
}

/** Fails where a client of ours asked for what RabbitMQ 4.3 has no more. */
function assertNothingWithdrawn({ calls, refusals }: ProxySeen): void {
  assert.deepEqual(refusals, []);
  const wrong = calls.filter(({ name, args }) => {
    if (name === "basic.qos") return args["global"] === true;
    return name === "queue.declare" && !args["passive"] && !args["durable"] && !args["exclusive"];
  });
  assert.deepEqual(wrong, []);
}

Deno.test("RabbitMQ 4.3: workers and every command, none of which asks for what it has withdrawn", async (t) => {
  await using proxy = await startAmqpProxy(rabbit.port);
  await using folder = await disposableFolder();
  const conf = {
    task_queues: { celery: {}, news: { broadcast: true } },
    beat_schedule: { often: { task: "t.add", schedule: 1, args: [1, 2] } },
  };
  const place: Place = { broker: urlOf(proxy), backend: "rpc://", conf };
  await using first = await startWorker(place, ["-P", "solo", "-E", "-n", "first@rabbit4"]);
  await using second = await startWorker(place, ["-P", "solo", "-E", "-n", "second@rabbit4"]);
  const run = async (...args: string[]) => {
    const { code, out, err } = await lovage(["-A", TASKS, ...args], place);
    assert.equal(code, 0, `${args}: ${out}${err}`);
    return out;
  };
  await t.step("remote control, by an app and by the URL alone", async () => {
    assert.match(await run("status"), /2 nodes online/);
    const { code, out } = await lovage(["-b", place.broker!, "inspect", "ping", "--json"], {});
    assert.equal(code, 0);
    assert.deepEqual(Object.keys(JSON.parse(out)).sort(), ["first@rabbit4", "second@rabbit4"]);
    await run("inspect", "stats");
    await run("control", "add_consumer", "more");
    assert.match(await run("inspect", "active_queues"), /'name': 'more'/);
    await run("control", "cancel_consumer", "more");
  });
  await t.step("gossip and mingle", async () => {
    await first.says(/sync with|mingle: all alone/);
    await second.says(/mingle: sync with 1 nodes|mingle: sync complete/);
  });
  await t.step("results as messages, countdown, a broadcast", async () => {
    assert.equal(await run("call", "t.add", "-a", "[1,2]", "--wait"), "3\n");
    await using app = new App("interop", {
      ...conf,
      broker_url: place.broker!,
      result_backend: "rpc://",
    }, { world: realTestWorld() });
    const began = Date.now() / 1000;
    const ran = await (await app.sendTask("t.at", { countdown: 1.5 })).get({ timeout: 120 }) as number;
    assert.ok(ran - began >= 1.4, `ran ${ran - began} s after sending`);
    const { id } = await app.sendTask("t.echo", { args: ["all"], queue: "news" });
    for (const worker of [first, second]) await worker.says(new RegExp(`\\[${id}\\] succeeded`));
  });
  await t.step("events, beat, the other commands", async () => {
    await using events = new Program([...LOVAGE, "-A", TASKS, "events", "--json"], environment(place));
    await using beat = new Program(
      [...LOVAGE, "-A", TASKS, "beat", "-l", "INFO", "-s", `${folder.path}/schedule`, "--pidfile="],
      environment(place),
    );
    await beat.says(/Sending due task often/);
    await events.says(/"type": ?"task-succeeded"/);
    assert.match(await run("list", "bindings"), /celery +celery +celery/);
    await run("report");
    await run("dead", "list");
    await run("failed", "list");
    assert.equal(await beat.stop(), 0);
  });
  await t.step("after all connections were cut", async () => {
    await proxy.cut();
    for (const worker of [first, second]) await worker.says(/Connection to broker lost[^]*Connected to amqp/);
    await eventually(
      async () => /2 nodes online/.test((await lovage(["-A", TASKS, "status"], place)).out),
      "both",
      {
        everyMs: 200,
      },
    );
    assert.equal(await run("call", "t.add", "-a", "[2,2]", "--wait"), "4\n");
  });
  for (const worker of [first, second]) assert.equal(await worker.stop(), 0);
  await run("purge", "-f");
  const seen = await proxy.seen();
  assertNothingWithdrawn(seen);
  const declared = (part: string) =>
    seen.calls.filter(({ name, args }) =>
      name === "queue.declare" && !args["passive"] && String(args["queue"]).includes(part)
    );
  for (const part of ["first@rabbit4.", ".reply.celery.pidbox", "celeryev.", "bcast."]) {
    assert.ok(declared(part).length > 0, `${part} is declared`);
    for (const { args } of declared(part)) assert.equal(args["exclusive"], true, String(args["queue"]));
  }
});

Deno.test("RabbitMQ 4.3: what it refuses ends a worker with the broker's words and what to change", async () => {
  await using proxy = await startAmqpProxy(rabbit.port);
  const cases: [Record<string, unknown>, RegExp][] = [
    [
      { control_queue_exclusive: false },
      /Cannot declare queue "w@h\.celery\.pidbox": INTERNAL_ERROR .*\(541\); set control_queue_exclusive to true$/m,
    ],
    [
      { task_queues: { celery: { queue_arguments: { "x-queue-mode": "lazy" } } } },
      /Cannot declare queue "celery": PRECONDITION_FAILED .*\(406\); remove "x-queue-mode" from its queue_arguments$/m,
    ],
  ];
  const broker = urlOf(proxy);
  for (const [conf, line] of cases) {
    const { code, out, err } = await lovage(
      ["-A", TASKS, "worker", "-P", "solo", "-n", "w@h", "-l", "INFO"],
      { broker, backend: "rpc://", conf },
    );
    assert.match(out + err, line);
    assert.equal(code, 64);
  }
});

Deno.test("a queue that a worker may not consume from ends it at its start; later it tries until it may", async () => {
  const broker = urlOf(null, "reader:reader");
  const vhost = broker.slice(broker.lastIndexOf("/") + 1);
  const permit = (read: string) => rabbit.ctl("set_permissions", "-p", vhost, "reader", ".*", ".*", read);
  await rabbit.ctl("add_user", "reader", "reader");
  const refusal = 'Cannot consume from queue "secret": ACCESS_REFUSED';
  const exchange = { exchange: "shared", exchange_type: "direct" };
  const conf = { task_queues: { celery: exchange, secret: { ...exchange, routing_key: "secret" } } };
  const place: Place = { broker, backend: "rpc://", conf };
  const args = ["-P", "solo", "-n", "w@h", "-l", "INFO"];

  await permit("^(?!secret).*");
  const { code, out, err } = await lovage(["-A", TASKS, "worker", ...args], place);
  assert.match(out + err, new RegExp(`Unrecoverable error: ${refusal}`));
  assert.doesNotMatch(out + err, /ready\./);
  assert.equal(code, 69);

  await permit(".*");
  await using worker = await startWorker(place, args);
  await permit("^(?!secret).*");
  await rabbit.ctl("close_all_connections", "-p", vhost, "test");
  await worker.says(new RegExp(refusal));
  await permit(".*");
  const call = ["call", "t.add", "-a", "[1, 2]", "--queue", "secret", "--wait"];
  const { out: printed, err: complaint } = await lovage(["-A", TASKS, ...call], place);
  assert.match(printed, /^3$/m, complaint);
});

Deno.test("quorum by default: what is not due waits in the broker, and nobody holds it", async () => {
  await using proxy = await startAmqpProxy(rabbit.port, { version: "4.2.3", isQuorumByDefault: true });
  const place: Place = { broker: urlOf(proxy), backend: "rpc://" };
  const vhost = place.broker!.slice(place.broker!.lastIndexOf("/") + 1);
  await using worker = await startWorker(place, ["-P", "solo", "-n", "w@h"]);
  await using app = new App("interop", {
    broker_url: place.broker!,
    result_backend: "rpc://",
  }, { world: realTestWorld() });
  const began = Date.now() / 1000;
  const late = await app.sendTask("t.at", { countdown: 5 });
  await app.sendTask("t.at", { countdown: 600 });
  assert.equal(await (await app.sendTask("t.retry", { args: [1, 1] })).get({ timeout: 120 }), 1);
  const { out } = await lovage(["-b", place.broker!, "inspect", "scheduled", "--json"], {});
  assert.deepEqual(JSON.parse(out), { "w@h": [] });
  let types = "";
  // RabbitMQ counts a quorum queue's messages every five seconds.
  await eventually(
    async () => {
      types = await rabbit.ctl("-q", "list_queues", "-p", vhost, "name", "type", "messages");
      // Of 600 seconds 512 are waited for first.
      return /^celery_delayed_9\t.*quorum\t1$/m.test(types);
    },
    () => types,
    { everyMs: 500 },
  );
  assert.match(types, /^celery\t.*quorum/m);
  const ran = await late.get({ timeout: 120 }) as number;
  assert.ok(ran - began >= 4.9, `ran ${ran - began} s after sending`);
  await app.close();
  assert.equal(await worker.stop(), 0);
  assertNothingWithdrawn(await proxy.seen());
});

/** A consumer of one queue, which acknowledges when it is asked to. */
class Receiving implements AsyncDisposable {
  #consumer: Consumer;
  #got: Delivery[];
  #acked = 0;

  private constructor(consumer: Consumer, got: Delivery[]) {
    this.#consumer = consumer;
    this.#got = got;
  }

  static async start(connection: Connection, from: Queue, got: Delivery[]): Promise<Receiving> {
    const options = { queues: [from], window: () => 1000 - got.length, owner: "me", leaseSeconds: 30 };
    const consumer = await connection.consume(options, {
      onDeliveries: (batch) => void got.push(...batch),
      onUndecodable: () => {},
      onLost: () => {},
    });
    return new Receiving(consumer, got);
  }

  async acknowledged(): Promise<void> {
    for (; this.#acked < this.#got.length; this.#acked++) this.#consumer.ack(this.#got[this.#acked]!.tag);
    await this.#consumer.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer.close();
  }
}

Deno.test("LavinMQ: low on disk space, publishers wait and workers go on; nothing is lost or doubled", async () => {
  await using proxy = await startAmqpProxy(rabbit.port, { product: "LavinMQ", version: "2.4.0" });
  const url = urlOf(proxy);
  const world = realTestWorld();
  await using sender = await connect(world, url, CONNECT_OPTIONS);
  await using receiver = await connect(realTestWorld(), url, CONNECT_OPTIONS);
  const tasks = queue("tasks");
  await sender.declare(tasks);
  const message = (n: number) => ({
    exchange: "",
    routingKey: "tasks",
    message: textMessage(String(n)),
    queue: tasks,
  });
  await sender.publish([message(0)]);
  await proxy.setLowOnDisk(true);
  const sent = Array.from({ length: 50 }, (_, n) => sender.publish([message(2 * n + 1), message(2 * n + 2)]));
  await eventually(async () => (await proxy.seen()).refusedPublishes > 0, "a publish is refused");
  const got: Delivery[] = [];
  await using consumer = await Receiving.start(receiver, tasks, got);
  await eventually(() => got.length === 1, "what was there is received");
  await consumer.acknowledged();
  await proxy.setLowOnDisk(false);
  await Promise.all(sent);
  await eventually(() => got.length >= 101, () => `all: ${got.length}`);
  await consumer.acknowledged();
  const numbers = got.map((delivery) => Number(textOf(delivery))).sort((a, b) => a - b);
  assert.deepEqual(numbers, Array.from({ length: 101 }, (_, n) => n));
  assert.deepEqual(world.log.messages(), [
    "The broker accepts no messages for now: low on disk space",
    "The broker accepts messages again",
  ]);
  assertNothingWithdrawn(await proxy.seen());
});

Deno.test("credentials that rotate: the password changes while tasks run; none is lost", async () => {
  const [count, rounds] = [600, 3];
  await using folder = await disposableFolder();
  const [secret, command] = [`${folder.path}/secret`, `${folder.path}/password`];
  await Deno.writeTextFile(command, `#!/bin/sh\nexec cat ${secret}\n`, { mode: 0o700 });
  const url = urlOf(null, "rotating");
  const vhost = url.slice(url.lastIndexOf("/") + 1);
  const change = async (password: string) => {
    // Somebody who rotates changes two places, one after the other.
    await Deno.writeTextFile(`${secret}.new`, `${password}\n`);
    await Deno.rename(`${secret}.new`, secret);
    await rabbit.ctl(
      "eval",
      `rabbit_auth_backend_internal:change_password(<<"rotating">>, <<"${password}">>, <<"test">>), ` +
        `[rabbit_networking:close_connection(Pid, "rotated") || Pid <- rabbit_networking:connections()].`,
    );
  };
  await Deno.writeTextFile(secret, "first\n");
  await rabbit.ctl("add_user", "rotating", "first");
  await rabbit.ctl("set_permissions", "-p", vhost, "rotating", ".*", ".*", ".*");
  // The worker asks a function, whose passwords expire soon; the client a program.
  const module = `${folder.path}/tasks.ts`;
  await Deno.writeTextFile(
    module,
    `import { App } from "lovage";
    const read = async () => (await Deno.readTextFile("${secret}")).trim();
    const credentials = async () => ({ username: "rotating", password: await read(), expires: 2 });
    export const app = new App("interop", {
      broker_url: "${url}",
      result_backend: "rpc://",
      task_acks_late: true,
      broker_transport_options: { credentials },
    });
    app.task("t.add", (x: number, y: number) => x + y);`,
  );
  await using worker = await startWorker({}, ["-P", "solo", "-n", "w@h"], { app: module });
  const world = realTestWorld();
  await using app = new App("interop", {
    broker_url: url,
    broker_transport_options: { password_command: command },
  }, { world });
  const ids: string[] = [];
  const sending = (async () => {
    for (let n = 0; n < count; n++) {
      ids.push((await app.sendTask("t.add", { args: [n, n] })).id);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  for (let round = 0; round < rounds; round++) {
    await eventually(() => ids.length > count * (round + 1) / (rounds + 1), "some are sent");
    await change(`next${round}`);
  }
  await sending;
  const missing = () => ids.filter((id) => !worker.text.includes(`[${id}] succeeded`));
  await eventually(() => missing().length === 0, () => `missing: ${missing().length}`);
  assert.equal(ids.length, count);
  assert.match(worker.text, /Connection to broker lost/);
  assert.doesNotMatch(worker.text, /Cannot renew/);
  // After a reconnect the worker takes tasks a moment before it listens to remote control, so it is asked again.
  const ask = ["inspect", "stats", "--json", "--destination", "w@h", "--timeout", "5"];
  const stats = await eventually(
    async () => {
      const answer = await lovage(["-A", module, ...ask], {});
      return answer.code === 0 ? answer : null;
    },
    () => `an answer: ${worker.text.slice(-4000)}`,
  );
  const { credentials } = JSON.parse(stats.out)["w@h"].broker.transport_options;
  assert.equal(credentials, "<function credentials>");
  for (const text of [worker.text, stats.out, ...world.log.messages()]) {
    assert.doesNotMatch(text, /first|next\d/);
  }
});
