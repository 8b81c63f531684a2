import assert from "node:assert/strict";
import fc from "fast-check";
import { exchange, queue } from "../../../../lib/transport/entity.ts";
import {
  DELAY_SECONDS_MAX,
  delayKey,
  delayLevels,
  deliveryExchange,
  deliveryKeys,
  entryExchange,
  parkedKey,
  withoutDelay,
} from "../../../../lib/transport/amqp/delay.ts";

/** How a topic exchange matches. */
function matches(pattern: string, key: string): boolean {
  const match = (p: string[], k: string[]): boolean => {
    if (p.length === 0) return k.length === 0;
    if (p[0] === "#") return match(p.slice(1), k) || (k.length > 0 && match(p, k.slice(1)));
    return k.length > 0 && (p[0] === "*" || p[0] === k[0]) && match(p.slice(1), k.slice(1));
  };
  return match(pattern.split("."), key.split("."));
}

Deno.test("delay: the key of Celery's own example", () => {
  assert.equal(delayKey(5, "qt"), `${"0.".repeat(25)}1.0.1.qt`);
  assert.equal(delayKey(1e12, "q"), `${"1.".repeat(28)}q`);
  assert.equal(delayKey(-3, "q"), `${"0.".repeat(28)}q`);
  assert.equal(withoutDelay(delayKey(77, "news.europe")), "news.europe");
  assert.equal(withoutDelay("celery"), null);
  assert.equal(withoutDelay("0.1.celery"), null);
});

Deno.test("delay: a message walks the levels, waits exactly its time, and comes out", () => {
  for (const prefix of ["", "shop"]) walk(prefix);
});

function walk(prefix: string): void {
  const levels = new Map(delayLevels("quorum", prefix).map((level) => [level.name, level]));
  assert.equal(levels.size, 28);
  fc.assert(fc.property(fc.integer({ min: 0, max: DELAY_SECONDS_MAX }), (seconds) => {
    const key = delayKey(seconds, "a.b");
    let waited = 0;
    let at = entryExchange(prefix);
    for (let level = levels.get(at); level !== undefined; level = levels.get(at)) {
      const [waits, passes] = [matches(level.waitKey, key), matches(level.passKey, key)];
      assert.notEqual(waits, passes, `${level.name}: one way only`);
      if (waits) waited += level.queueArguments["x-message-ttl"] as number;
      at = waits ? level.queueArguments["x-dead-letter-exchange"] as string : level.next;
    }
    assert.equal(at, deliveryExchange(prefix));
    assert.equal(waited, seconds * 1000);
  }));
}

Deno.test("delay: names, as kombu has them, with and without a prefix", () => {
  assert.equal(entryExchange(""), "celery_delayed_27");
  assert.equal(deliveryExchange(""), "celery_delayed_delivery");
  assert.equal(entryExchange("shop"), "shop_celery_delayed_27");
  assert.equal(deliveryExchange("shop"), "shop_celery_delayed_delivery");
  const last = delayLevels("classic", "shop").at(-1)!;
  assert.deepEqual([last.name, last.next], ["shop_celery_delayed_0", "shop_celery_delayed_delivery"]);
  assert.equal(last.queueArguments["x-dead-letter-exchange"], "shop_celery_delayed_delivery");
});

Deno.test("delay: levels of the classic kind have no dead-letter strategy", () => {
  const [first] = delayLevels("classic", "");
  assert.deepEqual(first!.queueArguments, {
    "x-queue-type": "classic",
    "x-overflow": "reject-publish",
    "x-message-ttl": 2 ** 27 * 1000,
    "x-dead-letter-exchange": "celery_delayed_26",
  });
  assert.equal(delayLevels("quorum", "")[0]!.queueArguments["x-dead-letter-strategy"], "at-least-once");
});

Deno.test("delay: what is parked for a queue reaches that queue alone, whatever the names", () => {
  const names = fc.constantFrom("b", "a.b", "c.a.b", "a%2Eb", "%", "*", "#", "a:b");
  fc.assert(fc.property(names, names, fc.nat(1000), (one, other, seconds) => {
    const key = delayKey(seconds, parkedKey(one));
    assert.equal(matches(deliveryKeys(queue(other)).parked, key), one === other);
    // Bindings that Celery's workers make for plain routing keys do not catch it.
    if (!["*", "#"].includes(other)) assert.equal(matches(`#.${other}`, key), false);
  }));
});

Deno.test("delay: direct exchanges cannot route delayed keys, topic exchanges can", () => {
  assert.equal(deliveryKeys(queue("q")).routed, null);
  const news = queue("q", { exchange: exchange("news", { type: "topic" }), routingKey: "news.*" });
  assert.equal(deliveryKeys(news).routed, "#.news.*");
});

Deno.test("delay: the levels are those that Celery 5.6.3 was seen to declare", async () => {
  const golden = JSON.parse(
    await Deno.readTextFile(new URL("../../../golden/amqp-options-5.6.3.json", import.meta.url)),
  );
  type Frame = { method: string; args: Record<string, unknown> };
  const { frames } = golden.messages.find(({ scenario }: { scenario: string }) =>
    scenario === "quorum default queue, direct exchange"
  ) as { frames: Frame[] };
  const argsOf = (method: string, wanted: Record<string, unknown>) =>
    frames.find((frame) =>
      frame.method === method && Object.entries(wanted).every(([name, value]) => frame.args[name] === value)
    )?.args;
  for (const { name, queueArguments, waitKey, passKey, next } of delayLevels("quorum", "")) {
    const exchangeArgs = argsOf("exchange.declare", { exchange: name });
    assert.deepEqual([exchangeArgs?.["type"], exchangeArgs?.["durable"]], ["topic", true]);
    const declared = argsOf("queue.declare", { queue: name });
    assert.deepEqual(declared?.["arguments"], queueArguments);
    assert.equal(declared?.["durable"], true);
    assert.equal(argsOf("queue.bind", { queue: name, exchange: name })?.["routing_key"], waitKey);
    assert.equal(argsOf("exchange.bind", { source: name, destination: next })?.["routing_key"], passKey);
  }
});
