// Goal: the pop for servers before 6.2 does what the newer one does, to the key and the byte.
import assert from "node:assert/strict";
import { realDialer } from "../../../../lib/net/mod.ts";
import { callScript, RedisConnection } from "../../../../lib/redis/mod.ts";
import { NO_LEASE, POP, POP_OLD } from "../../../../lib/transport/redis/scripts.ts";
import { realTestWorld } from "../../../support/real_test_world.ts";
import { startRedis } from "../../../support/servers.ts";

Deno.test("POP and POP_OLD take the same messages in the same order and record them alike", async () => {
  await using server = await startRedis();
  const world = { ...realTestWorld(), dialer: realDialer() };
  const target = {
    address: { kind: "tcp" as const, host: "127.0.0.1", port: server.port, tls: null },
    username: null,
    password: null,
    db: 0,
  };
  await using connection = await RedisConnection.open(world, target, { timeoutMs: 3000 });
  const results: unknown[] = [];
  for (const script of [POP, POP_OLD]) {
    await connection.call(["FLUSHALL"]);
    await connection.call(["LPUSH", "a", ...Array.from({ length: 700 }, (_, n) => `a${n}`)]);
    await connection.call(["LPUSH", "b", "b0", "b1"]);
    await connection.call(["SET", "owner", "alive"]);
    await connection.call(["SET", "c", "no list"]);
    const pop = (count: number, first: number) =>
      callScript(connection, script, {
        keys: ["unacked", "unacked_index", "owner", "a", "c", "b"],
        args: [count, "l0:", first, "1", ',"","a"]', ',"","c"]', ',"","b"]'],
        doing: "pop",
      });
    results.push([await pop(3, 1), await pop(698, 4), await pop(10, 702), await pop(10, 703)]);
    const values = await connection.call(["HMGET", "unacked", "l0:1", "l0:700", "l0:701", "l0:702"]);
    assert.deepEqual(values, ['[a0,"","a"]', '[a699,"","a"]', '[b0,"","b"]', '[b1,"","b"]']);
    assert.deepEqual(await connection.callAll([["HLEN", "unacked"], ["ZCARD", "unacked_index"]]), [702, 702]);
  }
  const [ours, old] = results as [[unknown, string, number, string[]][], unknown[]];
  assert.deepEqual(ours[0], [0, "", 0, ["a0", "a1", "a2"]]);
  assert.match(ours[1]![1], /WRONGTYPE/);
  assert.deepEqual(ours[2]!.slice(2), [2, ["b1"]]);
  assert.equal(ours[3]![0], 1);
  assert.deepEqual(old, ours);
  // Without a lease nothing is taken.
  await connection.call(["DEL", "owner"]);
  await connection.call(["LPUSH", "a", "a0"]);
  for (const script of [POP, POP_OLD]) {
    const reply = await callScript(connection, script, {
      keys: ["unacked", "unacked_index", "owner", "a"],
      args: [1, "l0:", 1, "1", ',"","a"]'],
      doing: "pop",
    });
    assert.deepEqual(reply, [0, NO_LEASE]);
    assert.equal(await connection.call(["LLEN", "a"]), 1);
  }
});
