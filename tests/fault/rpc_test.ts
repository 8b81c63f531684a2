/**
 * Results over `rpc://` while the client's connection is away: they wait in its queue, and each is told once.
 *
 * The client reaches a RabbitMQ through a proxy that cuts and stalls, the worker without it.
 */

import assert from "node:assert/strict";
import { App } from "lovage";
import { eventually } from "../support/ports.ts";
import { startWorker } from "../support/programs.ts";
import { startProxy } from "../support/proxy.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRabbit } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";

Deno.test("rpc: results that come while the client is away are heard when it is back; its queue goes with it", async (t) => {
  await using rabbit = await startRabbit();
  await using proxy = startProxy(rabbit.port);
  await using folder = await disposableFolder();
  await using worker = await startWorker({ broker: rabbit.url(), backend: "rpc://" }, [
    "-P",
    "async",
    "-c",
    "50",
  ]);
  const world = realTestWorld();
  const broker_url = `amqp://guest:guest@127.0.0.1:${proxy.port}//`;
  const queues = async () =>
    (await rabbit.ctl("list_queues", "-q", "--no-table-headers", "name", "messages")).split("\n")
      .map((line) => line.split("\t"));

  /** Sends tasks that end when the client is away, and looks at what is told when it is back. `back` has the queue. */
  async function whileAway(
    conf: Record<string, unknown>,
    away: () => void,
    back: (queue: string, count: number) => void | Promise<void>,
  ): Promise<void> {
    await using app = new App("shop", { broker_url, result_backend: "rpc://", ...conf }, { world });
    const path = `${folder.path}/${world.random.id()}`;
    const sent = await app.sendMany(Array.from({ length: 20 }, () => ({ task: "t.hold", args: [path] })));
    const told: string[] = [];
    const values = sent.map((one) => one.get({ onMessage: (meta) => told.push(meta.taskId) }));
    const { replyTo } = await app.openBackend();
    away();
    await Deno.writeTextFile(path, "");
    await back(replyTo!, sent.length);
    assert.deepEqual(await Promise.all(values), sent.map(() => "held"));
    assert.deepEqual(told.sort(), sent.map(({ id }) => id).sort());
    await app.close();
    assert.ok(!(await queues()).some(([name]) => name === replyTo), "the queue goes with its client");
  }

  await t.step("cut off", () =>
    whileAway({}, () => {
      proxy.refuse();
      proxy.cut();
    }, async (queue, count) => {
      await eventually(
        async () => (await queues()).some(([name, messages]) => name === queue && Number(messages) === count),
        "the results wait in the client's queue",
        { everyMs: 500 },
      );
      proxy.accept();
    }));

  await t.step(
    "a connection that is open and carries nothing: heartbeats tell, and the new consumer comes first",
    () =>
      whileAway({ broker_heartbeat: 2 }, () => proxy.stall(), () => {
        // The broker still takes the stalled consumer for alive.
      }),
  );

  assert.equal(await worker.stop(), 0, worker.text);
});
