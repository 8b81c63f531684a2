// Goal: a Redis URL means to a broker and to a result store what it means to kombu and Celery.
import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import {
  parseRedisUrl,
  type RedisServer,
  type RedisUrlContext,
  resolveTarget,
} from "../../../lib/redis/mod.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { type Meaning, meaning, REDIS_URLS } from "../../support/redis_urls.ts";

const BROKER: RedisUrlContext = { kind: "broker", useSsl: false, transportOptions: { master_name: "mine" } };
const RESULTS: RedisUrlContext = { ...BROKER, kind: "results" };

function meaningOf({ place, username, password, db, tls }: RedisServer): Meaning {
  const at = (nodes: readonly { host: string; port: number }[]) =>
    nodes.map(({ host, port }) => `${host}:${port}`).join(",");
  return {
    at: place.kind === "unix" ? place.path : at(place.kind === "tcp" ? [place] : place.nodes),
    db,
    user: username,
    password,
    tls: tls === null ? null : tls.verify ? "verified" : "unverified",
  };
}

for (const context of [BROKER, RESULTS]) {
  Deno.test(`parseRedisUrl: what the URL of a ${context.kind} means`, () => {
    for (const { url, useSsl = false, ...expected } of REDIS_URLS) {
      const means = expected[context.kind];
      const read = () => meaningOf(parseRedisUrl(url, { ...context, useSsl }));
      if (typeof means !== "string") {
        assert.deepEqual(read(), meaning(means), url);
        continue;
      }
      assert.throws(read, (error: Error) => {
        assert.ok(error instanceof UsageError, url);
        assert.ok(error.message.includes(means), error.message);
        return !error.message.includes("secret") && !error.message.includes("\n");
      }, url);
    }
  });
}

Deno.test("parseRedisUrl: the nodes of a cluster, which Python does not know, for brokers and results alike", () => {
  for (const context of [BROKER, RESULTS]) {
    const of = (url: string) => parseRedisUrl(url, context);
    for (const scheme of ["redis-cluster", "rediscluster"]) {
      const { place, username, password, tls } = of(`${scheme}://u:secret@h1,h2:7001/0`);
      assert.deepEqual(place, {
        kind: "cluster",
        nodes: [{ host: "h1", port: 6379 }, { host: "h2", port: 7001 }],
      });
      assert.deepEqual([username, password, tls], ["u", "secret", null]);
    }
    assert.equal(of("rediss-cluster://h").tls?.verify, true);
    assert.equal(of("redis-cluster://h?ssl_cert_reqs=none").tls?.verify, false);
    assert.throws(() => of("redis-cluster://:secret@h/3"), (error: Error) => {
      return error instanceof UsageError && /no database but 0/.test(error.message) &&
        !error.message.includes("secret");
    });
    assert.throws(() => of("redis-cluster://h1;redis-cluster://h2"), /joined by commas/);
  }
});

Deno.test("parseRedisUrl: refusals show no password", () => {
  for (const context of [BROKER, RESULTS]) {
    for (
      const url of [
        "redis://u:secret@h/x",
        "redis://:secret@h:port",
        "redis://:secret@h/zero",
        "sentinel://:secret@a;redis://b",
      ]
    ) {
      assert.throws(
        () => parseRedisUrl(url, context),
        (error: Error) => !error.message.includes("secret"),
        url,
      );
    }
  }
});

Deno.test("parseRedisUrl: TLS files, and a certificate of another host where it is asked for", () => {
  for (const context of [BROKER, RESULTS]) {
    const { tls } = parseRedisUrl(
      "rediss://h?ssl_cert_reqs=CERT_NONE&ssl_ca_certs=%2Fetc%2Fca.pem&ssl_check_hostname=false",
      context,
    );
    assert.deepEqual(tls, {
      caCerts: "/etc/ca.pem",
      certfile: null,
      keyfile: null,
      verify: false,
      checkHostname: false,
    });
    const bySetting = parseRedisUrl("rediss://h?ssl_keyfile=/own", {
      ...context,
      useSsl: { ssl_cert_reqs: "optional", ssl_certfile: "/c", ssl_keyfile: "/k" },
    }).tls;
    assert.deepEqual([bySetting?.verify, bySetting?.certfile, bySetting?.keyfile], [true, "/c", "/own"]);
  }
});

Deno.test("parseRedisUrl: sentinels have a master, and a login of their own", () => {
  for (const [context, setting] of [[BROKER, "broker"], [RESULTS, "result_backend"]] as const) {
    const transportOptions = {
      master_name: "cluster1",
      min_other_sentinels: 2,
      sentinel_kwargs: { username: "su", password: "spw" },
    };
    const { place, password } = parseRedisUrl("sentinel://:pw@a", { ...context, transportOptions });
    assert.deepEqual(place, {
      kind: "sentinel",
      nodes: [{ host: "a", port: 26379 }],
      masterName: "cluster1",
      username: "su",
      password: "spw",
      minOtherSentinels: 2,
    });
    assert.equal(password, "pw");
    const options = (transportOptions: Record<string, unknown>) => () =>
      parseRedisUrl("sentinel://a", { ...context, transportOptions });
    assert.throws(options({}), new RegExp(`${setting}_transport_options has no "master_name"`));
    assert.throws(options({ master_name: 1 }), /_transport_options\["master_name"\]: it must be a string/);
    assert.throws(
      options({ master_name: "m", sentinel_kwargs: 1 }),
      /\["sentinel_kwargs"\]: it must be an object/,
    );
  }
});

Deno.test("resolveTarget: TLS by scheme, query and setting; a file that is not there is named", async () => {
  const world = realTestWorld();
  const tlsOf = async (url: string, useSsl: boolean | Record<string, unknown> = false) => {
    const server = parseRedisUrl(url, { ...BROKER, useSsl });
    const { address } = await resolveTarget(world, server, { timeoutMs: 1000 });
    return address.kind === "tcp" ? address.tls : null;
  };
  assert.equal(await tlsOf("redis://h"), null);
  assert.equal((await tlsOf("rediss://h"))?.verify, true);
  assert.equal((await tlsOf("rediss://h?ssl_cert_reqs=CERT_NONE"))?.verify, false);
  assert.equal((await tlsOf("rediss://h?ssl_check_hostname=false"))?.checkHostname, false);
  assert.equal((await tlsOf("redis://h", true))?.verify, true);
  assert.equal((await tlsOf("redis://h", { ssl_cert_reqs: "none" }))?.verify, false);
  await assert.rejects(tlsOf("rediss://h?ssl_ca_certs=%2Fno%2Fsuch"), /"\/no\/such"/);
});
