import assert from "node:assert/strict";
import {
  AccessRefused,
  type Address,
  ConnectionLost,
  ServerError,
  type World,
} from "../../../lib/base/mod.ts";
import { realDialer } from "../../../lib/net/mod.ts";
import { PubSub, RedisConnection, Script, sendScript } from "../../../lib/redis/mod.ts";
import type { Reply } from "../../../lib/wire/mod.ts";
import { eventually } from "../../support/ports.ts";
import { startProxy } from "../../support/proxy.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { type RedisServer, startRedis } from "../../support/servers.ts";

const OPTIONS = { timeoutMs: 3000 };

function testWorld(): World & { log: ReturnType<typeof realTestWorld>["log"] } {
  return { ...realTestWorld(), dialer: realDialer() };
}

function addressOf(port: number): Address {
  return { kind: "tcp", host: "127.0.0.1", port, tls: null };
}

function targetOf(server: RedisServer, more: { password?: string; username?: string; db?: number } = {}) {
  return {
    address: addressOf(server.port),
    username: more.username ?? null,
    password: more.password ?? null,
    db: more.db ?? 0,
  };
}

/** A sink that keeps what it hears. */
function recorder(): {
  replies: Reply[];
  lost: Error[];
  onReply(reply: Reply): void;
  onLost(error: Error): void;
} {
  const replies: Reply[] = [];
  const lost: Error[] = [];
  return {
    replies,
    lost,
    onReply: (reply) => void replies.push(reply),
    onLost: (error) => void lost.push(error),
  };
}

/** A server that answers each command with what `answer` gives for it; null: silence. */
function scripted(answer: (command: string) => string | null): { port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Deno.Conn[] = [];
  const serve = async (connection: Deno.Conn) => {
    const buffer = new Uint8Array(4096);
    for (;;) {
      const count = await connection.read(buffer);
      if (count === null) return;
      const commands = new TextDecoder().decode(buffer.subarray(0, count)).split(/(?=\*\d+\r\n)/);
      for (const command of commands) {
        const words = command.split("\r\n").filter((_, i) => i > 0 && i % 2 === 0).join(" ");
        const reply = answer(words);
        if (reply !== null) await connection.write(new TextEncoder().encode(reply));
      }
    }
  };
  const serving = (async () => {
    for await (const connection of listener) {
      open.push(connection);
      void serve(connection).catch(() => {});
    }
  })().catch(() => {});
  return {
    port: (listener.addr as Deno.NetAddr).port,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of open) {
        try {
          connection.close();
        } catch {
          // It was closed by the other side already.
        }
      }
      await serving;
    },
  };
}

Deno.test("RedisConnection: both lanes keep order; what is sent in a turn leaves in one write", async () => {
  await using server = await startRedis();
  const world = testWorld();
  let writes = 0;
  const counting: World = {
    ...world,
    dialer: {
      async dial(address, options) {
        const stream = await world.dialer.dial(address, options);
        return { ...stream, write: (bytes) => (writes++, stream.write(bytes)) };
      },
    },
  };
  await using connection = await RedisConnection.open(counting, targetOf(server, { db: 3 }), {
    ...OPTIONS,
    clientName: "lovage test",
  });
  assert.equal(connection.protocol, 3);
  assert.ok(connection.isAtLeast(6, 0) && !connection.isAtLeast(99, 0));
  writes = 0;
  const sink = recorder();
  for (let n = 0; n < 100; n++) connection.send(["RPUSH", "list", n], sink);
  const calls = await Promise.all([
    connection.call(["LLEN", "list"]),
    connection.callAll([["GET", "x"], ["PING"]]),
  ]);
  assert.equal(writes, 1);
  assert.deepEqual(calls, [100, [null, "PONG"]]);
  assert.deepEqual(sink.replies, Array.from({ length: 100 }, (_, n) => n + 1));
  assert.equal(await connection.call(["CLIENT", "GETNAME"]), "lovage_test");
  assert.equal(await server.cli("-n", "3", "llen", "list"), "100");
});

