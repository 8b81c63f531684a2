import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { exchange, queue } from "../../../lib/transport/mod.ts";
import { type QueueDefaults, Queues } from "../../../lib/app/conf/queues.ts";
import { Router } from "../../../lib/app/conf/routing.ts";

const defaults: QueueDefaults = {
  exchange: exchange("celery"),
  routingKey: "celery",
  createMissing: true,
  missingType: "classic",
  missingExchangeType: null,
  maxPriority: null,
  newId: () => "id",
};
const queues = (given = {}, list: Parameters<typeof Queues.prototype.add>[0][] = [queue("celery")]) =>
  new Queues({ ...defaults, ...given }, list);

Deno.test("Queues: a missing queue is made, or refused with the nearest name", () => {
  const made = queues().get("low");
  assert.deepEqual(made, queue("low"));
  assert.throws(
    () => queues({ createMissing: false }, [queue("important")]).get("importent"),
    (error: unknown) =>
      error instanceof UsageError &&
      error.message === 'Queue "importent" missing from task_queues: did you mean "important"?',
  );
  const quorum = queues({ missingType: "quorum", missingExchangeType: "topic" }).get("q");
  assert.deepEqual(quorum.queueArguments, { "x-queue-type": "quorum" });
  assert.equal(quorum.exchange.type, "topic");
});

Deno.test("Queues: options as kombu writes them", () => {
  const all = queues({ maxPriority: 10 }, [
    { name: "a", exchange: "media", exchange_type: "topic", routing_key: "media.#" },
    { name: "b", queue_arguments: { "x-max-priority": 3 }, message_ttl: 1.5, expires: 60 },
    { name: "c" },
    { name: "news", broadcast: true },
  ]);
  const a = all.get("a");
  assert.deepEqual([a.exchange.name, a.exchange.type, a.routingKey], ["media", "topic", "media.#"]);
  assert.deepEqual(a.queueArguments, { "x-max-priority": 10 });
  assert.deepEqual(all.get("b").queueArguments, {
    "x-max-priority": 3,
    "x-message-ttl": 1500,
    "x-expires": 60000,
  });
  assert.deepEqual([all.get("c").exchange.name, all.get("c").routingKey], ["celery", "c"]);
  const news = all.get("news");
  assert.deepEqual([news.name, news.exchange.name, news.exchange.type, news.autoDelete], [
    "bcast.id",
    "news",
    "fanout",
    true,
  ]);
  assert.throws(
    () => queues({}, [{ name: "x", exchange_type: "toppic" }]),
    /The type of an exchange must be direct, topic/,
  );
});

Deno.test("Queues: what is not to be declared says so, and nothing else does", () => {
  const all = queues({}, [
    { name: "ops", exchange: { name: "x", no_declare: true }, no_declare: true },
    { name: "own" },
  ]);
  const ops = all.get("ops");
  assert.deepEqual([ops.noDeclare, ops.exchange.noDeclare], [true, true]);
  assert.deepEqual([all.get("own").noDeclare, all.get("own").exchange.noDeclare], [
    undefined,
    undefined,
  ]);
});

Deno.test("Queues: which are consumed", () => {
  const all = queues({}, [queue("a"), queue("b"), queue("c")]);
  all.deselect(["b"]);
  assert.deepEqual([...all.consumeFrom.keys()], ["a", "c"]);
  all.select(["c", "new"]);
  assert.deepEqual([...all.consumeFrom.keys()], ["c", "new"]);
  all.selectAdd({ name: "d" });
  assert.deepEqual([...all.consumeFrom.keys()], ["c", "new", "d"]);
  all.deselect(["c"]);
  assert.deepEqual([...all.consumeFrom.keys()], ["new", "d"]);
});

Deno.test("Queues: what is only sent to is not consumed, until somebody says so", () => {
  const all = queues({}, [queue("a")]);
  assert.equal(all.get("reports").name, "reports");
  all.addSentTo(queue("object"));
  all.addSentTo(queue("a"));
  assert.deepEqual([...all.consumeFrom.keys()], ["a"]);
  assert.deepEqual(all.names(), ["a", "reports", "object"]);
  all.selectAdd({ name: "reports" });
  all.add({ name: "own" });
  assert.deepEqual([...all.consumeFrom.keys()], ["a", "reports", "own"]);
  all.select(["reports"]);
  all.get("later");
  assert.deepEqual([...all.consumeFrom.keys()], ["reports"]);
});

Deno.test("Queues: one that is bound by no key has the default key", () => {
  const all = queues({}, [queue("plain", { routingKey: "" }), { name: "news", broadcast: true }]);
  assert.deepEqual([all.get("plain").routingKey, all.get("news").routingKey], ["celery", "celery"]);
});

Deno.test("Router: exact name, then patterns in order, then the default queue", () => {
  const all = queues();
  const router = new Router(
    { "feed.*": "feeds", "feed.exact": { queue: "exact", priority: 3 } },
    all,
    "celery",
  );
  const way = (name: string, options = {}) => router.route(options, name, [], {}, null);
  assert.equal(way("feed.import").queue?.name, "feeds");
  assert.deepEqual([way("feed.exact").queue?.name, way("feed.exact").priority], ["exact", 3]);
  assert.equal(way("other").queue?.name, "celery");
  assert.ok(router.isConstant);
});

Deno.test("Router: the call's options win over the route's", () => {
  const router = new Router({ t: { queue: "q", priority: 1, routing_key: "rk" } }, queues(), "celery");
  const found = router.route({ queue: "mine", priority: null, routingKey: "own" }, "t", [], {}, null);
  assert.deepEqual([found.queue?.name, found.priority, found.routingKey], ["mine", 1, "own"]);
});

Deno.test("Router: functions, lists, pairs and regular expressions", () => {
  const asked: unknown[] = [];
  const router = new Router(
    [
      (name, args, kwargs, options) => {
        asked.push([name, args, kwargs, options.priority]);
        return name === "f" ? { queue: "byFunction", delivery_mode: 1 } : null;
      },
      [[/^video\./, "video"], ["image.*", { queue: "image" }]],
    ],
    queues(),
    "celery",
  );
  assert.ok(!router.isConstant);
  const f = router.route({ priority: 4 }, "f", [1], { k: 2 }, null);
  assert.deepEqual([f.queue?.name, f.deliveryMode], ["byFunction", 1]);
  assert.deepEqual(asked, [["f", [1], { k: 2 }, 4]]);
  assert.equal(router.route({}, "video.cut", [], {}, null).queue?.name, "video");
  assert.equal(router.route({}, "image.cut", [], {}, null).queue?.name, "image");
  assert.equal(router.route({}, "my.video.cut", [], {}, null).queue?.name, "celery");
  const pairs = new Router([["a.*", "qa"], ["b", "qb"]], queues(), "celery");
  assert.equal(pairs.route({}, "a.x", [], {}, null).queue?.name, "qa");
  assert.equal(pairs.route({}, "b", [], {}, null).queue?.name, "qb");
});
