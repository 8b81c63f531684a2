// Goal: a new version of node-redis that moves the parts we take fails here, not in a worker.
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { loadEngine, NodeRedis } from "../../../lib/backend/node_redis.ts";
import { FakeClock } from "../../support/fake_world.ts";

const root = new URL("../../../", import.meta.url);

Deno.test("node-redis: the parts that the result store takes are where they were", async () => {
  const { Queue, Socket, ErrorReply } = await loadEngine();
  const queue = new Queue(3, null, () => {}, "test");
  for (const name of ["addCommand", "subscribe", "unsubscribe", "commandsToWrite", "flushAll"] as const) {
    assert.equal(typeof queue[name], "function", name);
  }
  assert.equal(typeof queue.decoder.write, "function");
  const reply = queue.addCommand<unknown>(["GET", "key"]);
  const refused = queue.addCommand<unknown>(["BAD"]);
  const written = [...queue.commandsToWrite()].flat().join("");
  assert.equal(written, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n*1\r\n$3\r\nBAD\r\n");
  const rejected = assert.rejects(
    refused,
    (error) => error instanceof ErrorReply && error.message === "ERR no such command",
  );
  queue.decoder.write(Buffer.from("$5\r\nvalue\r\n-ERR no such command\r\n"));
  assert.equal(await reply, "value");
  await rejected;
  const unanswered = queue.addCommand<unknown>(["PING"]);
  const given = assert.rejects(unanswered, /gone/);
  queue.flushAll(new Error("gone"));
  await given;
  const socket = new Socket(() => Promise.resolve(), "test", { port: 1, reconnectStrategy: false });
  for (const name of ["connect", "destroy", "write", "on"] as const) {
    assert.equal(typeof socket[name], "function", name);
  }
  assert.equal(socket.isReady, false);
});

Deno.test("NodeRedis.sendEach: what a server has said, and lost before its replicas had it, is an error", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    const stream = await listener.accept();
    const reader = stream.readable.getReader();
    const writer = stream.writable.getWriter();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const names = [...new TextDecoder().decode(value).matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)].map((
        [, name],
      ) => name!);
      const said = names.map((name) =>
        name === "HELLO" ? "-ERR unknown command" : name === "PING" ? "+PONG" : "+OK"
      );
      const at = names.indexOf("WAIT");
      await writer.write(
        new TextEncoder().encode(`${said.slice(0, at < 0 ? undefined : at).join("\r\n")}\r\n`),
      );
      if (at >= 0) return stream.close();
    }
  })();
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const client = new NodeRedis(new FakeClock(), await loadEngine(), {
    socket: { host: "127.0.0.1", port: listener.addr.port },
    resp: 2,
    credentials: { username: null, password: null, db: 0, clientName: null },
    pingMs: null,
    waitReplicas: 1,
    timeoutMs: null,
  }, { onEnd: () => resolve(), onShardEnd() {} });
  await client.connect();
  const set = client.sendCommand(["SET", "before", "1"]);
  assert.equal(await set, "OK");
  const errors = await client.sendEach([["SET", "a", "1"], ["SET", "b", "2"]]);
  assert.equal(errors.length, 2);
  for (const error of errors) assert.ok(error instanceof Error, String(error));
  client.destroy();
  await Promise.all([serving, ended]);
  listener.close();
});

Deno.test("node-redis: pinned to one version, and imported by the files that say so", async () => {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  assert.match(imports["@redis/client/"], /^npm:\/@redis\/client@\d+\.\d+\.\d+\/$/);
  const importers: string[] = [];
  const walk = async (folder: string) => {
    for await (const { name, isDirectory } of Deno.readDir(new URL(folder, root))) {
      const path = `${folder}${name}`;
      if (isDirectory) await walk(`${path}/`);
      else if (/["']@redis\/client/.test(await Deno.readTextFile(new URL(path, root)))) importers.push(path);
    }
  };
  await walk("lib/");
  // A cluster's slots are counted by a function of its own file.
  assert.deepEqual(importers.sort(), ["lib/backend/node_redis.ts", "lib/redis/cluster.ts"]);
});
