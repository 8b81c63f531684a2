import assert from "node:assert/strict";
import { connect } from "../../../lib/transport/mod.ts";
import { CONNECT_OPTIONS } from "../../support/connect_options.ts";
import { fakeWorld } from "../../support/fake_world.ts";

Deno.test("connect: picks the transport by the scheme", async () => {
  await using connection = await connect(fakeWorld(), "memory://registry", CONNECT_OPTIONS);
  assert.equal(connection.transport, "memory");
  assert.equal(connection.url, "memory://registry");
});

Deno.test("connect: an unknown scheme is the person's error; an aborted one does not start", async () => {
  await assert.rejects(connect(fakeWorld(), "kafka://h", CONNECT_OPTIONS), { name: "UsageError" });
  const signal = AbortSignal.abort(new Error("not now"));
  await assert.rejects(connect(fakeWorld(), "memory://", { ...CONNECT_OPTIONS, signal }), {
    message: "not now",
  });
});
