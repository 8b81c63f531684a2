/** What users rely on the compiler for: arguments and results are inferred. Checked when this file is. */

import assert from "node:assert/strict";
import {
  App,
  type AsyncResult,
  chain,
  chord,
  chunks,
  type Context,
  group,
  type GroupResult,
  type Signature,
  type Task,
  type TaskOptions,
  xmap,
} from "../../../lib/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
const same = <A, B>(_proof: Same<A, B>) => {};

Deno.test("types: tasks, their arguments and results", () => {
  const app = new App("types", { broker_url: "memory://" }, { world: fakeWorld() });
  const add = app.task("t.add", (x: number, y: number) => x + y);
  const fetched = app.task("t.fetch", { bind: true, maxRetries: 5 }, (self, url: string) => {
    same<typeof self, Context>(true);
    const ofSelf: App = self.app;
    void ofSelf;
    return Promise.resolve(url.length);
  });
  const optional = app.task("t.opt", { acksLate: true }, (a: string, b: number = 1) => a.repeat(b));
  const typed: Task<[number, number], number, number> = add;
  assert.equal(typed(1, 2), 3);
  same<ReturnType<typeof add>, number>(true);
  same<Parameters<typeof fetched>, [url: string]>(true);
  same<ReturnType<typeof fetched>, Promise<number>>(true);
  same<Parameters<typeof optional>, [a: string, b?: number | undefined]>(true);
  const send = () => add.delay(1, 2);
  same<ReturnType<typeof send>, Promise<AsyncResult<number>>>(true);
  const onSuccess: TaskOptions["onSuccess"] = (self) => same<typeof self, Context>(true);
  const ofTask: App = add.app;
  const ofResult: App = app.AsyncResult("an-id").app;
  assert.equal(ofTask, ofResult);
  assert.equal(onSuccess.length, 1);
  const bad = () => {
    // @ts-expect-error a text is no number
    void add.delay("1", 2);
    // @ts-expect-error the context is not the caller's to give
    void fetched.delay({}, "x");
    // @ts-expect-error there is no such setting
    app.conf.task_ack_late = true;
    // @ts-expect-error a time limit is a number
    app.conf.task_time_limit = "x";
  };
  assert.equal(typeof bad, "function");
});

Deno.test("types: what sending a canvas resolves to is a result with all that results have", async () => {
  await using app = new App("types", { broker_url: "memory://" }, { world: fakeWorld() });
  const add = app.task("t.add", (x: number, y: number) => x + y);
  const text = app.task("t.text", (it: unknown) => String(it));
  // Each is assigned, and not the same: the canvas knows the results by names of its own.
  const checked = async () => {
    const one: AsyncResult<number> = await add.s(1, 2).set({ queue: "q" }).clone().applyAsync();
    const named: AsyncResult<unknown> = await app.signature("t.add", { args: [1, 2] }).delay();
    const many: GroupResult<number> = await group(add.s(1, 2), add.s(3, 4)).applyAsync();
    const mixed: GroupResult<number | string> = await group(add.s(1, 2), text.s("x")).delay();
    const listed: GroupResult<number> = await group([add.s(1, 2)]).apply();
    const last: AsyncResult<string> = await chain(add.s(1, 2), text.s()).delay();
    const piped: AsyncResult<string> = await add.s(1, 2).pipe(add.s(3), text.s()).delay();
    const grown: AsyncResult<string> = await group([add.s(1, 2)]).pipe(text.s()).delay();
    const split: GroupResult<number> = await add.s(1, 2).pipe(group([add.s(3)])).delay();
    const body: AsyncResult<string> = await chord([add.s(1, 2)], text.s()).delay();
    const loop: AsyncResult<string[]> = await xmap(text.s(), [1, 2]).delay();
    const parts: GroupResult<number[]> = await chunks(add.s(), [[1, 2]], 1).delay();
    const counts: number = await many.completedCount() + (await many.join({ timeout: 1 }))[0]!;
    for await (const value of mixed) same<typeof value, number | string>(true);
    await many.revoke({ terminate: true });
    for (const child of await one.children() ?? []) await child.get();
    return [one.state(), named.info(), listed, last, piped, grown, split, body, loop, parts, counts];
  };
  assert.equal(typeof checked, "function");
  // A function that takes any signature takes each kind.
  const taken: Signature[] = [add.s(1, 2), group([add.s(1, 2)]), chain(add.s(1, 2)), chord([], text.s())];
  assert.deepEqual(taken.map((it) => it.task), ["t.add", "celery.group", "celery.chain", "celery.chord"]);
});
