import assert from "node:assert/strict";
import { App } from "../../../lib/app/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

/** An App over a memory store whose waits are counted. */
async function withStore(name: string) {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://", result_backend: `memory://ahead-${name}` }, { world });
  const backend = await app.backend.open();
  const waits: string[] = [];
  const watch = backend.watch.bind(backend);
  backend.watch = (ids, onMeta, onError) => {
    waits.push(ids.join());
    return watch(ids, onMeta, onError);
  };
  return { app, backend, waits, world };
}

Deno.test("ResultAhead: waits for the next call of who came for the last one's result, and tells its end once", async () => {
  const { app, backend, waits, world } = await withStore("turns");
  await using _ = app;
  const { ahead } = app.backend;
  assert.equal(ahead.sending("a", backend), null, "nothing says that anybody will ask");
  ahead.asked(["a"]);
  const ended = ahead.sending("b", backend);
  assert.ok(ended);
  await app.backend.storeResult("b", null, "STARTED");
  await world.clock.settle();
  assert.equal(ahead.take("b"), null, "it has not ended");
  await app.backend.storeResult("b", 7, "SUCCESS");
  await ended;
  assert.equal(ahead.take("a"), null);
  assert.equal(ahead.take("b")?.result, 7);
  assert.equal(ahead.take("b"), null, "nothing is kept of it");
  assert.ok(ahead.sending("c", backend), "who took it is expected to come again");
  assert.equal(ahead.sending("d", backend), null, "c was not asked for");
  assert.deepEqual(waits, ["b", "c"]);
});

Deno.test("AsyncResult: get takes an end that was waited for ahead, without a wait or a timer of its own", async () => {
  const { app, backend, waits, world } = await withStore("get");
  await using _ = app;
  const sent = async (id: string, value: unknown, state: string) => {
    app.backend.ahead.asked([id]);
    app.backend.ahead.sending(`${id} before`, backend);
    app.backend.ahead.asked([`${id} before`]);
    const ended = app.backend.ahead.sending(id, backend);
    await app.backend.storeResult(id, value, state);
    await ended;
    waits.length = 0;
    return app.AsyncResult(id);
  };
  const heard: unknown[] = [];
  const first = await sent("a", 7, "SUCCESS");
  const timers = world.clock.armed.length;
  const getting = first.get({ timeout: 5, onMessage: (meta) => heard.push([meta.state, meta.result]) });
  assert.equal(world.clock.armed.length, timers);
  assert.equal(await getting, 7);
  assert.deepEqual([heard, waits], [[["SUCCESS", 7]], []]);
  assert.equal(await first.get(), 7, "it is known from now on");
  const failed = await sent("b", new Error("no"), "FAILURE");
  await assert.rejects(failed.get(), /no/);
  const left = await sent("c", 1, "SUCCESS");
  await assert.rejects(left.get({ signal: AbortSignal.abort(new Error("not any more")) }), /not any more/);
  assert.equal(await left.get(), 1);
});
