/** The option `schema` of a task: what zod, valibot and arktype describe is checked, typed, and handed on as they return it. */

import assert from "node:assert/strict";
import { type } from "arktype";
import * as v from "valibot";
import { z } from "zod";
import { App, type Task, TestWorker, UsageError, ValidationError } from "../../../lib/mod.ts";

const settings = { broker_url: "memory://", result_backend: "memory://" };
const Order = z.object({ id: z.string(), count: z.number().int().positive().default(1) });
const Named = v.pipeAsync(v.string(), v.checkAsync((text) => Promise.resolve(text !== "taken"), "is taken"));

function makeApp() {
  const app = new App("schemas", settings);
  const order = app.task("s.order", { schema: Order }, (order) => `${order.id} x${order.count + 0}`);
  const tries = { count: 0 };
  const move = app.task("s.move", {
    bind: true,
    schema: [z.string(), z.coerce.date(), v.optional(v.number(), 7)],
    autoretryFor: [Error],
    maxRetries: 3,
    defaultRetryDelay: 0,
  }, (self, id, day, by) => {
    tries.count++;
    return [id, day.toISOString(), by, self.request.retries];
  });
  const page = app.task(
    "s.page",
    { schema: type({ url: "string", "width?": "number" }) },
    ({ url }) => url.length,
  );
  const named = app.task("s.named", { schema: [Named] }, (name) => name.toUpperCase());
  const unchecked = app.task("s.unchecked", {
    schema: [z.string()],
    typing: false,
    autoretryFor: [Error],
    defaultRetryDelay: 0,
  }, (_name) => tries.count++);
  return { app, order, move, named, page, tries, unchecked };
}

/** The compiler's part: what calls give is the schema's input, what the function gets its output. */
export function types(order: Task<[input: z.input<typeof Order>], string, string>): void {
  void order.delay({ id: "a" });
  // @ts-expect-error -- count is a number
  void order.delay({ id: "a", count: "2" });
  const { move, page } = makeApp();
  const length: Promise<number> = page.delay({ url: "a" }).then((result) => result.get());
  void length;
  // @ts-expect-error -- a text is not an object
  void page.delay("a");
  void move.delay("a", "2026-11-30");
  // @ts-expect-error -- the first is a text
  void move.delay(1, "2026-11-30");
  // @ts-expect-error -- the function must take what the schema gives
  new App("x").task("x", { schema: Order }, (order: { id: number }) => order.id);
}

Deno.test("schema: of one object: from one argument, from kwargs as Python calls it, and with defaults", async () => {
  const { app, order } = makeApp();
  await using _worker = await TestWorker.start(app);
  assert.equal(await (await order.delay({ id: "a" })).get({ timeout: 30 }), "a x1");
  assert.equal(await (await order.applyAsync([], { id: "b", count: 3 })).get({ timeout: 30 }), "b x3");
  const sent = await app.sendTask("s.order", { kwargs: { id: "c", count: 2, more: true } });
  assert.equal(await sent.get({ timeout: 30 }), "c x2");
  assert.equal(order({ id: "d" }), "d x1");
});

Deno.test("schema: an array is one for each parameter, and the function gets what they make of it", async () => {
  const { app, move } = makeApp();
  await using _worker = await TestWorker.start(app);
  assert.deepEqual(await (await move.delay("a", "2026-11-30")).get({ timeout: 30 }), [
    "a",
    "2026-11-30T00:00:00.000Z",
    7,
    0,
  ]);
});

Deno.test("schema: a violation is an error at the call, and a FAILURE without retry in the worker", async () => {
  const { app, order, move, page, tries, unchecked } = makeApp();
  await using _worker = await TestWorker.start(app);
  await assert.rejects(order.applyAsync([], { id: 1, count: 0 }), (error: Error) => {
    assert.ok(error instanceof ValidationError);
    assert.match(error.message, /^id: .*string.*; count: /);
    return true;
  });
  assert.throws(() => order({ id: 1 } as never), ValidationError);
  await assert.rejects(page.applyAsync([{ url: 7 }]), ValidationError);
  assert.equal(await (await page.delay({ url: "four" })).get({ timeout: 30 }), 4);
  assert.equal(tries.count, 0);
  // As it comes from a program that knows no schema.
  const result = await unchecked.applyAsync([1]);
  await assert.rejects(result.get({ timeout: 30 }), /0: .*string/);
  assert.equal(await result.state(), "FAILURE");
  assert.equal(tries.count, 0);
  await assert.rejects(move.applyAsync([1, "2026-11-30"]), ValidationError);
});

Deno.test("schema: one that waits is checked by the worker", async () => {
  const { app, named } = makeApp();
  await using _worker = await TestWorker.start(app);
  assert.equal(await (await named.delay("free")).get({ timeout: 30 }), "FREE");
  const refused = await named.delay("taken");
  await assert.rejects(refused.get({ timeout: 30 }), /0: is taken/);
  assert.equal(await refused.state(), "FAILURE");
});

Deno.test("schema: what is none is refused with the task's name", () => {
  const app = new App("schemas", settings);
  assert.throws(
    () => app.task("s.none", { schema: { type: "object" } as never }, () => 1),
    (error: Error) =>
      error instanceof UsageError &&
      /"schema" of task "s\.none" must be a Standard Schema/.test(error.message),
  );
});
