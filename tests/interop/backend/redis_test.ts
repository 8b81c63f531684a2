/** What only the Redis store has: Celery's own keys, outages, old and restricted servers, TLS, Sentinel. */

import { countChordPart } from "../../support/chords.ts";
import assert from "node:assert/strict";
import { AccessRefused, DialError } from "../../../lib/base/mod.ts";
import { type Backend, type BackendOptions, openBackend } from "../../../lib/backend/mod.ts";
import { awaited, backendOptions, resultRecord, stored } from "../../conformance/backend.ts";
import { eventually, freePort } from "../../support/ports.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { startProxy } from "../../support/proxy.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { startRedis } from "../../support/servers.ts";
import { disposableFolder } from "../../support/temporary.ts";

const QUICK = {
  retry_policy: { max_retries: 100, interval_start: 0.02, interval_step: 0, interval_max: 0.02 },
};

function open(url: string, changes: Partial<BackendOptions> = {}): Promise<Backend> {
  return openBackend(realTestWorld(), url, backendOptions(changes));
}

Deno.test("redis: keys, lifetimes and channels are Celery's", async () => {
  await using server = await startRedis();
  await using backend = await open(server.url(2), { expiresSeconds: 777 });
  const record = resultRecord("t1", "SUCCESS", 3);
  await stored(backend, record);
  const cli = (...args: string[]) => server.cli("-n", "2", ...args);
  assert.equal(await cli("GET", "celery-task-meta-t1"), record.document);
  assert.ok(Number(await cli("TTL", "celery-task-meta-t1")) > 700);
  await backend.saveGroup("g", '[["g",null],[]]');
  assert.deepEqual(JSON.parse(await cli("GET", "celery-taskset-meta-g")), { result: [["g", null], []] });
  await backend.startChord("c", 2);
  await backend.growChord("c", 1);
  await countChordPart(backend, {
    groupId: "c",
    groupIndex: 4,
    taskId: "m",
    state: "SUCCESS",
    result: '{"a": 1}',
  });
  assert.equal(await cli("GET", "celery-taskset-meta-c.s"), "2");
  assert.equal(await cli("GET", "celery-taskset-meta-c.t"), "1");
  assert.equal(
    await cli("ZRANGE", "celery-taskset-meta-c.j", "0", "-1", "WITHSCORES"),
    '[1,"m","SUCCESS",{"a": 1}]\n4',
  );
  assert.ok(Number(await cli("TTL", "celery-taskset-meta-c.j")) > 700);
  const { ready } = awaited(backend, ["t2"]);
  await eventually(
    async () => (await cli("PUBSUB", "NUMSUB", "celery-task-meta-t2")).endsWith("\n1"),
    "subscribed",
  );
  await stored(backend, resultRecord("t2", "SUCCESS", 1));
  await ready;
  await eventually(async () => (await cli("PUBSUB", "CHANNELS")) === "", "unsubscribed");
  await using forEver = await open(server.url(2), {
    expiresSeconds: null,
    transportOptions: { global_keyprefix: "shop", result_chord_ordered: false },
  });
  await stored(forEver, record);
  assert.equal(await cli("TTL", "shop_celery-task-meta-t1"), "-1");
  await forEver.startChord("u", 2);
  const part = (taskId: string) => ({ groupId: "u", groupIndex: 0, taskId, state: "SUCCESS", result: "1" });
  assert.equal(await countChordPart(forEver, part("b")), null);
  assert.equal(await countChordPart(forEver, part("b")), null);
  assert.equal(await cli("LRANGE", "shop_celery-taskset-meta-u.j", "0", "-1"), '[1,"b","SUCCESS",1]');
  assert.deepEqual((await countChordPart(forEver, part("a")))?.map((member) => member.taskId), ["b", "a"]);
});

