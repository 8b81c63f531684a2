/** `lovage dead` from outside, on the embedded broker and on Redis: what a worker could not handle is found again. */

import assert from "node:assert/strict";
import { lovage, type Place, startWorker, TASKS } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";

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
  assert.deepEqual([missing.code, missing.out], [1, ""]);
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
      [["retry"], /Cannot retry: give ids, or --all/],
      [["drop", "x", "--all"], /Cannot use ids and --all together/],
      [["lst"], /Cannot lst dead letters: did you mean "list"\?/],
    ] as const
  ) {
    const { code, err } = await on("dead", ...args);
    assert.equal(code, 64);
    assert.match(err, text);
  }
  // An id that names none is no wrong command line: what was asked for failed, for the ids that there are too.
  for (const action of ["show", "retry", "drop"]) {
    const { code, err } = await on("dead", action, "lost-1", "nope");
    assert.deepEqual([code, err], [1, 'Error: No dead letter "nope": dead list shows them\n']);
  }
  assert.equal((await asJson("list")).length, 2);
}

async function failedScenario(place: Place): Promise<void> {
  const on = (...args: string[]) => lovage(["-A", TASKS, ...args], place);
  const asJson = async (...args: string[]) => JSON.parse((await on(...args, "--json")).out);
  const work = async (...settings: string[]) => {
    await using worker = await startWorker(place, ["-P", "solo", "--burst", ...settings]);
    await worker.ended;
  };
  assert.equal((await on("failed", "list")).out, "No failed tasks.\n");
  const call = (id: string, text: string) =>
    on("call", "t.fail", "-a", `["ValueError", "${text}"]`, "--task-id", id, "--priority", "3");
  await call("bad-1", "one");
  await call("bad-2", "two");
  await on("call", "t.add", "-a", "[1, 1]");
  await work();
  const listed = await asJson("failed", "list");
  assert.deepEqual(
    listed.map((row: Record<string, unknown>) => [row.task, row.task_id, row.queue, row.reason]),
    [["t.fail", "bad-2", "celery", "ValueError('two')"], ["t.fail", "bad-1", "celery", "ValueError('one')"]],
  );
  assert.deepEqual(await asJson("dead", "list"), []);
  const [{ message }] = await asJson("failed", "show", "bad-1");
  const { count, sent: [again] } = await asJson("failed", "retry", "bad-1");
  assert.equal(count, 1);
  assert.notEqual(again.task_id, "bad-1");
  // It fails again, as it came: what it was is what it is, bar its id.
  await work();
  const [{ message: second }] = await asJson("failed", "show", again.task_id);
  const plain = (text: string) => {
    const { headers, body, properties } = JSON.parse(text);
    return { headers: { ...headers, id: null }, body, priority: properties.priority };
  };
  assert.deepEqual(plain(second), plain(message));
  assert.match(
    (await on("dead", "retry", "bad-2")).out,
    /^t\.fail\[[0-9a-f-]{36}\]\nPut back 1 dead letter\.\n$/,
  );
  assert.equal((await on("failed", "drop", again.task_id)).out, "Dropped 1 failed task.\n");
  assert.deepEqual(await asJson("failed", "list"), []);
  // Off, and longer than allowed.
  await work("failed_keep=0");
  assert.deepEqual(await asJson("failed", "list"), []);
  await call("long", "x".repeat(3000));
  await work('failed_keep={"bytes": 2000}');
  assert.equal((await asJson("failed", "list")).length, 1);
  const { code, err } = await on("failed", "retry", "long");
  assert.equal(code, 64);
  assert.match(
    err,
    /^Error: Cannot send failed task .* again: its message was longer than failed_keep allows/,
  );
}

Deno.test("failed tasks on the embedded broker", async () => {
  await using place = await disposableFolder();
  const home = place.path;
  await failedScenario({ env: { LOVAGE_HOME: home } });
});

Deno.test("dead letters on the embedded broker", async () => {
  await using place = await disposableFolder();
  const folder = place.path;
  await scenario({ broker: `sqlite://${folder}/broker.db`, backend: `sqlite://${folder}/broker.db` });
});

Deno.test("dead letters on Redis", async () => {
  await using redis = await startRedis();
  await scenario({ broker: redis.url(), backend: redis.url() });
});
