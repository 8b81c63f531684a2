import assert from "node:assert/strict";
import { type RedisStoreOptions, redisStoreOptions } from "../../../lib/backend/redis_options.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { backendOptions } from "../../conformance/backend.ts";

function read(
  url: string,
  redis: Record<string, unknown> = {},
  transportOptions: Record<string, unknown> = {},
): RedisStoreOptions {
  return redisStoreOptions(realTestWorld(), url, backendOptions({ redis, transportOptions }));
}

Deno.test("redisStoreOptions: what a bare URL means", () => {
  const { server, socketTimeoutMs, connectTimeoutMs } = read("redis://");
  assert.deepEqual(server.place, { kind: "tcp", host: "localhost", port: 6379 });
  assert.deepEqual([socketTimeoutMs, connectTimeoutMs], [120_000, 5000]);
});

Deno.test("redisStoreOptions: a user of the settings without a password logs in with an empty one", () => {
  const { username, password } = read("redis://h", { redis_username: "app" }).server;
  assert.deepEqual([username, password], ["app", ""]);
  assert.equal(read("redis://app@h", { redis_password: "pw" }).server.password, "pw");
});

Deno.test("redisStoreOptions: the password is not in what is shown", () => {
  assert.ok(!read("redis://u:secret@h/1").shownUrl.includes("secret"));
  const shown = read("sentinel://:secret@a:1/0;sentinel://:secret@b:2/0", {}, { master_name: "m" }).shownUrl;
  assert.ok(!shown.includes("secret"), shown);
});

Deno.test("redisStoreOptions: settings fill in, the URL overrides, the query overrides both", () => {
  const redis = {
    redis_host: "set",
    redis_port: 7,
    redis_username: "su",
    redis_password: "sp",
    redis_socket_timeout: 3,
    redis_socket_connect_timeout: 2,
    redis_socket_keepalive: true,
    redis_backend_health_check_interval: 25,
    redis_client_name: "shop",
  };
  const { server, ...got } = read("redis://", redis);
  assert.deepEqual(server.place, { kind: "tcp", host: "set", port: 7 });
  assert.deepEqual([server.username, server.password, got.clientName], ["su", "sp", "shop"]);
  assert.deepEqual([got.socketTimeoutMs, got.connectTimeoutMs, got.keepAlive, got.healthCheckMs], [
    3000,
    2000,
    true,
    25_000,
  ]);
  const over = read("redis://u:p@h:1/2?db=3&socket_timeout=1.5&username=q", redis);
  assert.deepEqual(
    [over.server.username, over.server.password, over.server.db, over.socketTimeoutMs],
    ["q", "p", 3, 1500],
  );
});
