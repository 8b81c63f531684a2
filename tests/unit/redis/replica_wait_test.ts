// Goal: replicas are waited for as long as they follow, and where there is such a command.
import assert from "node:assert/strict";
import { ReplicaWait } from "../../../lib/redis/replica_wait.ts";
import { RespError } from "../../../lib/wire/mod.ts";
import { FakeClock } from "../../support/fake_world.ts";

Deno.test("ReplicaWait: after a wait in vain nothing is waited for ten seconds", async () => {
  const clock = new FakeClock();
  const wait = new ReplicaWait(clock, 2);
  assert.deepEqual(wait.command, ["WAIT", "2", "1000"]);
  assert.equal(wait.read(2), "reached");
  assert.equal(wait.read(3), "reached");
  assert.equal(wait.read(new RespError("ERR WAIT cannot be used with replica instances")), "refused");
  assert.notEqual(wait.command, null);
  assert.equal(wait.read(1), "behind");
  assert.equal(wait.command, null);
  await clock.advance(9999);
  assert.equal(wait.command, null);
  await clock.advance(1);
  assert.notEqual(wait.command, null);
});

Deno.test("ReplicaWait: a service without the command, or that forbids it, is asked once", () => {
  for (
    const text of [
      "ERR unknown command 'WAIT', with args beginning with: '1' '1000'",
      "NOPERM this user has no permissions to run the 'wait' command",
      "ERR Command 'WAIT' is not allowed",
    ]
  ) {
    const wait = new ReplicaWait(new FakeClock(), 1);
    assert.equal(wait.read(new RespError(text)), "unavailable");
    assert.equal(wait.command, null);
  }
});
