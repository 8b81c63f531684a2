/** Stamps: on calls, through chains over several workers of both languages, by visitors, on replaced tasks. */

import assert from "node:assert/strict";
import { chain, group } from "lovage";
import { canvasApp } from "../support/canvas_tasks.ts";
import { environment, type Place, Program, startWorker } from "../support/programs.ts";
import { requirePython, startRedis } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";
import { temporaryFile } from "../support/temporary.ts";

const support = filePath(new URL("../support/", import.meta.url));

Deno.test("stamps", async (t) => {
  await requirePython();
  await using redis = await startRedis();
  const log = temporaryFile();
  const place: Place = { broker: redis.url(0), backend: redis.url(0), env: { TEST_LOG: log } };
  const app = `${support}canvas_tasks.ts`;
  const workers = await Promise.all([
    startWorker(place, ["-P", "solo", "-Q", "one,celery", "-n", "one@%h"], { app }),
    startWorker(place, ["-P", "solo", "-Q", "two", "-n", "two@%h"], { app }),
    startPython(place),
  ]);
  await using client = canvasApp({ broker_url: place.broker, result_backend: place.backend });
  const stamps = (queue: string, ...args: unknown[]) => client.signature("c.stamps", { queue, args });
  const step = (queue: string, label: string) => client.signature("c.step", { queue, args: [`x/${label}`] });

  await t.step("a call's stamp reaches the worker", async () => {
    const sent = await stamps("one").stamp({ stamp: 42 }).delay();
    assert.deepEqual(await sent.get({ timeout: 120 }), { stamp: 42 });
  });

  await t.step("a chain over two workers: the common stamp, and each step's own", async () => {
    const canvas = chain(stamps("one").stamp({ stamp1: 1 }), stamps("two").stamp({ stamp2: 2 })).stamp({
      common: 0,
    });
    const sent = await canvas.delay();
    assert.deepEqual(await sent.get({ timeout: 120 }), { stamp2: 2, common: 0 });
    const first = (sent as unknown as { parent: { get(): Promise<unknown> } }).parent;
    assert.deepEqual(await first.get(), { stamp1: 1, common: 0 });
  });

  await t.step("a group's members", async () => {
    const sent = await group(stamps("one"), stamps("two")).stamp({ stamp: [1, 2] }).delay();
    assert.deepEqual(await sent.get({ timeout: 120 }), [{ stamp: [1, 2] }, { stamp: [1, 2] }]);
  });

  await t.step("a visitor's stamps for callbacks are the callbacks' alone", async () => {
    const main = stamps("one");
    main.link(stamps("two").stamp({ own: "callback" }));
    main.stamp({
      visitor: { onSignature: () => ({ onSignature: 1 }), onCallback: () => ({ onCallback: 2 }) },
    });
    const sent = await main.delay();
    assert.deepEqual(await sent.get({ timeout: 120 }), { onSignature: 1 });
    const [callback] =
      await (sent as unknown as { children(): Promise<{ get(o: unknown): Promise<unknown> }[]> })
        .children();
    const wanted = { own: "callback", onSignature: 1, onCallback: 2 };
    assert.deepEqual(await callback!.get({ timeout: 120 }), wanted);
  });

  await t.step("a replaced task keeps its stamps, and gets those of what replaces it", async () => {
    const sent = await client.signature("c.swapStamped", { queue: "one" }).stamp({ stamp: 42 }).delay();
    assert.deepEqual(await sent.get({ timeout: 120 }), { stamp: 42, fresh: 1 });
  });

  await t.step("Celery 5.2 in the middle of a stamped chain simply works", async () => {
    const canvas = chain(step("one", "a"), step("py", "b"), step("two", "c")).stamp({ customer: 42 });
    assert.equal(await (await canvas.delay()).get({ timeout: 120 }), "c(b(a()))");
  });

  await Promise.all(workers.map((worker) => worker.stop()));
});

async function startPython(place: Place): Promise<Program> {
  const options = ["-l", "INFO", "-P", "solo", "-Q", "py", "--without-gossip", "--without-mingle"];
  const argv = ["/usr/bin/python3", "-m", "celery", "-A", "canvas_tasks", "worker", ...options];
  const worker = new Program(argv, environment(place), support);
  await worker.says(/ ready\./);
  return worker;
}
