import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { History, type HistoryOptions } from "../../../lib/console/history/history.ts";
import type { ReceivedEvent } from "../../../lib/event/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { disposableFolder } from "../../support/temporary.ts";

const START = Date.UTC(2026, 10, 30, 12) / 1000;
const ROOMY: HistoryOptions["limits"] = { bytes: 512 << 20, days: 7, tasks: 1_000_000 };

function world() {
  return fakeWorld({ wallMs: START * 1000 });
}

/** The id of the n-th task. */
function id(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
}

/** Events of one task, a second apart, from `at` on. */
function tell(
  history: History,
  n: number,
  subjects: readonly string[],
  fields: Record<string, unknown> = {},
  at = START + n,
) {
  subjects.forEach((subject, step) => {
    const own: Record<string, unknown> = {
      received: {
        name: "shop.add",
        args: `(${n},)`,
        kwargs: "{}",
        root_id: id(n),
        parent_id: null,
        retries: 0,
      },
      succeeded: { result: String(n * 2), runtime: 0.5 },
      failed: { exception: `ValueError('bad ${n}')`, traceback: `trace ${n}` },
      retried: { exception: "ValueError('again')" },
    }[subject] ?? {};
    history.event(subject, {
      type: `task-${subject}`,
      hostname: "w@host",
      utcoffset: 0,
      pid: 1,
      clock: n * 10 + step,
      timestamp: at + step,
      local_received: at + step,
      uuid: id(n),
      ...own,
      ...fields,
    } as ReceivedEvent);
  });
}

const DONE = ["received", "started", "succeeded"];
const FAILED = ["received", "started", "failed"];
const found = (history: History, search: string, sort = "received") =>
  history.page({ search, sort, limit: 50, cursor: null }).records.map(({ id }) => Number(id.slice(-12)));

Deno.test("history: a search finds by every field, whatever the index can do", async () => {
  const history = await History.open(world(), { path: null, limits: ROOMY });
  tell(history, 1, DONE, { kwargs: "{'tenant': 5, 'who': 'kim'}" });
  tell(history, 2, FAILED, { name: "shop.mail", queue: "mail", root_id: id(1), parent_id: id(1) });
  tell(history, 3, ["received", "started"], { hostname: "x@other", args: "('50%_x', \"it's\")" });
  tell(history, 4, DONE, { runtime: 7 });
  history.write();
  const cases: [string, number[]][] = [
    ["", [1, 2, 3, 4]],
    ["shop.", [1, 2, 3, 4]],
    ["SHOP.MAIL", [2]],
    ["state:failure", [2]],
    ["NOT state:SUCCESS", [2, 3]],
    ["queue:mail", [2]],
    ["worker:other", [3]],
    ["name:=shop.add -worker:other", [1, 4]],
    ["kwargs:tenant=5", [1]],
    ["kwargs:who=kim", [1]],
    ["kwargs:tenant=55", []],
    ["50%_x", [3]],
    ['args:"it\'s"', [3]],
    ["exception:valueerror", [2]],
    ["bad OR state:STARTED", [2, 3]],
    [`id:${id(4)}`, [4]],
    ["00000000-0000-4000-8000-00000000000", [1, 2, 3, 4]],
    [`root:${id(1)}`, [1, 2]],
    [`parent:${id(1)}`, [2]],
    ["runtime:>5s", [4]],
    ["runtime:<1s", [1]],
    ["received:<1h", [1, 2, 3, 4]],
    ["received:>1h", []],
    ["started:>2026-11-30T12:00:04", [3, 4]],
    ["nothing.like.it", []],
  ];
  for (const [search, want] of cases) assert.deepEqual(found(history, search), want, search);
  assert.deepEqual(found(history, "", "-received"), [4, 3, 2, 1]);
  assert.deepEqual(found(history, "", "-runtime").slice(0, 2), [4, 1]);
  assert.deepEqual(found(history, "", "name").at(-1), 2);
  history.close();
});

