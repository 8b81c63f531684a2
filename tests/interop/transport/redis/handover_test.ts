// Goal: a cut of the connection costs nothing: what was settled stays settled, what was held comes again at once and
// uncounted, and what the server took for a fetch whose reply was cut off is not left to the lease.
// Method: a consumer over a proxy that swallows one direction, is cut, and is followed by a successor.
import assert from "node:assert/strict";
import { type Delivery, queue } from "../../../../lib/transport/mod.ts";
import { eventually } from "../../../support/ports.ts";
import { type Proxy, startProxy } from "../../../support/proxy.ts";
import { hold, type Holder } from "../../../support/redis_holder.ts";
import { type RedisServer, startRedis } from "../../../support/servers.ts";

function envelope(id: string): string {
  return JSON.stringify({
    "body": "W1tdLCB7fSwge31d",
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": { task: "t", id },
    "properties": {
      correlation_id: id,
      delivery_mode: 2,
      delivery_info: { exchange: "", routing_key: "celery" },
      priority: 0,
      body_encoding: "base64",
      delivery_tag: id,
    },
  });
}

async function scene(
  act: (server: RedisServer, proxy: Proxy, send: (...ids: string[]) => Promise<unknown>) => Promise<void>,
) {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  await act(server, proxy, (...ids) => server.cli("lpush", "celery", ...ids.map(envelope)));
}

const ids = (got: readonly Delivery[]) => got.map(({ message }) => message.headers["id"]);
const count = (holder: Holder, n: number) =>
  eventually(() => holder.got.length >= n, `${n} messages, there are ${holder.got.length}`);

Deno.test("redis: after a cut, acks that were swallowed are made good and the rest comes again", async () => {
  await scene(async (server, proxy, send) => {
    await send("a", "b", "c", "d");
    const first = await hold(proxy.port);
    await count(first, 4);
    // From here on the server hears nothing more of us.
    proxy.stall("up");
    first.consumer.ack(first.got[0]!.tag);
    first.consumer.reject(first.got[1]!.tag, "requeue");
    first.consumer.park(first.got[3]!.tag, Date.now() + 3_600_000);
    await eventually(() => first.consumer.unsettled === 1, "settled");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await server.cli("hlen", "unacked"), "4");
    proxy.cut();
    await first.connection.lost;
    await first.connection.close();

    const second = await hold(proxy.port, { predecessor: first.consumer });
    await count(second, 2);
    assert.deepEqual(ids(second.got), ["c", "b"]);
    assert.deepEqual(second.got.map(({ attempts, info }) => [attempts, info.redelivered]), [[0, true], [
      0,
      true,
    ]]);
    assert.equal((await second.connection.parked!(10)).length, 1);
    for (const { tag } of second.got) second.consumer.ack(tag);
    await second.consumer.flush();
    assert.equal(await server.cli("hlen", "unacked"), "1");
    assert.equal(await server.cli("zcard", "unacked_index"), "1");
    await second.connection.close();
    assert.equal(await server.cli("scard", "lovage:owners"), "0");
  });
});

Deno.test("redis: what was popped for a reply that was cut off is found at once, unmarked and uncounted", async () => {
  await scene(async (server, proxy, send) => {
    await send("z");
    const first = await hold(proxy.port);
    await count(first, 1);
    first.consumer.ack(first.got.pop()!.tag);
    await first.consumer.flush();
    proxy.pause("down");
    await send("a", "b");
    // The server pops only when it is asked again; the announcement cannot reach us.
    first.consumer.wake();
    await first.consumer.addQueue(queue("other"));
    await eventually(async () => await server.cli("hlen", "unacked") === "2", "popped and recorded");
    assert.deepEqual(first.got, []);
    proxy.cut();
    proxy.resume();
    await first.connection.lost;

    const second = await hold(proxy.port, { predecessor: first.consumer });
    await count(second, 2);
    assert.deepEqual(ids(second.got), ["a", "b"]);
    assert.deepEqual(second.got.map(({ attempts }) => attempts), [0, 0]);
    assert.equal(await second.consumer.close(), 2);
    await second.connection.close();
    assert.equal(await server.cli("llen", "celery"), "2");
  });
});

Deno.test("redis: a takeover waits for a window, and one that is cut itself is taken over whole", async () => {
  await scene(async (server, proxy, send) => {
    await send("a", "b");
    const first = await hold(proxy.port);
    await count(first, 2);
    proxy.cut();
    await first.connection.lost;
    let room = 0;
    const second = await hold(proxy.port, { predecessor: first.consumer, window: () => room });
    await second.consumer.flush();
    assert.deepEqual(second.got, []);
    assert.equal(second.consumer.unsettled, 2);
    proxy.cut();
    await second.connection.lost;
    const third = await hold(proxy.port, { predecessor: second.consumer, window: () => room });
    room = 1;
    third.consumer.wake();
    await count(third, 2);
    assert.deepEqual(ids(third.got), ["a", "b"]);
    for (const { tag } of third.got) third.consumer.ack(tag);
    await third.consumer.flush();
    assert.equal(await server.cli("exists", "unacked", "unacked_index", "celery"), "0");
    await third.connection.close();
  });
});

Deno.test("redis: a consumer whose lease lapsed takes nothing more and is lost", async () => {
  await scene(async (server, proxy, send) => {
    const first = await hold(proxy.port);
    await first.consumer.flush();
    const [key] = (await server.cli("keys", "lovage:owner:*")).split("\n");
    await server.cli("del", key!);
    await send("a");
    assert.match(String(await first.connection.lost), /lease on this worker's messages lapsed/);
    assert.deepEqual([await server.cli("llen", "celery"), first.got.length], ["1", 0]);
  });
});
