import assert from "node:assert/strict";
import { OperatingError, UsageError } from "../../../lib/base/mod.ts";
import { openBackend } from "../../../lib/backend/mod.ts";
import { backendOptions, resultRecord, stored } from "../../conformance/backend.ts";
import { fakeWorld } from "../../support/fake_world.ts";

Deno.test("openBackend: none and disabled keep nothing and say so when asked", async () => {
  for (const url of [null, "", "disabled", "disabled://"]) {
    await using backend = await openBackend(fakeWorld(), url, backendOptions());
    assert.equal(backend.kind, "disabled");
    await stored(backend, resultRecord("a", "SUCCESS", 1));
    const refusals = [
      backend.fetch("a"),
      backend.fetchMany(["a"]),
      backend.startChord("g", 1),
      new Promise((_, reject) => void backend.watch(["a"], () => {}, reject)),
    ];
    for (const refusal of refusals) {
      await assert.rejects(refusal, (error) => error instanceof OperatingError);
    }
    await assert.rejects(backend.fetch("a"), /No result backend is configured/);
  }
});

Deno.test("openBackend: wrong URLs are usage errors without the password", async () => {
  const wrong: [string, RegExp][] = [
    ["redsi://u:secret@h/0", /unknown kind "redsi"; did you mean "redis"/],
    ["db+postgresql://u:secret@h/db", /unknown kind "db\+postgresql"; known are/],
    ["//u:secret@h", /it is not a URL/],
    ["redis://u:secret@h/nine", /Database is int/],
    ["sqlite:///:memory:", /memory:\/\//],
  ];
  for (const [url, text] of wrong) {
    await assert.rejects(openBackend(fakeWorld(), url, backendOptions()), (error) => {
      assert.ok(error instanceof UsageError, url);
      assert.match(error.message, text);
      assert.ok(!error.message.includes("secret"), error.message);
      return true;
    });
  }
});

Deno.test("openBackend: valkey:// is Redis by another name", async () => {
  await using backend = await openBackend(fakeWorld(), "valkey://127.0.0.1:1/1", backendOptions());
  assert.equal(backend.kind, "redis");
});

Deno.test("openBackend: memory results are shared by URL and go with the last that closes", async () => {
  const world = fakeWorld();
  const one = await openBackend(world, "memory://a", backendOptions());
  const other = await openBackend(world, "memory://b", backendOptions());
  await stored(one, resultRecord("t", "SUCCESS", 1));
  assert.equal(await other.fetch("t"), null);
  const again = await openBackend(world, "memory://a", backendOptions());
  await one.close();
  assert.equal((await again.fetch("t"))?.result, 1);
  await again.close();
  await using fresh = await openBackend(world, "memory://a", backendOptions());
  assert.equal(await fresh.fetch("t"), null);
  await other.close();
});