Deno.test("history: pages go forth and back and keep their place while tasks come", async () => {
  const history = await History.open(world(), { path: null, limits: ROOMY });
  for (let n = 1; n <= 25; n++) tell(history, n, DONE);
  history.write();
  const ask = (cursor: string | null, search = "shop") =>
    history.page({ search, sort: "-received", limit: 10, cursor });
  const ids = (page: ReturnType<typeof ask>) => page.records.map(({ id }) => Number(id.slice(-12)));
  const first = ask(null);
  assert.deepEqual([ids(first)[0], first.total, first.isTotalExact, first.previous], [25, 25, true, null]);
  for (let n = 26; n <= 30; n++) tell(history, n, DONE);
  history.write();
  const second = ask(first.next);
  assert.deepEqual(ids(second), [15, 14, 13, 12, 11, 10, 9, 8, 7, 6]);
  const third = ask(second.next);
  assert.deepEqual([ids(third), third.next], [[5, 4, 3, 2, 1], null]);
  assert.deepEqual(ids(ask(third.previous)), ids(second));
  assert.deepEqual(ids(ask(second.previous)), ids(first));
  assert.deepEqual(ids(ask("nonsense")).at(0), 30);
  history.close();
});

Deno.test("history: what is written is there after a kill, figures and unfinished tasks included", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/h.db`;
  const first = world();
  const before = await History.open(first, { path, limits: ROOMY });
  tell(before, 1, FAILED);
  tell(before, 2, ["received"]);
  // The timer of a quarter of a second.
  await first.clock.advance(250);
  tell(before, 3, DONE);
  // What a process that is killed leaves: nothing is closed in order, and the last moment is lost.
  const copy = `${folder.path}/copy.db`;
  for (const end of ["", "-wal"]) await Deno.copyFile(path + end, copy + end);
  before.close();

  const after = await History.open(world(), { path: copy, limits: ROOMY });
  assert.deepEqual(found(after, ""), [1, 2]);
  tell(after, 2, ["started", "succeeded"], {}, START + 10);
  after.write();
  const task = after.task(id(2))!;
  assert.deepEqual([task.state.name, task.state.state, task.state.args], ["shop.add", "SUCCESS", "(2,)"]);
  const { counts } = after.figures.sums(3600, START + 20).get(0)!;
  assert.deepEqual([counts.received, counts.started, counts.succeeded, counts.failed], [2, 2, 1, 1]);
  const [failure] = after.figures.failures(3600, START + 20);
  assert.deepEqual([after.words.text(failure!.class), failure!.count, failure!.lastId], [
    "ValueError",
    1,
    id(1),
  ]);
  assert.equal(after.task(id(1))!.state.traceback, "trace 1");
  after.close();
});

Deno.test("history: a task's events are told in full, however often it was retried", async () => {
  const history = await History.open(world(), { path: null, limits: ROOMY });
  tell(history, 1, ["received", "started", "retried"]);
  tell(history, 1, ["received", "started", "succeeded"], { retries: 1 }, START + 10);
  history.write();
  const subjects = history.task(id(1))!.entries().map(([subject]) => subject);
  assert.deepEqual(subjects, ["received", "started", "retried", "received", "started", "succeeded"]);
  assert.deepEqual(history.tasks.load(id(1))!.entries(), history.task(id(1))!.entries());
  history.close();
});

Deno.test("history: minutes become hours, and charts and sums agree with what was counted", async () => {
  const history = await History.open(world(), { path: null, limits: ROOMY });
  for (let minute = 0; minute < 90; minute++) {
    for (let n = 0; n < 3; n++) tell(history, minute * 3 + n + 1, DONE, {}, START + minute * 60 + n);
  }
  const now = START + 90 * 60;
  history.write();
  const hour = history.figures.points(3600, 60, { name: 0, nowSeconds: now });
  assert.equal(hour.length, 60);
  assert.deepEqual(hour.slice(0, -1).map(([, { counts }]) => counts.received), new Array(59).fill(3));
  const days = history.figures.points(7 * 86_400, 3600, { name: 0, nowSeconds: now });
  assert.equal(days.reduce((sum, [, { counts }]) => sum + counts.succeeded, 0), 270);
  const sums = history.figures.sums(2 * 3600, now).get(0)!;
  assert.equal(sums.counts.received, 270);
  assert.equal(sums.runtime.count, 270);
  assert.ok(Math.abs(sums.runtime.at(0.5)! - 0.5) < 0.03, `the median is ${sums.runtime.at(0.5)}`);
  history.close();
});

Deno.test("history: the budget takes the oldest, and failed tasks last", async () => {
  const test = world();
  const history = await History.open(test, { path: null, limits: { ...ROOMY, tasks: 100 } });
  for (let n = 1; n <= 300; n++) tell(history, n, n % 10 === 0 ? FAILED : DONE);
  await test.clock.advance(250);
  for (let n = 301; n <= 330; n++) {
    tell(history, n, DONE);
    await test.clock.advance(1100);
  }
  assert.ok(history.tasks.count <= 100, `${history.tasks.count} are left`);
  const left = found(history, "state:FAILURE");
  assert.ok(left.length >= 10, `${left.length} failed ones are left`);
  // The index forgets them too.
  assert.deepEqual(found(history, `args:"(1,)"`), []);
  history.close();
});

Deno.test("history: days end a task, four times as many a failed one", async () => {
  const test = world();
  const history = await History.open(test, { path: null, limits: { ...ROOMY, days: 1 } });
  tell(history, 1, DONE);
  tell(history, 2, FAILED);
  await test.clock.advance(250);
  await test.clock.advance(2 * 86_400_000);
  tell(history, 3, DONE, {}, START + 2 * 86_400);
  await test.clock.advance(1500);
  assert.deepEqual(found(history, ""), [2, 3]);
  await test.clock.advance(3 * 86_400_000);
  tell(history, 4, DONE, {}, START + 5 * 86_400);
  await test.clock.advance(1500);
  assert.deepEqual(found(history, ""), [4]);
  history.close();
});

Deno.test("history: a file is one console's, and tasks in memory are few however many there are", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/h.db`;
  const test = world();
  const history = await History.open(test, { path, limits: ROOMY });
  for (let n = 1; n <= 9000; n++) tell(history, n, ["received"]);
  history.write();
  // One that is not in memory any more goes on where it was.
  tell(history, 1, ["started", "succeeded"], {}, START + 9100);
  history.write();
  assert.equal(found(history, "state:SUCCESS").length, 1);
  assert.equal(history.task(id(1))!.state.args, "(1,)");
  history.close();
});

Deno.test("History.open: another program's database is refused, and stays as it is", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/shop.db`;
  using shop = new DatabaseSync(path);
  shop.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
  await assert.rejects(History.open(world(), { path, limits: ROOMY }), {
    name: "ServerError",
    message:
      `Cannot use history "${path}": it has the tables of something else (orders); name a file of its own`,
  });
  assert.deepEqual(shop.prepare("SELECT name FROM sqlite_master").all().map(({ name }) => name), ["orders"]);
});

Deno.test("History.open: a file of a later version is refused, and stays as it is", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/console.db`;
  (await History.open(world(), { path, limits: ROOMY })).close();
  using other = new DatabaseSync(path);
  other.exec("UPDATE console_meta SET value = 2; DROP TABLE console_figures");
  other.close();
  await assert.rejects(History.open(world(), { path, limits: ROOMY }), {
    name: "ServerError",
    message: `Cannot use history "${path}": it has version 2, made by a later Lovage; this one supports 1`,
  });
  using after = new DatabaseSync(path);
  assert.equal(after.prepare("SELECT 1 FROM sqlite_master WHERE name = 'console_figures'").get(), undefined);
});
