import assert from "node:assert/strict";
import { backoffSeconds } from "../../../lib/app/run/retrying.ts";
import { chain, group } from "../../../lib/canvas/mod.ts";
import { Retry } from "../../../lib/wire/mod.ts";
import { SeededRandom } from "../../support/fake_world.ts";
import { documentOf, MiniWorker } from "./mini_worker.ts";

class KeyError extends Error {}
class ValueError extends Error {}

Deno.test("self.retry stores RETRY, and then publishes the same call again, one retry more", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.again", { bind: true }, (self, _x: number, _y: string) => {
      throw self.retry({ exc: new KeyError("again"), countdown: 0.2 });
    });
  });
  const { publisher } = worker.app;
  let toldBefore: string[] = [];
  worker.app.publisher = {
    ...publisher,
    publish(batch) {
      toldBefore = worker.states.map(([state]) => state);
      return publisher.publish(batch);
    },
  };
  const outcome = await worker.call("unit.again", [7], { _y: "k" }, {
    taskId: "t",
    headers: { own: 1 },
    groupId: "g",
    groupIndex: 3,
    link: worker.app.signature("unit.cb"),
    expires: "2100-01-01T00:00:00+00:00",
    timeLimit: 9,
    priority: 4,
    replyTo: "me",
    shadow: "shade",
  });
  assert.deepEqual([outcome.kind, outcome.state], ["retry", null]);
  assert.deepEqual(toldBefore, ["RETRY"]);
  assert.equal(outcome.summary, "Retry in 0.2s: KeyError('again')");
  assert.equal(outcome.exception, "KeyError('again')");
  const document = JSON.parse(worker.states[0]![1]);
  assert.deepEqual(document["result"], {
    exc_type: "KeyError",
    exc_message: ["again"],
    exc_module: "builtins",
  });
  assert.deepEqual(document["children"], [[["t", null], null]]);
  assert.equal(document["date_done"], null);
  const again = worker.sent.at(-1)!;
  const { headers } = again;
  assert.deepEqual([again.args, again.kwargs], [[7], { _y: "k" }]);
  assert.deepEqual(
    [headers["id"], headers["retries"], headers["parent_id"], headers["root_id"], headers["own"]],
    ["t", 1, "t", "t", 1],
  );
  assert.deepEqual([headers["group"], headers["group_index"], headers["timelimit"], headers["shadow"]], [
    "g",
    3,
    [
      9,
      null,
    ],
    "shade",
  ]);
  assert.equal(headers["expires"], "2100-01-01T00:00:00+00:00");
  assert.match(String(headers["eta"]), /\+00:00$/);
  assert.equal(again.embed["callbacks"]![0]!.task, "unit.cb");
  assert.deepEqual(
    [
      again.outgoing.routingKey,
      again.outgoing.message.properties.priority,
      again.outgoing.message.properties.replyTo,
    ],
    ["celery", 4, "me"],
  );
});

Deno.test("a retry has the form that the task gives its messages", async () => {
  await using worker = new MiniWorker({ accept_content: ["json", "yaml"] }, (app) => {
    app.task(
      "unit.form",
      { bind: true, serializer: "yaml", compression: "gzip", deliveryMode: 1, queue: "own" },
      (self) => {
        throw self.retry({ countdown: 1 });
      },
    );
  });
  const { publisher } = worker.app;
  const sent: unknown[] = [];
  worker.app.publisher = {
    ...publisher,
    publish(batch) {
      for (const { routingKey, message } of batch) {
        sent.push([
          routingKey,
          message.contentType,
          message.headers["compression"],
          message.properties.deliveryMode,
        ]);
      }
      return publisher.publish(batch);
    },
  };
  await worker.tracer.open();
  await worker.call("unit.form", []);
  // Sent by name, it came in the default form through the default queue.
  assert.deepEqual(sent.at(-1), ["celery", "application/x-yaml", "application/x-gzip", 1]);
});

Deno.test("retries used up: the error given, else MaxRetriesExceededError as Celery words it", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.exhaust", { bind: true, maxRetries: 1 }, (self, which: string) => {
      throw self.retry(which === "exc" ? { exc: new ValueError("gave up") } : {});
    });
    app.task("unit.forEver", { bind: true, maxRetries: null }, (self) => {
      throw self.retry({ countdown: 1 });
    });
  });
  assert.equal((await worker.call("unit.exhaust", ["exc"])).kind, "retry");
  const given = await worker.call("unit.exhaust", ["exc"], {}, { retries: 1 });
  assert.deepEqual([given.kind, given.summary], ["failure", "ValueError('gave up')"]);
  const own = await worker.call("unit.exhaust", ["none"], {}, { retries: 1, taskId: "t" });
  assert.equal(
    (documentOf(own)["result"] as { exc_message: string[] }).exc_message[0],
    "Can't retry unit.exhaust[t] args:('none',) kwargs:{}",
  );
  assert.equal((await worker.call("unit.forEver", [], {}, { retries: 1000 })).kind, "retry");
});

