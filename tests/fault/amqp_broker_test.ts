/**
 * Goal: what a worker does when RabbitMQ goes away under running tasks, and which of two brokers it works with.
 * Method: workers over a proxy to one RabbitMQ, whose connections are cut; a second RabbitMQ for the failover list.
 */

import assert from "node:assert/strict";
import { App } from "lovage";
import { eventually } from "../support/ports.ts";
import { type Place, type Program, startWorker } from "../support/programs.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type RabbitServer, type RedisServer, startRabbit, startRedis } from "../support/servers.ts";
import { temporaryFolder } from "../support/temporary.ts";

let rabbit: RabbitServer;
let second: RabbitServer;
let redis: RedisServer;
let used = 0;
const folder = temporaryFolder();

Deno.test.beforeAll(async () => {
  [rabbit, second, redis] = await Promise.all([startRabbit(), startRabbit(), startRedis()]);
  await rabbit.addVhosts(Array.from({ length: 6 }, (_, n) => `f${n}`));
});
Deno.test.afterAll(async () => {
  await Promise.all([rabbit?.stop(), second?.stop(), redis?.stop()]);
});

/** A worker's place over a proxy, and an App that goes past it. */
function scene(conf: Record<string, unknown>): { proxy: Proxy; place: Place; app: App } {
  const n = used++;
  const proxy = startProxy(rabbit.port);
  const url = rabbit.url({ vhost: `f${n}` });
  const settings = { result_backend: redis.url(n), worker_prefetch_multiplier: 2, ...conf };
  const app = new App("fault", { broker_url: url, ...settings }, { world: realTestWorld() });
  return {
    proxy,
    place: {
      broker: url.replace(String(rabbit.port), String(proxy.port)),
      backend: redis.url(n),
      conf: settings,
    },
    app,
  };
}

/** Waits until these run and the broker knows it: an answer of the worker goes the way that its acks went before. */
async function allRun(app: App, worker: Program, sent: readonly { id: string }[]): Promise<void> {
  await eventually(
    () => sent.every(({ id }) => new RegExp(`accepted: t\\.\\w+\\[${id}\\]`).test(worker.text)),
    "all run",
  );
  const ping = async () =>
    Object.keys(await app.control.inspect({ timeout: 5, limit: 1 }).ping()).length === 1;
  await eventually(ping, "an answer");
}

/** Tasks that run until `release`, so for as long as a worker needs to find its broker again. */
function holding(count: number): { tasks: { task: string; args: string[] }[]; release(): void } {
  const path = `${folder}/${crypto.randomUUID()}`;
  return {
    tasks: Array.from({ length: count }, () => ({ task: "t.hold", args: [path] })),
    release: () => Deno.writeTextFileSync(path, ""),
  };
}

const count = (text: string, pattern: RegExp) => text.match(new RegExp(pattern, "g"))?.length ?? 0;

Deno.test("a list of two RabbitMQ nodes: the second, and back to the first", async () => {
  const urls = `${rabbit.url()};${second.url()}`;
  const place = { broker: urls, backend: redis.url(9) };
  await using worker = await startWorker(place);
  await using app = new App("fault", { broker_url: urls, result_backend: redis.url(9) }, {
    world: realTestWorld(),
  });
  const works = async () =>
    assert.equal(await (await app.sendTask("t.add", { args: [1, 2] })).get({ timeout: 120 }), 3, worker.text);
  await works();
  await rabbit.ctl("stop_app");
  await works();
  await worker.says(/Will retry using next failover\./);
  await worker.says(new RegExp(`Connected to amqp://guest:\\*\\*@127\\.0\\.0\\.1:${second.port}//`));
  await rabbit.ctl("start_app");
  await second.ctl("stop_app");
  await works();
  assert.equal(
    count(worker.text, new RegExp(`Connected to amqp://guest:\\*\\*@127\\.0\\.0\\.1:${rabbit.port}//`)),
    2,
  );
});

Deno.test("a broker short of memory: who publishes waits, what is queued goes on, and nothing is lost", async () => {
  const { place, proxy, app } = scene({});
  await using _ = app;
  await using __ = proxy;
  await using worker = await startWorker(place, ["-P", "threads", "-c", "2"]);
  await (await app.sendTask("t.add", { args: [1, 2] })).get({ timeout: 120 });
  const queued = await app.sendMany(Array.from({ length: 30 }, () => ({ task: "t.sleep", args: [0.1] })));
  const publishing = await app.sendTask("t.tree");
  await rabbit.ctl("set_vm_memory_high_watermark", "absolute", "1");
  try {
    let isSent = false;
    const late = app.sendTask("t.add", { args: [20, 22] }).finally(() => isSent = true);
    for (const one of queued) assert.equal(await one.get({ timeout: 120 }), 0.1);
    assert.equal(isSent, false, "the broker takes nothing");
    assert.equal(Object.keys(await app.control.inspect({ timeout: 1, limit: 1 }).ping()).length, 0);
    await rabbit.ctl("set_vm_memory_high_watermark", "0.6");
    assert.equal(await (await late).get({ timeout: 120 }), 42);
    const { child } = await publishing.get({ timeout: 120 }) as { child: string };
    assert.equal(await app.AsyncResult(child).get({ timeout: 120 }), 2);
    assert.equal(count(worker.text, /Connection to broker lost/), 0);
  } finally {
    await rabbit.ctl("set_vm_memory_high_watermark", "0.6");
  }
});

