/** What users rely on the compiler for: arguments and results are inferred. Checked when this file is. */

import assert from "node:assert/strict";
import { App, type AsyncResult, type Context, type Task, type TaskOptions } from "../../../lib/mod.ts";
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
