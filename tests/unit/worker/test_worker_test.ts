/** The in-process worker with which users test their tasks. */

import assert from "node:assert/strict";
import { App, type AsyncResult, chain, chord, group, TestWorker } from "lovage";
import { fileUrl } from "../../../lib/base/mod.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

function shop() {
  const app = new App("shop", {
    broker_url: "redis://127.0.0.1:1/0",
    result_backend: "redis://127.0.0.1:1/0",
  }, {
    world: realTestWorld(),
  });
  const add = app.task("shop.add", (x: number, y: number) => x + y);
  const sum = app.task("shop.sum", (all: number[]) => all.reduce((a, b) => a + b, 0));
  const fail = app.task("shop.fail", (): number => {
    throw new TypeError("no");
  });
  return { app, add, sum, fail };
}

Deno.test("TestWorker: calls, canvas and failures over memory, whatever the app's broker", async () => {
  const { app, add, sum, fail } = shop();
  {
    await using _worker = await TestWorker.start(app);
    assert.equal(await (await add.delay(1, 2)).get({ timeout: 5 }), 3);
    assert.equal(await (await chain(add.s(1, 2), add.s(3)).delay()).get({ timeout: 5 }), 6);
    assert.deepEqual(await (await group(add.s(1, 1), add.s(2, 2)).delay()).get({ timeout: 5 }), [2, 4]);
    assert.equal(await (await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay()).get({ timeout: 5 }), 6);
    await assert.rejects(async () => await (await fail.delay()).get({ timeout: 5 }), TypeError);
    const broken = await chord([add.s(1, 1), fail.si()], sum.s()).delay();
    await assert.rejects(async () => await broken.get({ timeout: 5 }), TypeError);
  }
  assert.equal(app.conf.broker_url, "redis://127.0.0.1:1/0");
});

Deno.test("TestWorker: one after the other, and two at a time", async () => {
  const one = shop();
  for (let n = 0; n < 2; n++) {
    await using worker = await TestWorker.start(one.app);
    assert.equal(await (await one.add.delay(n, 2)).get({ timeout: 5 }), n + 2);
    await worker.stop();
  }
  const two = shop();
  await using _first = await TestWorker.start(one.app);
  await using _second = await TestWorker.start(two.app);
  const results = await Promise.all([one.add.delay(1, 1), two.add.delay(2, 2)]);
  assert.deepEqual(await Promise.all(results.map((one) => one.get({ timeout: 5 }))), [2, 4]);
});

Deno.test("TestWorker: what a call led to: iterdeps, collect, graph", async () => {
  const { app, add } = shop();
  await using _worker = await TestWorker.start(app);
  const sent = await chain(add.s(1, 2), group(add.s(10), add.s(20))).delay();
  assert.deepEqual(await sent.get({ timeout: 5 }), [13, 23]);
  const first = (sent as unknown as { parent: AsyncResult }).parent;
  const values = [];
  for await (const [, value] of first.collect({ timeout: 5 })) values.push(value);
  assert.deepEqual(values, [3, [13, 23], 13, 23]);
  const graph = await first.graph();
  assert.deepEqual([...graph.values()].map((children) => children.length), [1, 2, 0, 0]);
  const never = app.AsyncResult("00000000-0000-0000-0000-000000000000");
  await assert.rejects(async () => {
    for await (const _ of never.iterdeps()) { /* walked to its end */ }
  }, { name: "IncompleteStream" });
});

Deno.test("TestWorker: sandboxed tasks have only the permissions they declare", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/data`, "for you");
    // The App in one module, a task of it in another.
    Deno.writeTextFileSync(
      `${folder}/app.ts`,
      `import { App } from "lovage";
export const app = new App("shop");
export const read = app.task("shop.read", { permissions: { read: ["${folder}/data"] } }, (path: string) =>
  Deno.readTextFileSync(path));`,
    );
    Deno.writeTextFileSync(
      `${folder}/more.ts`,
      `import { app, read } from "./app.ts";
export const sends = app.task("shop.sends", { permissions: { send: ["shop.read"] } }, async (path: string) =>
  (await read.delay(path)).id.length);
export const lacks = app.task("shop.lacks", { permissions: {} }, async () => (await read.delay("")).id);`,
    );
    const { app, read } = await import(fileUrl(`${folder}/app.ts`));
    const { sends, lacks } = await import(fileUrl(`${folder}/more.ts`));
    await using _worker = await TestWorker.start(app);
    const wait = { timeout: 20 };
    assert.equal(await (await read.delay(`${folder}/data`)).get(wait), "for you");
    assert.equal(await (await sends.delay(`${folder}/data`)).get(wait), 36);
    const name = "NotCapable";
    await assert.rejects(async () => await (await read.delay(`${folder}/more.ts`)).get(wait), { name });
    await assert.rejects(async () => await (await lacks.delay()).get(wait), {
      name,
      message: /send access to "shop.read"/,
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
