// Goal: the master is found by real sentinels, and what they refuse is told in one line.
import assert from "node:assert/strict";
import { type Address, DialError } from "../../../lib/base/mod.ts";
import { realDialer } from "../../../lib/net/mod.ts";
import { findMaster } from "../../../lib/redis/mod.ts";
import { eventually, freePort } from "../../support/ports.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { startSentinel } from "../../support/sentinel.ts";
import { startRedis } from "../../support/servers.ts";

Deno.test("findMaster asks sentinels in turn, with their own credentials", async () => {
  await using master = await startRedis();
  await using sentinel = await startSentinel({ name: "mymaster", port: master.port }, ["requirepass spw"]);
  const { port } = sentinel;
  const world = { ...realTestWorld(), dialer: realDialer() };
  const dead: Address = { kind: "tcp", host: "127.0.0.1", port: freePort(), tls: null };
  const live: Address = { kind: "tcp", host: "127.0.0.1", port, tls: null };
  const question = {
    sentinels: [dead, live],
    masterName: "mymaster",
    username: null,
    password: "spw",
    minOtherSentinels: 0,
  };
  await eventually(
    async () => {
      try {
        await findMaster(world, question, { timeoutMs: 1000 });
        return true;
      } catch {
        return false;
      }
    },
    "the sentinel answers",
  );
  assert.deepEqual(await findMaster(world, question, { timeoutMs: 1000 }), {
    host: "127.0.0.1",
    port: master.port,
  });
  const refused: [object, RegExp][] = [
    [{ masterName: "other" }, /No such master/],
    [{ minOtherSentinels: 2 }, /sees 0 other sentinels, fewer than 2/],
    [{ password: "wrong" }, /WRONGPASS/],
    [{ sentinels: [dead] }, /connection refused/],
  ];
  for (const [change, why] of refused) {
    await assert.rejects(
      findMaster(world, { ...question, ...change }, { timeoutMs: 1000 }),
      (error) => error instanceof DialError && error.isRetryable && why.test(error.message),
    );
  }
});