Deno.test("redis: a server without RESP3, then one without scripts, serves all the same", async () => {
  for (const command of ["HELLO", "EVAL"]) {
    await using server = await startRedis({ args: ["--rename-command", command, ""] });
    await using ours = await open(server.url());
    await using theirs = await open(server.url());
    const { ready } = awaited(ours, ["a", "b"]);
    await stored(theirs, resultRecord("a", "SUCCESS", "ä"));
    await stored(theirs, resultRecord("b", "SUCCESS", 2));
    assert.deepEqual((await ready).map((meta) => meta.result), ["ä", 2]);
    await ours.startChord("g", 2);
    const part = (n: number) => ({
      groupId: "g",
      groupIndex: n,
      taskId: `t${n}`,
      state: "SUCCESS",
      result: String(n),
    });
    assert.equal(await countChordPart(ours, part(1)), null);
    assert.deepEqual((await countChordPart(theirs, part(0)))?.map((member) => member.result), [0, 1]);
    await ours.endChord("g");
    const counters = ["j", "t", "s"].map((part) => `celery-taskset-meta-g.${part}`);
    assert.equal(await server.cli("EXISTS", ...counters), "0");
    // That it has ended is kept for a while, and then forgotten.
    const leftSeconds = Number(await server.cli("TTL", "celery-taskset-meta-g.o"));
    assert.ok(leftSeconds > 0 && leftSeconds <= 300, `${leftSeconds}`);
  }
});

Deno.test("redis: results stored while the server is away arrive after it is back, and waits go on", async () => {
  await using server = await startRedis({ aof: true });
  await using ours = await open(server.url(), { transportOptions: QUICK });
  await using theirs = await open(server.url(), { transportOptions: QUICK });
  await stored(theirs, resultRecord("before", "SUCCESS", 0));
  const { told, ready } = awaited(ours, ["a", "b", "c"]);
  await stored(theirs, resultRecord("a", "STARTED", null));
  await eventually(() => told.length === 1, "the wait is on");
  await server.kill();
  const states: (Error | null)[] = [];
  theirs.store(resultRecord("a", "STARTED", null), (error) => states.push(error));
  theirs.store(resultRecord("a", "SUCCESS", 1), (error) => states.push(error));
  theirs.store(resultRecord("b", "SUCCESS", 2), (error) => states.push(error));
  await server.restart(0);
  const rest = stored(theirs, resultRecord("c", "SUCCESS", 3));
  assert.deepEqual((await ready).map((meta) => meta.result), [1, 2, 3]);
  await rest;
  assert.deepEqual(states, [null, null, null]);
  assert.equal((await ours.fetch("before"))?.result, 0);
});

Deno.test("redis: after the last retry the caller is told, and so is whoever waits", async () => {
  const world = realTestWorld();
  const url = `redis://:secret@127.0.0.1:${freePort()}/0`;
  const retry_policy = { max_retries: 2, interval_start: 0.01, interval_step: 0, interval_max: 0.01 };
  await using backend = await openBackend(world, url, backendOptions({ transportOptions: { retry_policy } }));
  await assert.rejects(stored(backend, resultRecord("a", "SUCCESS", 1)), DialError);
  await assert.rejects(
    backend.fetch("a"),
    /Cannot connect to the result store at 127\.0\.0\.1:\d+: .*ECONNREFUSED/,
  );
  await assert.rejects(backend.startChord("g", 1), DialError);
  await assert.rejects(awaited(backend, ["a"]).ready, /Retry limit exceeded/);
  const log = world.log.messages().join("\n");
  assert.match(log, /Connection to Redis lost: Retry \(0\/2\) now\./);
  assert.match(log, /Cannot store the result of task a: /);
  assert.ok(!log.includes("secret"));
});

Deno.test("redis: a wrong password is told at once", async () => {
  await using server = await startRedis({ password: "right" });
  await using backend = await open(`redis://:wrong@127.0.0.1:${server.port}/0`);
  await assert.rejects(stored(backend, resultRecord("a", "SUCCESS", 1)), AccessRefused);
  await assert.rejects(backend.fetch("a"), (error) => {
    assert.ok(error instanceof AccessRefused);
    return !error.message.includes("wrong ");
  });
});