Deno.test("a retry that is returned, or forgotten, is a retry all the same", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.returned", { bind: true }, (self) => self.retry());
    app.task("unit.forgotten", { bind: true }, (self) => {
      self.retry();
      return 1;
    });
  });
  assert.equal((await worker.call("unit.returned")).kind, "retry");
  assert.equal((await worker.call("unit.forgotten")).kind, "retry");
});

Deno.test("autoretryFor retries by itself, dontAutoretryFor does not; the last error is the failure", async () => {
  class Special extends KeyError {}
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.auto", {
      autoretryFor: [KeyError],
      dontAutoretryFor: [Special],
      retryBackoff: 2,
      retryJitter: false,
      retryBackoffMax: 5,
      maxRetries: 3,
    }, async (kind: string) => {
      await Promise.resolve();
      throw kind === "special"
        ? new Special("s")
        : kind === "other"
        ? new ValueError("o")
        : new KeyError("k");
    });
  });
  assert.equal((await worker.call("unit.auto", ["key"])).summary, "Retry in 2s: KeyError('k')");
  assert.equal(
    (await worker.call("unit.auto", ["key"], {}, { retries: 2 })).summary,
    "Retry in 5s: KeyError('k')",
  );
  const last = await worker.call("unit.auto", ["key"], {}, { retries: 3 });
  assert.deepEqual([last.kind, last.summary], ["failure", "KeyError('k')"]);
  assert.equal((await worker.call("unit.auto", ["special"])).kind, "failure");
  assert.equal((await worker.call("unit.auto", ["other"])).kind, "failure");
});

Deno.test("backoffSeconds doubles to its maximum; jitter is a whole part of it", () => {
  const plain = [0, 1, 2, 20].map((n) => backoffSeconds(n, { factor: 3, maximum: 600, jitter: null }));
  assert.deepEqual(plain, [3, 6, 12, 600]);
  const jitter = new SeededRandom(7);
  for (let n = 0; n < 200; n++) {
    const seconds = backoffSeconds(3, { factor: 1, maximum: 600, jitter });
    assert.ok(Number.isInteger(seconds) && seconds >= 0 && seconds <= 8);
  }
});

Deno.test("outside a worker retry throws what it was given", async () => {
  await using worker = new MiniWorker();
  const task = worker.app.task("unit.direct", { bind: true }, (self) => {
    throw self.retry({ exc: new ValueError("own") });
  });
  assert.throws(() => task(), ValueError);
  const bare = worker.app.task("unit.bare", { bind: true }, (self) => {
    throw self.retry();
  });
  assert.throws(() => bare(), Retry);
});

Deno.test("self.replace with what is no signature fails the task, which would wait for ever", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.nothing", { bind: true }, (self) => self.replace(null as never));
  });
  const outcome = await worker.call("unit.nothing");
  assert.deepEqual([outcome.kind, outcome.document !== null], ["failure", true]);
});

Deno.test("self.replace ends the task at once; the replacement has its id, chain and place", async () => {
  let after = 0;
  await using worker = new MiniWorker({}, (app) => {
    const add = app.task("unit.add", (x: number, y: number) => x + y);
    app.task("unit.replaced", { bind: true }, (self, x: number) => {
      try {
        self.replace(add.s(x, 1));
      } finally {
        after++;
      }
      return -1;
    });
    app.task("unit.many", { bind: true }, (self, n: number) => {
      self.replace(group(Array.from({ length: n }, (_, i) => add.s(i, i))));
    });
    app.task("unit.swallows", { bind: true }, (self) => {
      try {
        self.replace(add.s(2, 2));
      } catch {
        return "swallowed";
      }
    });
  });
  const outcome = await worker.call("unit.replaced", [5], {}, { taskId: "t", groupId: "g", groupIndex: 1 });
  assert.deepEqual([outcome.kind, outcome.document, after], ["ignore", null, 1]);
  const { headers, args } = worker.sent.at(-1)!;
  assert.deepEqual(args, [5, 1]);
  assert.deepEqual(
    [
      headers["id"],
      headers["task"],
      headers["parent_id"],
      headers["root_id"],
      headers["group"],
      headers["group_index"],
    ],
    ["t", "unit.add", "t", "t", "g", 1],
  );
  assert.equal(headers["replaced_task_nesting"], 1);
  worker.waiting.length = 0;
  assert.equal((await worker.call("unit.swallows")).kind, "ignore");
  worker.waiting.length = 0;

  const many = worker.app.signature("unit.many", { args: [3] });
  const result = await chain(many, worker.app.signature("celery.accumulate", { args: ["tail"] }))
    .applyAsync();
  await worker.drain();
  assert.deepEqual((await worker.stored(result.id))?.result, [[0, 2, 4], "tail"]);
});
