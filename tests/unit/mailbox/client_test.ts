/** Opening a client by URL alone, and waiting for nodes, on the memory broker and a fake clock. */

import assert from "node:assert/strict";
import { ConnectionLost, DialError, UsageError } from "../../../lib/base/mod.ts";
import { MAILBOX_DEFAULTS, requestQueue } from "../../../lib/mailbox/mod.ts";
import { ControlClient, waitForNodes } from "../../../lib/mailbox/mod.ts";
import { decodeMailboxRequest, encodeMailboxReply } from "../../../lib/wire/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";

/** A node that replies, on a memory broker. */
async function addNode(world: FakeWorld, url: string, hostname: string): Promise<ControlClient> {
  const node = await ControlClient.openUrl(world, url);
  await node.connection.subscribe(requestQueue(hostname, MAILBOX_DEFAULTS), ({ message }) => {
    const { ticket, replyTo } = decodeMailboxRequest(message, new Set(["application/json"]));
    const reply = encodeMailboxReply({ hostname, reply: { ok: "pong" }, ticket, clock: 1 }, {
      bodyEncoding: "base64",
    });
    void node.connection.publish([{ ...replyTo!, message: reply }]);
  });
  return node;
}

/** Advances the clock until a promise has settled. */
async function passing<T>(world: FakeWorld, promise: Promise<T>): Promise<T> {
  let isDone = false;
  const done = promise.finally(() => isDone = true);
  done.catch(() => {});
  for (let turn = 0; turn < 500 && !isDone; turn++) await world.clock.advance(20);
  assert.ok(isDone, "settled within ten seconds");
  return await done;
}

Deno.test("ControlClient.openUrl: the environment names the broker; of several the first that responds is used", async () => {
  const world = fakeWorld({
    env: { CELERY_BROKER_URL: "redis://:geheim@nowhere:1/0;memory://cluster-env" },
  });
  await using cluster = await ControlClient.openUrl(world, null);
  assert.equal(cluster.connection.transport, "memory");
  assert.equal(cluster.exchange.name, "celery.pidbox");
  await assert.rejects(ControlClient.openUrl(world, "redis://nowhere:1/0"), DialError);
  await assert.rejects(ControlClient.openUrl(world, ";"), UsageError);
  await assert.rejects(ControlClient.openUrl(world, "carrier-pigeon://x"), UsageError);
});

Deno.test("waitForNodes: ends when enough nodes reply, or after the last request", async () => {
  const world = fakeWorld();
  const url = "memory://wait-nodes";
  await using one = await addNode(world, url, "a");
  const open = () => ControlClient.openUrl(world, url);
  const ask = { command: "ping" };
  const enough = await passing(world, waitForNodes(world, open, { min: 1, waitMs: 0, ask }));
  assert.deepEqual(enough.replies.map(([node]) => node), ["a"]);
  const tooFew = await passing(world, waitForNodes(world, open, { min: 2, waitMs: 500, ask }));
  assert.equal(tooFew.replies.length, 1);
  const waiting = waitForNodes(world, open, { min: 2, waitMs: 5000, ask });
  await world.clock.advance(1000);
  await using two = await addNode(world, url, "b");
  const both = await passing(world, waiting);
  assert.deepEqual(both.replies.map(([node]) => node).sort(), ["a", "b"]);
  assert.ok(one.mailbox !== two.mailbox);
});

Deno.test("waitForNodes: a broker that is not up yet is tried again, a wrong one is not", async () => {
  const world = fakeWorld();
  const url = "memory://wait-broker";
  await using _node = await addNode(world, url, "a");
  let tries = 0;
  const open = (): Promise<ControlClient> => {
    tries++;
    if (tries === 1) return Promise.reject(new DialError("Cannot connect to x: refused"));
    if (tries === 2) return Promise.reject(new ConnectionLost("closed", { isRetryable: true }));
    return ControlClient.openUrl(world, url);
  };
  const options = { min: 1, waitMs: 1000, ask: { command: "ping" } };
  assert.equal((await passing(world, waitForNodes(world, open, options))).replies.length, 1);
  assert.equal(tries, 3);
  const never = () => Promise.reject(new DialError("Cannot connect to x: refused"));
  await assert.rejects(passing(world, waitForNodes(world, never, options)), /refused/);
  const wrong = () => Promise.reject(new UsageError("no such broker"));
  await assert.rejects(passing(world, waitForNodes(world, wrong, options)), /no such broker/);
});
