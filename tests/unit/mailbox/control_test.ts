/** `app.control`: every method is one broadcast, with the arguments that Celery's client sends. */

import assert from "node:assert/strict";
import { App, appExtensions, type Control } from "../../../lib/app/mod.ts";
import { AppControl, MAILBOX_DEFAULTS, requestQueue } from "../../../lib/mailbox/mod.ts";
import { acceptedTypes, decodeMailboxRequest, type MailboxRequest } from "../../../lib/wire/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

appExtensions.control = (app) => new AppControl(app);

Deno.test("app.control: what each method sends", async () => {
  const world = fakeWorld();
  const app = new App("asker", { broker_url: "memory://control-methods" }, { world });
  const heard: MailboxRequest[] = [];
  const connection = await app.connectBroker({ forWriting: true });
  await connection.subscribe(
    requestQueue("w1@a", MAILBOX_DEFAULTS),
    ({ message }) => void heard.push(decodeMailboxRequest(message, acceptedTypes(["json"]))),
  );
  const { control } = app;
  const term = { terminate: false, signal: "SIGTERM" };
  const cases: [(control: Control) => Promise<unknown>, string, Record<string, unknown>][] = [
    [(c) => c.revoke("a"), "revoke", { task_id: "a", ...term }],
    [(c) => c.revoke(["a", "b"], { signal: "SIGKILL", terminate: true }), "revoke", {
      task_id: ["a", "b"],
      terminate: true,
      signal: "SIGKILL",
    }],
    [(c) => c.terminate("a"), "revoke", { task_id: "a", terminate: true, signal: "SIGTERM" }],
    [(c) => c.revokeByStampedHeaders({ k: ["v"] }), "revoke_by_stamped_headers", {
      headers: { k: ["v"] },
      ...term,
    }],
    [(c) => c.rateLimit("t", "1/m"), "rate_limit", { task_name: "t", rate_limit: "1/m" }],
    [(c) => c.timeLimit("t", { soft: 1 }), "time_limit", { task_name: "t", hard: null, soft: 1 }],
    [(c) => c.addConsumer("q", { exchange: "e", queueOptions: { durable: false } }), "add_consumer", {
      queue: "q",
      exchange: "e",
      routing_key: null,
      exchange_type: "direct",
      durable: false,
    }],
    [(c) => c.cancelConsumer("q"), "cancel_consumer", { queue: "q" }],
    [(c) => c.enableEvents(), "enable_events", {}],
    [(c) => c.disableEvents(), "disable_events", {}],
    [(c) => c.heartbeat(), "heartbeat", {}],
    [(c) => c.poolGrow(), "pool_grow", { n: 1 }],
    [(c) => c.poolShrink(2), "pool_shrink", { n: 2 }],
    [(c) => c.poolRestart({ modules: ["m"] }), "pool_restart", { modules: ["m"], reload: false }],
    [(c) => c.autoscale(4, 2), "autoscale", { max: 4, min: 2 }],
    [(c) => c.election("e1", "task", { task: "t" }), "election", {
      id: "e1",
      topic: "task",
      action: { task: "t" },
    }],
    [(c) => c.shutdown({ destination: "w1@a" }), "shutdown", {}],
    [(c) => c.broadcast("own", { arguments: { x: 1 } }), "own", { x: 1 }],
  ];
  for (const [call, method, args] of cases) {
    const calling = call(control);
    await world.clock.settle();
    await calling;
    await world.clock.settle();
    const request = heard.at(-1)!;
    assert.deepEqual([request.method, request.arguments, request.ticket], [method, args, null]);
  }
  assert.equal(heard.length, cases.length);
  assert.deepEqual(heard.at(-2)!.destination, ["w1@a"]);
  // The clock of every request is later than the one before.
  const clocks = heard.map(({ clock }) => clock!);
  assert.deepEqual(clocks, [...clocks].sort((a, b) => a - b));
  assert.equal(new Set(clocks).size, clocks.length);
  const closing = Promise.all([app.close(), connection.close()]);
  await world.clock.settle();
  await closing;
});

Deno.test("app.control: connects again after its connection was closed, and may be closed twice", async () => {
  const world = fakeWorld();
  const app = new App("asker", { broker_url: "memory://control-again" }, { world });
  const settled = async <T>(promise: Promise<T>): Promise<T> => {
    await world.clock.settle();
    return await promise;
  };
  assert.deepEqual(await settled(app.control.ping()), {});
  await settled(app.close());
  assert.deepEqual(await settled(app.control.inspect().active()), {});
  assert.equal(await settled(app.control.purge()), 0);
  await settled(app.control.close());
  await settled(app.control.close());
  await settled(app.close());
  assert.deepEqual(world.clock.armed, []);
});
