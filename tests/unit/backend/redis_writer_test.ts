/** Writing results to Redis where scripts are refused. */

import assert from "node:assert/strict";
import { ServerError } from "../../../lib/base/mod.ts";
import type { RedisClient } from "../../../lib/backend/node_redis.ts";
import type { RedisLinks } from "../../../lib/backend/redis_link.ts";
import { RedisWriter } from "../../../lib/backend/redis_writer.ts";
import { fakeWorld } from "../../support/fake_world.ts";

Deno.test("RedisWriter: a cluster that refuses scripts gets two commands, at once, and is asked for none again", async () => {
  const world = fakeWorld();
  const refusal = new ServerError("NOPERM this user has no permissions to run the 'eval' command", {
    code: "NOPERM",
    isRetryable: false,
  });
  const sent: (readonly unknown[])[] = [];
  const client = {
    publishCommand: "SPUBLISH",
    sendEach(commands: readonly (readonly unknown[])[]) {
      sent.push(...commands);
      return Promise.resolve(
        commands.map(([name]) => name === "EVAL" ? refusal : null),
      );
    },
  } as unknown as RedisClient;
  const writer = new RedisWriter({
    world,
    links: { live: { client }, explain: (error: unknown) => error } as unknown as RedisLinks,
    taskPrefix: "celery-task-meta-",
    ttl: "60",
    isCluster: true,
    isBinary: false,
    socketTimeoutMs: null,
    decode: () => assert.fail("nothing is read"),
  });
  await writer.save(client, "k1", "one");
  await writer.save(client, "k2", "two");
  writer.close();
  assert.deepEqual(
    sent.map(([name, ...rest]) => name === "EVAL" ? [name, ...rest.slice(2)] : [name, ...rest]),
    [
      ["EVAL", "k1", "one", "60"],
      ["SETEX", "k1", "60", "one"],
      ["SPUBLISH", "k1", "one"],
      ["SETEX", "k2", "60", "two"],
      ["SPUBLISH", "k2", "two"],
    ],
  );
  assert.deepEqual(world.log.records.map(({ message }) => message), [
    "The result store allows no scripts: results are written one by one",
  ]);
});