Deno.test("RedisConnection: error replies are ours by kind, and never show a password", async () => {
  await using server = await startRedis({ password: "s3cret word" });
  const world = testWorld();
  await assert.rejects(
    RedisConnection.open(world, targetOf(server), OPTIONS),
    (error) => error instanceof AccessRefused && /NOAUTH/.test(error.message),
  );
  await assert.rejects(
    RedisConnection.open(world, targetOf(server, { password: "hunter2" }), OPTIONS),
    (error) => error instanceof AccessRefused && !error.message.includes("hunter2"),
  );
  await using connection = await RedisConnection.open(
    world,
    targetOf(server, { password: "s3cret word" }),
    OPTIONS,
  );
  await connection.call(["SET", "text", "x"]);
  await assert.rejects(
    connection.call(["LPUSH", "text", "y"]),
    (error) => error instanceof ServerError && error.code === "WRONGTYPE" && !error.isRetryable,
  );
  await server.cli("config", "set", "maxmemory", "1");
  await assert.rejects(
    connection.call(["SET", "more", "x"]),
    (error) => error instanceof ServerError && error.code === "OOM" && error.isRetryable,
  );
  await assert.rejects(
    connection.call(["NOSUCH", "hunter2"]),
    (error) => error instanceof ServerError && !error.message.includes("hunter2"),
  );
});

Deno.test("RedisConnection: a server without HELLO is spoken to in RESP2, password unseen", async () => {
  const seen: string[] = [];
  await using server = scripted((command) => {
    seen.push(command);
    if (command.startsWith("HELLO")) {
      return `-ERR unknown command 'HELLO', with args beginning with: '3' 'pw'\r\n`;
    }
    if (command.startsWith("INFO")) return "$23\r\nredis_version:4.0.9\r\nx:1\r\n".replace("$23", "$24");
    return command === "PING" ? "+PONG\r\n" : "+OK\r\n";
  });
  const target = { address: addressOf(server.port), username: null, password: "pw", db: 2 };
  await using connection = await RedisConnection.open(testWorld(), target, { ...OPTIONS, clientName: "n" });
  assert.equal(connection.protocol, 2);
  assert.ok(connection.isAtLeast(4, 0) && !connection.isAtLeast(5, 0));
  assert.deepEqual(seen, [
    "HELLO 3 AUTH default pw SETNAME n",
    "AUTH pw",
    "CLIENT SETNAME n",
    "INFO server",
    "SELECT 2",
    "PING",
  ]);
});

Deno.test("RedisConnection: when it is lost every open sink hears so once, and later ones at once", async () => {
  await using server = await startRedis();
  const connection = await RedisConnection.open(testWorld(), targetOf(server), OPTIONS);
  const [one, two] = [recorder(), recorder()];
  connection.send(["BLPOP", "none", 0], one);
  for (let n = 0; n < 5; n++) connection.send(["PING"], n % 2 === 0 ? one : two);
  const call = connection.call(["PING"]);
  await eventually(
    async () => (await server.cli("info", "clients")).includes("blocked_clients:1"),
    "it blocks",
  );
  await Promise.all([server.kill(), assert.rejects(call, ConnectionLost)]);
  assert.deepEqual([one.lost.length, two.lost.length], [1, 1]);
  assert.ok(await connection.lost instanceof ConnectionLost);
  const late = recorder();
  connection.send(["PING"], late);
  assert.deepEqual([late.lost.length, late.replies.length], [1, 0]);
  await connection.close();
  assert.equal(connection.isLost, true);
});

Deno.test("RedisConnection: a peer that falls silent is noticed, with a reply open and without", async () => {
  let isSilent = false;
  await using server = scripted((command) =>
    isSilent ? null : command.startsWith("HELLO") ? "%1\r\n+proto\r\n:3\r\n" : "+PONG\r\n"
  );
  const target = { address: addressOf(server.port), username: null, password: null, db: 0 };
  for (const isAsking of [true, false]) {
    isSilent = false;
    const connection = await RedisConnection.open(testWorld(), target, {
      ...OPTIONS,
      healthCheckMs: 60,
      replyTimeoutMs: 100,
    });
    isSilent = true;
    const sink = recorder();
    if (isAsking) connection.send(["GET", "x"], sink);
    const error = await connection.lost;
    assert.match(String(error), /no answer in 0.1 s/);
    assert.equal(sink.lost.length, isAsking ? 1 : 0);
  }
});