Deno.test("redis: who waits and may not subscribe, or not read, is told so", async () => {
  await using server = await startRedis();
  const rules = {
    channels: ["+@all", "resetchannels"],
    subscribe: ["+@all", "&*", "-subscribe"],
    mget: ["+@all", "&*", "-mget"],
  };
  for (const [name, rule] of Object.entries(rules)) {
    await server.cli("ACL", "SETUSER", name, "on", ">pw", "~*", ...rule);
    await using backend = await open(`redis://${name}:pw@127.0.0.1:${server.port}/0`);
    await assert.rejects(
      awaited(backend, ["a"]).ready,
      (error) => error instanceof AccessRefused && /NOPERM/.test(error.message),
      name,
    );
  }
});

Deno.test("redis: a result that was stored without news is found all the same", async () => {
  await using server = await startRedis();
  const { clock } = fakeWorld();
  await using backend = await openBackend({ ...realTestWorld(), clock }, server.url(), backendOptions());
  const { ready } = awaited(backend, ["a"]);
  const key = "celery-task-meta-a";
  await eventually(async () => (await server.cli("PUBSUB", "NUMSUB", key)).endsWith("\n1"), "subscribed");
  await server.cli("SET", key, resultRecord("a", "SUCCESS", "quiet").document as string);
  await clock.advance(30_000);
  assert.equal((await ready)[0]!.result, "quiet");
});

Deno.test("redis: a server that is full is waited for", async () => {
  await using server = await startRedis();
  await using backend = await open(server.url(), { transportOptions: QUICK });
  await backend.fetch("x");
  await server.cli("CONFIG", "SET", "maxmemory", "1");
  const waits = stored(backend, resultRecord("a", "SUCCESS", 1));
  await eventually(async () => /errorstat_OOM/.test(await server.cli("INFO", "errorstats")), "refused once");
  await server.cli("CONFIG", "SET", "maxmemory", "0");
  await waits;
  assert.equal((await backend.fetch("a"))?.result, 1);
});

Deno.test("redis: a server that hangs is left after redis_socket_timeout, and found again", async () => {
  await using server = await startRedis();
  await using backend = await open(server.url(), {
    transportOptions: QUICK,
    redis: { redis_socket_timeout: 0.2, redis_socket_connect_timeout: 0.2 },
  });
  await backend.fetch("x");
  const pid = Number(/process_id:(\d+)/.exec(await server.cli("INFO", "server"))![1]);
  Deno.kill(pid, "SIGSTOP");
  let isDone = false;
  const waits = stored(backend, resultRecord("a", "SUCCESS", 1)).then(() => isDone = true);
  const { ready } = awaited(backend, ["a"]);
  await assert.rejects(backend.fetch("a"), /lost|no answer|timeout/i);
  assert.equal(isDone, false);
  Deno.kill(pid, "SIGCONT");
  await waits;
  assert.equal((await ready)[0]?.result, 1);
});

Deno.test("redis: unix socket with an ACL user and a database", async () => {
  await using server = await startRedis();
  await server.cli("ACL", "SETUSER", "ann", "on", ">pw", "~*", "&*", "+@all");
  await server.cli("CONFIG", "SET", "requirepass", "other");
  await using backend = await open(`redis+socket://ann:pw@${server.socketPath}?virtual_host=3`);
  await stored(backend, resultRecord("a", "SUCCESS", 1));
  assert.equal((await backend.fetch("a"))?.result, 1);
});

