import assert from "node:assert/strict";
import { UsageError } from "../../../../lib/base/mod.ts";
import { parseRedisUrl } from "../../../../lib/redis/mod.ts";
import { groupOptions, redisOptionsOf } from "../../../../lib/transport/redis/options.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";

function serverOf(url: string) {
  return parseRedisUrl(url, { kind: "broker", useSsl: false, transportOptions: {} });
}

Deno.test("redisOptionsOf: on a cluster every key has one hash tag, the user's own where the prefix has one", () => {
  const of = (transportOptions: Record<string, unknown>, url = "redis-cluster://a") =>
    redisOptionsOf({ ...CONNECT_OPTIONS, transportOptions }, serverOf(url));
  assert.equal(of({}).keyPrefix, "{celery}");
  assert.equal(of({}).waitReplicas, 1);
  assert.equal(of({ wait_replicas: 0 }).waitReplicas, 0);
  assert.equal(of({ global_keyprefix: "shop:" }).keyPrefix, "{celery}shop:");
  assert.equal(of({ global_keyprefix: "{shop}:" }).keyPrefix, "{shop}:");
  assert.equal(of({ hash_tag: "images" }).keyPrefix, "{images}");
  assert.equal(of({ hash_tag: "images" }, "redis-cluster://a?hash_tag=mail").keyPrefix, "{mail}");
  for (const tag of ["", "{a}", 3]) {
    assert.throws(() => of({ hash_tag: tag }), (error) => {
      return error instanceof UsageError && error.message.includes("hash_tag");
    });
  }
  assert.equal(of({ hash_tag: "images" }, "redis://a").keyPrefix, "");
});

Deno.test("redisOptionsOf: queue groups of a cluster have tags of their own, and the broker's channels", () => {
  const of = (transportOptions: Record<string, unknown>, url = "redis-cluster://a") =>
    redisOptionsOf({ ...CONNECT_OPTIONS, transportOptions }, serverOf(url));
  const queue_groups = { images: ["thumbs", "cut"], celery: ["mail"] };
  const main = of({ queue_groups, global_keyprefix: "shop:" });
  assert.deepEqual(main.groups?.tags, ["celery", "images"]);
  assert.deepEqual(["thumbs", "mail", "other"].map((name) => main.groups?.tagOf(name)), [
    "images",
    "celery",
    "celery",
  ]);
  const images = groupOptions(main, "images");
  assert.deepEqual([main.keyPrefix, images.keyPrefix], ["{celery}shop:", "{images}shop:"]);
  assert.equal(images.channelPrefix, "{celery}shop:");
  assert.equal(
    groupOptions(of({ queue_groups, global_keyprefix: "a{shop}:" }), "images").keyPrefix,
    "a{images}:",
  );
  assert.equal(of({ queue_groups: {} }).groups, null);
  assert.equal(of({ queue_groups }, "redis://a").groups, null);
  for (
    const wrong of [3, ["a"], { "{a}": ["q"] }, { a: "q" }, { a: [""] }, { a: ["q"], b: ["q"] }]
  ) {
    assert.throws(() => of({ queue_groups: wrong }), (error) => {
      return error instanceof UsageError && error.message.includes("queue_groups");
    });
  }
});

Deno.test("redisOptionsOf: kombu's defaults, seconds as milliseconds, and wrong values named", () => {
  const of = (transportOptions: Record<string, unknown>) =>
    redisOptionsOf({ ...CONNECT_OPTIONS, transportOptions }, serverOf("redis://"));
  const plain = of({});
  assert.deepEqual(plain.steps, [0, 3, 6, 9]);
  assert.equal(plain.visibilityTimeoutMs, 3_600_000);
  assert.equal(plain.unackedKey, "unacked");
  assert.equal(plain.fanoutPrefix, "/{db}.");
  assert.equal(plain.connectTimeoutMs, 5000);
  assert.equal(of({ fanout_prefix: false }).fanoutPrefix, "");
  assert.equal(of({ visibility_timeout: 1.5 }).visibilityTimeoutMs, 1500);
  assert.equal(of({ socket_connect_timeout: 1 }).connectTimeoutMs, 1000);
  for (
    const wrong of [{ visibility_timeout: "1h" }, { queue_order_strategy: "random" }, { priority_steps: 3 }, {
      sep: 1,
    }]
  ) {
    assert.throws(() => of(wrong), (error) => {
      return error instanceof UsageError && error.message.includes(Object.keys(wrong)[0]!);
    });
  }
});