Deno.test("RedisConnection: logging in to a silent server ends in time; bytes that are no RESP end it", async () => {
  await using silent = scripted(() => null);
  const target = { address: addressOf(silent.port), username: null, password: null, db: 0 };
  await assert.rejects(
    RedisConnection.open(testWorld(), target, { timeoutMs: 100 }),
    /no answer in 0.1 s/,
  );
  await using http = scripted(() => "HTTP/1.1 400 Bad Request\r\n\r\n");
  await assert.rejects(
    RedisConnection.open(testWorld(), { ...target, address: addressOf(http.port) }, OPTIONS),
    /Cannot read the server's reply/,
  );
});

Deno.test("RedisConnection: close writes and hears what was sent before, and lost says null", async () => {
  await using server = await startRedis();
  const connection = await RedisConnection.open(testWorld(), targetOf(server), OPTIONS);
  const sink = recorder();
  connection.send(["SET", "k", "v"], sink);
  await Promise.all([connection.close(), connection.close()]);
  assert.deepEqual([sink.replies, sink.lost], [["OK"], []]);
  assert.equal(await connection.lost, null);
  assert.equal(await server.cli("get", "k"), "v");
});

Deno.test("sendScript: a script that the server does not know is sent in full", async () => {
  await using server = await startRedis();
  await using connection = await RedisConnection.open(testWorld(), targetOf(server), OPTIONS);
  const script = new Script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}");
  const sink = recorder();
  sendScript(connection, script, 1, ["n", "a"], sink);
  await connection.call(["PING"]);
  sendScript(connection, script, 1, ["n", "b"], sink);
  await connection.call(["SCRIPT", "FLUSH"]);
  sendScript(connection, script, 1, ["n", "c"], sink);
  await eventually(() => sink.replies.length === 3, "three replies");
  assert.deepEqual(sink.replies, [["n", "a", 1], ["n", "b", 2], ["n", "c", 3]]);
  assert.match(String(script.sha), /^[0-9a-f]{40}$/);
});

Deno.test("PubSub: patterns reach their listeners; a refused subscription ends the connection", async () => {
  await using server = await startRedis();
  const world = testWorld();
  const pubsub = await PubSub.open(world, targetOf(server), OPTIONS);
  const heard: string[] = [];
  const listener = (payload: string, channel: string) => void heard.push(`${channel}=${payload}`);
  await pubsub.subscribe("/0.ev/*", listener);
  await pubsub.subscribe("/0.box", listener);
  await server.cli("publish", "/0.ev/worker.online", "1");
  await server.cli("publish", "/0.box", "2");
  await pubsub.unsubscribe("/0.ev/*", listener);
  await server.cli("publish", "/0.ev/worker.online", "3");
  await server.cli("publish", "/0.box", "4");
  await eventually(() => heard.length === 3, "three messages");
  assert.deepEqual(heard, ["/0.ev/worker.online=1", "/0.box=2", "/0.box=4"]);
  await pubsub.close();
  assert.equal(await pubsub.lost, null);

  await server.cli("acl", "setuser", "mute", "on", ">pw", "+@all", "~*", "resetchannels");
  const refused = await PubSub.open(world, targetOf(server, { username: "mute", password: "pw" }), OPTIONS);
  await assert.rejects(refused.subscribe("/0.box", listener), AccessRefused);
  assert.ok(await refused.lost instanceof AccessRefused);
});

Deno.test("an upload that takes longer than an answer may is no silence while the server takes it", async () => {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  proxy.throttle(8_000_000);
  const target = { ...targetOf(server), address: addressOf(proxy.port) };
  await using connection = await RedisConnection.open(testWorld(), target, {
    ...OPTIONS,
    replyTimeoutMs: 200,
  });
  const value = "x".repeat(8_000_000);
  const replies = await connection.callAll([["SET", "large", value], ["SET", "next", value], [
    "STRLEN",
    "large",
  ]]);
  assert.deepEqual(replies, ["OK", "OK", 8_000_000]);
  proxy.stall();
  await assert.rejects(connection.call(["PING"]), /no answer in 0.2 s/);
});