Deno.test("redis: the master is found by Sentinel", async () => {
  await using server = await startRedis();
  const folder = await Deno.makeTempDir();
  const [port, dead] = [freePort(), freePort()];
  const conf = `${folder}/sentinel.conf`;
  await Deno.writeTextFile(
    conf,
    `port ${port}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 ${server.port} 1\n`,
  );
  const child = new Deno.Command("redis-server", {
    args: [conf, "--sentinel"],
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const url = `sentinel://127.0.0.1:${dead}/1;sentinel://127.0.0.1:${port}/1`;
    await using backend = await open(url, { transportOptions: { ...QUICK, master_name: "mine" } });
    await stored(backend, resultRecord("a", "SUCCESS", 1));
    assert.equal(await server.cli("-n", "1", "EXISTS", "celery-task-meta-a"), "1");
    await using wrong = await open(url, { transportOptions: { master_name: "yours" } });
    await assert.rejects(wrong.fetch("a"), /Cannot find the master "yours"/);
  } finally {
    child.kill("SIGTERM");
    await child.status;
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("redis: TLS with a certificate authority of one's own", async () => {
  await using place = await disposableFolder();
  const folder = place.path;
  const { success } = await new Deno.Command("openssl", {
    args: [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-days",
      "2",
      "-subj",
      "/CN=localhost",
      "-keyout",
    ]
      .concat([
        `${folder}/key.pem`,
        "-out",
        `${folder}/cert.pem`,
        "-addext",
        "subjectAltName=DNS:localhost",
      ]),
    stdout: "null",
    stderr: "null",
  }).output();
  assert.ok(success);
  const port = freePort();
  await using _server = await startRedis({
    args: ["--tls-port", String(port), "--tls-cert-file", `${folder}/cert.pem`]
      .concat(["--tls-key-file", `${folder}/key.pem`, "--tls-auth-clients", "no"])
      .concat(["--tls-ca-cert-file", `${folder}/cert.pem`]),
  });
  const url = `rediss://localhost:${port}/0`;
  const ca = encodeURIComponent(`${folder}/cert.pem`);
  await using verified = await open(`${url}?ssl_cert_reqs=required&ssl_ca_certs=${ca}`);
  await stored(verified, resultRecord("a", "SUCCESS", 1));
  await using lax = await open(url, { redis: { redis_backend_use_ssl: { ssl_cert_reqs: "none" } } });
  assert.equal((await lax.fetch("a"))?.result, 1);
  await using strict = await open(url, { transportOptions: QUICK });
  await assert.rejects(strict.fetch("a"), DialError);
});

Deno.test("redis: a result is stored over a line that needs longer for it than an answer may take", async () => {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  proxy.throttle(6_000_000);
  await using backend = await open(`redis://127.0.0.1:${proxy.port}/0?socket_timeout=0.2`, {
    transportOptions: QUICK,
  });
  const document = resultRecord("slow", "SUCCESS", "x".repeat(4_000_000));
  await stored(backend, document);
  assert.equal(await server.cli("STRLEN", "celery-task-meta-slow"), String(document.document.length));
  assert.equal(proxy.accepted, 1);
});

Deno.test("redis: results above the server's limit for subscribers reach who waits, in a few connections", async () => {
  await using server = await startRedis();
  await server.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 256kb 256kb 60");
  await using proxy = startProxy(server.port);
  const url = `redis://127.0.0.1:${proxy.port}/0`;
  await using store = await open(server.url(0));
  await using reader = await open(url);
  const large = "x".repeat(2_000_000);
  // As it comes, beside one that comes later.
  const first = awaited(reader, ["comes"]);
  const later = awaited(reader, ["later"]);
  await eventually(
    async () => (await server.cli("PUBSUB", "NUMSUB", "celery-task-meta-later")).endsWith("\n1"),
    "subscribed",
  );
  await stored(store, resultRecord("comes", "SUCCESS", large));
  assert.equal((await first.ready)[0]!.result, large);
  // Stored before it was asked for: by a wait, and by a look.
  await stored(store, resultRecord("there", "SUCCESS", large));
  assert.equal((await awaited(reader, ["there"]).ready)[0]!.result, large);
  assert.equal((await reader.fetch("there"))?.result, large);
  // A state that is not the last is told too, and does not end in a circle.
  await stored(store, resultRecord("later", "PROGRESS", large));
  await eventually(() => later.told.length === 1, "told of its progress");
  await stored(store, resultRecord("later", "SUCCESS", 1));
  assert.equal((await later.ready)[0]!.result, 1);
  assert.ok(proxy.accepted < 15, `${proxy.accepted} connections`);
});
