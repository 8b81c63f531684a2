import assert from "node:assert/strict";
import {
  fanoutFilter,
  PRIORITY_STEPS,
  priorityStep,
  priorityStepsOf,
  RoutingTable,
  topicPattern,
} from "../../../lib/transport/routing.ts";
import { cpuMsOf } from "../../support/cpu_time.ts";

Deno.test("topicPattern: no binding takes long", () => {
  const tookMs = cpuMsOf(() => {
    assert.equal(topicPattern(`${"#.*.".repeat(60)}x`).test("a.".repeat(500)), false);
  });
  assert.ok(tookMs < 1000, `${tookMs} ms`);
});

Deno.test("topicPattern: matches as kombu 5.2.4 does", () => {
  const cases: [string, string, boolean][] = [
    ["stock.us.*", "stock.us.nasdaq", true],
    ["stock.us.*", "stock.us", false],
    ["stock.us.*", "stock.us.a.b", true], // kombu's star spans words
    ["stock.#", "stock.us.nasdaq", true],
    ["stock.#", "stock", false],
    ["#", "", true],
    ["#", "a.b", true],
    ["*", "a", true],
    ["*", "", false],
    ["*.sport", "europe.sport", true],
    ["a-b.c+", "a-b.c+", true],
    ["a-b.c+", "a-b.cc", false],
    ["worker.#", "worker.heartbeat", true],
    ["a*", "ab", false], // a star inside a word is a letter
    ["ü.*", "ü.x", true],
  ];
  for (const [pattern, key, isMatch] of cases) {
    assert.equal(topicPattern(pattern).test(key), isMatch, `${pattern} ${key}`);
  }
});

Deno.test("RoutingTable: default, direct, fanout; changes take effect after a route was asked for", () => {
  const table = new RoutingTable();
  assert.deepEqual(table.route("", "celery"), { queues: ["celery"], isFanout: false });
  assert.deepEqual(table.route("x", "k").queues, []);
  table.bind({ exchange: "x", routingKey: "k", queue: "q" });
  table.bind({ exchange: "x", routingKey: "k", queue: "q" });
  table.bind({ exchange: "x", routingKey: "other", queue: "r" });
  assert.deepEqual(table.route("x", "k").queues, ["q"]);
  table.setExchange("x", "fanout");
  assert.deepEqual(table.route("x", "whatever"), { queues: ["q", "r"], isFanout: true });
  table.unbind("q");
  assert.deepEqual(table.route("x", "whatever").queues, ["r"]);
  assert.deepEqual(table.bindings(), [{ exchange: "x", routingKey: "other", queue: "r" }]);
  assert.throws(() => table.setExchange("h", "headers"), /needs an AMQP broker/);
});

Deno.test("priorityStep: the largest step that is not above the priority", () => {
  assert.deepEqual(
    [-1, 0, 2, 3, 5, 6, 8, 9, 200].map((priority) => priorityStep(priority, PRIORITY_STEPS)),
    [0, 0, 0, 3, 3, 6, 6, 9, 9],
  );
  assert.deepEqual(priorityStepsOf({ priority_steps: [5, 0] }), [0, 5]);
  assert.throws(() => priorityStepsOf({ priority_steps: "0,3" }), /priority_steps/);
});

Deno.test("fanoutFilter: a plain key wants everything, a pattern what it matches", () => {
  assert.equal(fanoutFilter(""), null);
  assert.equal(fanoutFilter("bcast.1"), null);
  assert.equal(fanoutFilter("worker.#")!.test("worker.heartbeat"), true);
  assert.equal(fanoutFilter("worker.*")!.test("task.sent"), false);
});
