/** How an event receiver ends. */

import assert from "node:assert/strict";
import { App } from "../../../lib/app/mod.ts";
import { EventReceiver } from "../../../lib/event/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

Deno.test("EventReceiver: its signal ends it, between two attempts to connect and while it listens", async () => {
  const world = fakeWorld();
  await using away = new App("away", { broker_url: "redis://away.example" }, { world });
  const first = new AbortController();
  const attempted = Promise.withResolvers<number>();
  const opening = EventReceiver.open(away, {
    signal: first.signal,
    onAttempt: (_error, seconds) => attempted.resolve(seconds),
  });
  assert.equal(await attempted.promise, 2);
  first.abort(new Error("enough"));
  await assert.rejects(opening, /the receiver was closed/);

  await using app = new App("here", { broker_url: `memory://${crypto.randomUUID()}` }, { world });
  const second = new AbortController();
  const receiver = await EventReceiver.open(app, { signal: second.signal });
  second.abort();
  await receiver.ended();
  await assert.rejects(EventReceiver.open(app, { signal: second.signal }), { name: "AbortError" });
});
