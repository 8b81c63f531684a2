import assert from "node:assert/strict";
import { LimitedSet } from "../../../../lib/worker/mod.ts";
import { mergeRevoked, revokedToWire } from "../../../../lib/worker/control/revoked_wire.ts";
import { fakeWorld } from "../../../support/fake_world.ts";

/** A worker's set on a machine with this uptime. */
function worker(uptimeSeconds: number) {
  const world = fakeWorld({
    host: { uptimeSeconds: () => uptimeSeconds + world.clock.monoMs() / 1000 - start },
  });
  const start = world.clock.monoMs() / 1000;
  const now = () => world.clock.monoMs() / 1000;
  return { world, now, set: new LimitedSet({ nowSeconds: now }) };
}

Deno.test("revokedToWire: times are seconds since the machine started, as Python's monotonic clock counts", () => {
  const { world, set } = worker(50_000);
  set.add("a");
  const sent = revokedToWire(world, set);
  assert.equal(sent["a"]![1], "a");
  assert.ok(Math.abs(sent["a"]![0] - 50_000) < 1);
});

Deno.test("mergeRevoked: times of another machine's clock keep their order and are limited to our own range", () => {
  const { world, set, now } = worker(100);
  assert.equal(mergeRevoked(world, set, { future: [9e9, "future"], old: [-9e9, "old"], bare: 99.5 }), 3);
  const times = new Map(set.entries());
  assert.deepEqual([...times.keys()], ["old", "bare", "future"]);
  assert.equal(times.get("future"), now());
  set.expire();
  assert.ok(set.has("old"), "merged ids are not forgotten at once");
  assert.equal(mergeRevoked(world, set, null), 0);
  assert.equal(mergeRevoked(world, set, ["listed"]), 1);
  assert.ok(set.has("listed"));
});

Deno.test("mergeRevoked: anything but a map of times is refused and changes nothing", () => {
  const { world, set } = worker(100);
  for (const wrong of ["text", 7, { a: "soon" }, { a: [] }, { a: [null, "a"] }, { ok: 1, a: NaN }]) {
    assert.throws(() => mergeRevoked(world, set, wrong), TypeError);
  }
  assert.equal(set.size, 0);
});

Deno.test("two workers: ids travel both ways and keep their order", () => {
  const one = worker(1000);
  const two = worker(1000);
  for (const id of ["a", "b", "c"]) one.set.add(id);
  mergeRevoked(two.world, two.set, JSON.parse(JSON.stringify(revokedToWire(one.world, one.set))));
  assert.deepEqual([...two.set.entries()].map(([id]) => id), ["a", "b", "c"]);
});
