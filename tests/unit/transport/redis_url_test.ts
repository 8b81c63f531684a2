import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { redisOptionsOf } from "../../../lib/transport/redis_options.ts";
import { parseRedisUrl, resolveRedis } from "../../../lib/transport/redis_url.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

const CONNECT = {
  timeoutMs: 4000,
  transportOptions: {},
  useSsl: false,
  heartbeatSeconds: 0,
  loginMethod: null,
  clientName: "test",
};

Deno.test("parseRedisUrl reads what Celery's users write", () => {
  const tcp = (host: string, port: number) => ({ kind: "tcp", host, port });
  const cases: [string, object, string | null, string | null, number, object | null][] = [
    ["redis://", tcp("127.0.0.1", 6379), null, null, 0, null],
    ["redis://localhost", tcp("localhost", 6379), null, null, 0, null],
    ["redis://:pw@h:1/3", tcp("h", 1), null, "pw", 3, null],
    ["redis://user:p%40ss%2F@h/15", tcp("h", 6379), "user", "p@ss/", 15, null],
    ["redis://[::1]:7000/0", tcp("::1", 7000), null, null, 0, null],
    ["rediss://h:6380/1?ssl_cert_reqs=none", tcp("h", 6380), null, null, 1, { ssl_cert_reqs: "none" }],
    [
      "redis+socket:///run/redis.sock?virtual_host=4",
      { kind: "unix", path: "/run/redis.sock" },
      null,
      null,
      4,
      null,
    ],
    ["socket:///run/redis.sock", { kind: "unix", path: "/run/redis.sock" }, null, null, 0, null],
    [
      "sentinel://:pw@a:1/2;sentinel://b",
      { kind: "sentinel", nodes: [{ host: "a", port: 1 }, { host: "b", port: 26379 }] },
      null,
      "pw",
      2,
      null,
    ],
  ];
  for (const [url, place, username, password, db, tls] of cases) {
    const read = parseRedisUrl(url);
    assert.deepEqual(
      { ...read, tls: read.tls && { ...read.tls } },
      { place, username, password, db, tls },
      url,
    );
  }
});

Deno.test("parseRedisUrl refuses in one line and shows no password", () => {
  for (const url of ["redis://:secret@h/zero", "redis+socket://", "sentinel://:secret@a;redis://b", ";"]) {
    assert.throws(
      () => parseRedisUrl(url),
      (error) =>
        error instanceof UsageError && !error.message.includes("secret") && !error.message.includes("\n"),
      url,
    );
  }
});

Deno.test("resolveRedis: TLS by scheme, by query and by broker_use_ssl; sentinels need a master's name", async () => {
  const world = realTestWorld();
  const redis = redisOptionsOf(CONNECT);
  const resolve = (url: string, useSsl: boolean | Record<string, unknown> = false) =>
    resolveRedis(world, parseRedisUrl(url), redis, { useSsl });
  const tlsOf = async (url: string, useSsl: boolean | Record<string, unknown> = false) => {
    const { address } = await resolve(url, useSsl);
    return address.kind === "tcp" ? address.tls : null;
  };
  assert.equal(await tlsOf("redis://h"), null);
  assert.equal((await tlsOf("rediss://h"))?.verify, true);
  assert.equal((await tlsOf("rediss://h?ssl_cert_reqs=CERT_NONE"))?.verify, false);
  assert.equal((await tlsOf("redis://h", true))?.verify, true);
  assert.equal((await tlsOf("redis://h", { ssl_cert_reqs: "none" }))?.verify, false);
  await assert.rejects(resolve("rediss://h?ssl_ca_certs=%2Fno%2Fsuch"), /"\/no\/such"/);
  await assert.rejects(resolve("sentinel://h"), /master_name/);
});

Deno.test("redisOptionsOf: kombu's defaults, seconds as milliseconds, and wrong values named", () => {
  const of = (transportOptions: Record<string, unknown>) => redisOptionsOf({ ...CONNECT, transportOptions });
  const plain = of({});
  assert.deepEqual(plain.steps, [0, 3, 6, 9]);
  assert.equal(plain.visibilityTimeoutMs, 3_600_000);
  assert.equal(plain.unackedKey, "unacked");
  assert.equal(plain.fanoutPrefix, "/{db}.");
  assert.equal(plain.connectTimeoutMs, 4000);
  assert.equal(of({ fanout_prefix: false }).fanoutPrefix, "");
  assert.equal(of({ visibility_timeout: 1.5 }).visibilityTimeoutMs, 1500);
  assert.equal(of({ socket_connect_timeout: 1 }).connectTimeoutMs, 1000);
  assert.equal(of({ sentinel_kwargs: { password: "x" } }).sentinelPassword, "x");
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
