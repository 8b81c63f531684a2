import assert from "node:assert/strict";
import { readRedisPlace, type RedisPlace } from "../../../lib/backend/redis_url.ts";
import { backendOptions } from "../../conformance/backend.ts";

function place(
  url: string,
  redis: Record<string, unknown> = {},
  transportOptions: Record<string, unknown> = {},
): RedisPlace {
  return readRedisPlace(url, backendOptions({ redis, transportOptions }));
}

Deno.test("readRedisPlace: what a bare URL means", () => {
  const { hosts, database, username, password, tls, socketPath, socketTimeoutMs, connectTimeoutMs } = place(
    "redis://",
  );
  assert.deepEqual(hosts, [{ host: "localhost", port: 6379 }]);
  assert.deepEqual([database, username, password, tls, socketPath], [0, null, null, null, null]);
  assert.deepEqual([socketTimeoutMs, connectTimeoutMs], [120_000, 5000]);
});

Deno.test("readRedisPlace: user, escaped password, IPv6, port and database", () => {
  const got = place("redis://us%40er:p%3A%2Fss@[::1]:7000/12");
  assert.deepEqual(got.hosts, [{ host: "::1", port: 7000 }]);
  assert.deepEqual([got.username, got.password, got.database], ["us@er", "p:/ss", 12]);
  assert.equal(place("redis://:a@b@h/1").password, "a@b", "the last @ ends the password");
  assert.equal(place("redis://:100%@h").password, "100%");
});

Deno.test("readRedisPlace: the password is not in what is shown", () => {
  assert.ok(!place("redis://u:secret@h/1").shownUrl.includes("secret"));
  const shown = place("sentinel://:secret@a:1/0;sentinel://:secret@b:2/0", {}, { master_name: "m" }).shownUrl;
  assert.ok(!shown.includes("secret"), shown);
  assert.throws(() => place("redis://u:secret@h/x"), (error: Error) => {
    assert.match(error.message, /Database is int between 0 and limit - 1, not "x"/);
    return !error.message.includes("secret");
  });
});

Deno.test("readRedisPlace: settings fill in, the URL overrides, the query overrides both", () => {
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
  const got = place("redis://", redis);
  assert.deepEqual(got.hosts, [{ host: "set", port: 7 }]);
  assert.deepEqual([got.username, got.password, got.clientName], ["su", "sp", "shop"]);
  assert.deepEqual([got.socketTimeoutMs, got.connectTimeoutMs, got.keepAlive, got.healthCheckMs], [
    3000,
    2000,
    true,
    25_000,
  ]);
  const over = place("redis://u:p@h:1/2?db=3&socket_timeout=1.5&username=q", redis);
  assert.deepEqual([over.username, over.password, over.database, over.socketTimeoutMs], ["q", "p", 3, 1500]);
});

Deno.test("readRedisPlace: unix sockets take the database from virtual_host", () => {
  for (
    const url of ["redis+socket:///run/redis.sock?virtual_host=5", "socket:///run/redis.sock?virtual_host=5"]
  ) {
    const got = place(url);
    assert.deepEqual([got.socketPath, got.database, got.hosts.length], ["/run/redis.sock", 5, 0]);
  }
});

Deno.test("readRedisPlace: TLS by URL and by redis_backend_use_ssl", () => {
  const byUrl = place("rediss://h?ssl_cert_reqs=CERT_NONE&ssl_ca_certs=%2Fetc%2Fca.pem").tls;
  assert.deepEqual(byUrl, {
    caPath: "/etc/ca.pem",
    certPath: null,
    keyPath: null,
    verify: "none",
    checkHostname: true,
  });
  const bySetting = place("rediss://h", {
    redis_backend_use_ssl: { ssl_cert_reqs: "optional", ssl_certfile: "/c", ssl_keyfile: "/k" },
  }).tls;
  assert.deepEqual([bySetting?.verify, bySetting?.certPath, bySetting?.keyPath], ["optional", "/c", "/k"]);
  assert.equal(place("rediss://h").tls?.verify, "required");
  assert.throws(() => place("rediss://h?ssl_cert_reqs=maybe"), /must be set to CERT_REQUIRED/);
  assert.throws(() => place("redis://h?ssl_cert_reqs=none"), /should use the scheme rediss/);
});

Deno.test("readRedisPlace: sentinels", () => {
  const got = place("sentinel://:pw@a:26380/3;sentinel://b/3", {}, {
    master_name: "cluster1",
    sentinel_kwargs: { password: "spw" },
  });
  assert.deepEqual(got.hosts, [{ host: "a", port: 26380 }, { host: "b", port: 26379 }]);
  assert.deepEqual([got.masterName, got.password, got.sentinelPassword, got.database], [
    "cluster1",
    "pw",
    "spw",
    3,
  ]);
  assert.throws(() => place("sentinel://a"), /has no "master_name"/);
});