Deno.test("the prefetch count is reduced by what runs from before, and restored", async () => {
  const { proxy, place, app } = scene({});
  await using _ = app;
  await using __ = proxy;
  await using worker = await startWorker(place, ["-P", "threads", "-c", "5"], { level: "DEBUG" });
  for (let running = 1; running <= 5; running++) {
    const from = worker.text.length;
    const heard = (pattern: RegExp) =>
      eventually(
        () => pattern.test(worker.text.slice(from)),
        () => `${pattern} in ${worker.text.slice(from)}`,
      );
    const held = holding(running);
    const sent = await app.sendMany(held.tasks);
    await allRun(app, worker, sent);
    proxy.cut();
    const reduced = Math.max(2, 10 - 2 * running);
    await heard(
      new RegExp(
        `Temporarily reducing the prefetch count to ${reduced} to avoid over-fetching since ` +
          `${running} tasks are currently being processed\\.\\nThe prefetch count will be gradually restored to 10`,
      ),
    );
    held.release();
    await heard(/Prefetch count has been restored to the maximum of 10/);
    await heard(/basic\.qos: prefetch_count->10/);
    for (const one of sent) assert.equal(await one.get({ timeout: 120 }), "held");
  }
});

Deno.test("no reduction below one where the multiplier is 1: what is sent meanwhile waits its turn", async () => {
  const { proxy, place, app } = scene({ worker_prefetch_multiplier: 1 });
  await using _ = app;
  await using __ = proxy;
  await using worker = await startWorker(place, ["-P", "threads", "-c", "2"], { level: "DEBUG" });
  const held = holding(2);
  const sent = await app.sendMany(held.tasks);
  await allRun(app, worker, sent);
  proxy.cut();
  const after = await app.sendTask("t.at");
  await worker.says(/Temporarily reducing the prefetch count to 1/);
  const released = Date.now() / 1000;
  held.release();
  for (const one of sent) assert.equal(await one.get({ timeout: 120 }), "held");
  assert.ok(await after.get({ timeout: 120 }) as number > released);
});

Deno.test("long tasks are cancelled when their connection is lost, where that is asked for", async () => {
  const { proxy, place, app } = scene({
    task_acks_late: true,
    worker_cancel_long_running_tasks_on_connection_loss: true,
  });
  await using _ = app;
  await using __ = proxy;
  await using worker = await startWorker(place, ["-P", "processes", "-c", "2"], { level: "DEBUG" });
  const sent = await app.sendMany(Array.from({ length: 2 }, () => ({ task: "t.sleep", args: [420] })));
  await allRun(app, worker, sent);
  proxy.cut();
  const noop = await app.sendTask("t.quiet");
  await worker.says(new RegExp(`t\\.quiet\\[${noop.id}\\] received`));
  assert.equal(count(worker.text, /cannot be acknowledged after a connection loss/), 2);
  // They come again, being acknowledged late; forgotten, they are discarded.
  app.control.revoke(sent.map(({ id }) => id), { terminate: true });
});

// Last: it changes the broker's settings.
Deno.test("a task longer than consumer_timeout is not run twice, and acknowledged in the end", async () => {
  await rabbit.ctl(
    "eval",
    "[application:set_env(rabbit, K, V) || {K, V} <- [{consumer_timeout, 1000}, {channel_tick_interval, 300}]].",
  );
  const { proxy, place, app } = scene({ task_acks_late: true });
  await using _ = app;
  await using __ = proxy;
  await using worker = await startWorker(place, ["-P", "threads", "-c", "1"]);
  const sent = await app.sendTask("t.sleep", { args: [3] });
  assert.equal(await sent.get({ timeout: 120 }), 3);
  await worker.says(/RabbitMQ has closed the channel because a task ran longer than its consumer_timeout/);
  await worker.stop();
  assert.equal(count(worker.text, /t\.sleep\[.*succeeded/), 1);
  const next = await startWorker(place, ["-P", "solo", "--burst"], { isReady: false });
  assert.equal((await next.ended).code, 0);
  assert.equal(count(next.text, /received/), 0, next.text);
});
