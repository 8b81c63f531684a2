/** `lovage dead` from outside, on the embedded broker and on Redis: what a worker could not handle is found again. */

import assert from "node:assert/strict";
import { lovage, type Place, startWorker, TASKS } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";

async function scenario(place: Place): Promise<void> {
  const on = (...args: string[]) => lovage(["-A", TASKS, ...args], place);
  const asJson = async (...args: string[]) => {
    const { out, err } = await on("dead", ...args, "--json");
    assert.equal(err, "");
    return JSON.parse(out);
  };
  assert.deepEqual(await asJson("list"), []);
  assert.equal((await on("dead", "list")).out, "No dead letters.\n");
  await on("call", "t.nobody", "-a", "[1]", "--task-id", "lost-1");
  await on("call", "t.nobody", "-a", "[2]", "--task-id", "lost-2");
  await on("call", "t.nobody", "-a", "[3]", "--task-id", "lost-3");
  {
    await using worker = await startWorker(place, ["-P", "solo", "--burst"]);
    await worker.ended;
  }
  const listed = await asJson("list");
  assert.deepEqual(listed.map((row: Record<string, unknown>) => [row.task, row.task_id, row.queue]), [
    ["t.nobody", "lost-3", "celery"],
    ["t.nobody", "lost-2", "celery"],
    ["t.nobody", "lost-1", "celery"],
  ]);
  assert.match(listed[0].reason, /Unregistered task of type 't\.nobody'/);
  assert.match((await on("dead", "list")).out, /^Id +Since +Queue +Task +Reason\n/);
  assert.equal((await asJson("list", "-Q", "other")).length, 0);

  const shown = await on("dead", "show", "lost-2");
  assert.match(shown.out, /Queue: {3}celery\n/);
  assert.match(shown.out, /Body: {4}\[\[2\]/);
  const missing = await on("dead", "show", "lost-9");
  assert.deepEqual([missing.code, missing.out], [64, ""]);
  assert.match(missing.err, /^Error: No dead letter "lost-9": dead list shows them\n$/);

  assert.deepEqual((await asJson("retry", "lost-1", listed[0].id)).count, 2);
  assert.equal((await on("dead", "drop", "--all")).out, "Dropped 1 dead letter.\n");
  assert.deepEqual(await asJson("list"), []);
  {
    await using worker = await startWorker(place, ["-P", "solo", "--burst"]);
    await worker.ended;
  }
  assert.deepEqual((await asJson("list")).map((row: Record<string, unknown>) => row.task_id), [
    "lost-3",
    "lost-1",
  ]);

  for (
    const [args, text] of [
      [["retry"], /Cannot retry nothing: name ids, or say --all/],
      [["drop", "x", "--all"], /Cannot take ids and --all together/],
      [["lst"], /Cannot lst dead letters: did you mean "list"\?/],
    ] as const
  ) {
    const { code, err } = await on("dead", ...args);
    assert.equal(code, 64);
    assert.match(err, text);
  }
}

Deno.test("dead letters on the embedded broker", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lovage-dead-" });
  try {
    await scenario({ broker: `sqlite://${folder}/broker.db`, backend: `sqlite://${folder}/broker.db` });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("dead letters on Redis", async () => {
  await using redis = await startRedis();
  await scenario({ broker: redis.url(), backend: redis.url() });
});
