/** The beat service on a fake clock, over the memory broker. */

import assert from "node:assert/strict";
import { App, type BeatEntry, crontab, type Settings } from "../../../lib/app/mod.ts";
import { ConnectionLost, OperatingError } from "../../../lib/base/mod.ts";
import { Beat, type BeatOptions } from "../../../lib/beat/beat.ts";
import { BeatLeadership, beatNames } from "../../../lib/beat/leadership.ts";
import { readEntries } from "../../../lib/beat/entry.ts";
import { previewBeat, readBeatOnBroker } from "../../../lib/beat/preview.ts";
import type { RunState } from "../../../lib/beat/store.ts";
import { MemoryStore } from "../../../lib/beat/store_memory.ts";
import { connect, type Connection } from "../../../lib/transport/mod.ts";
import { decodeTaskBody, decodeTaskHeaders } from "../../../lib/wire/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";
import { eventually } from "../../support/ports.ts";
import { CONNECT_OPTIONS } from "../../support/connect_options.ts";

const START = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ACCEPT = new Set(["application/json"]);

/** A beat in its own World. */
class Lab implements AsyncDisposable {
  readonly world: FakeWorld;
  readonly app: App;
  readonly beat: Beat;
  readonly store: MemoryStore;
  readonly stop = new AbortController();
  running: Promise<void> = Promise.resolve();

  constructor(
    schedule: Record<string, BeatEntry>,
    options: {
      broker?: string;
      store?: MemoryStore;
      settings?: Partial<Settings>;
      wallMs?: number;
      beat?: Partial<BeatOptions>;
    } = {},
  ) {
    this.world = fakeWorld({ wallMs: options.wallMs ?? START });
    this.app = new App("lab", {
      broker_url: options.broker ?? `memory://${crypto.randomUUID()}`,
      beat_schedule: schedule,
      ...options.settings,
    }, { world: this.world });
    this.store = options.store ?? new MemoryStore(crypto.randomUUID());
    this.beat = new Beat(this.app, { store: this.store, ...options.beat });
  }

  async start(): Promise<this> {
    this.running = this.beat.run(this.stop.signal);
    let isOver = false;
    this.running.catch(() => {}).finally(() => isOver = true);
    await eventually(
      () => isOver || this.log().some((line) => /Waking up|standing by/.test(line)),
      "beat sleeps or has ended",
      {
        everyMs: 0,
      },
    );
    return this;
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.world.clock.settle();
    await this.running;
    await this.app.close();
  }

  /** Returns the tasks that were sent, each as "name args id", oldest first. */
  async sent(): Promise<
    { task: string; args: unknown[]; kwargs: unknown; id: string; argsrepr: string | null }[]
  > {
    await using connection = await connect(
      this.world,
      String(this.app.conf.broker_write_url),
      CONNECT_OPTIONS,
    );
    return await drain(connection);
  }

  log(level?: Parameters<FakeWorld["log"]["messages"]>[0]): string[] {
    return this.world.log.messages(level);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }
}

async function drain(connection: Connection) {
  const all = [];
  for (let note; (note = await connection.take("celery")) !== null;) {
    const { task, id, argsrepr } = decodeTaskHeaders(note.message)!;
    const { args, kwargs } = decodeTaskBody(note.message, ACCEPT);
    all.push({ task, args: args as unknown[], kwargs, id, argsrepr });
  }
  return all;
}

Deno.test("beat: sends what is due, in Celery's lines, and saves it", async () => {
  await using lab = await new Lab({
    tick: { task: "t.add", schedule: 10, args: [16, 16] },
    cron: { task: "t.kw", schedule: crontab(), kwargs: { a: 1, at: (() => "now") as unknown } },
  }).start();
  await lab.world.clock.advance(MINUTE);
  const sent = await lab.sent();
  assert.equal(sent.filter(({ task }) => task === "t.add").length, 6);
  assert.deepEqual(sent.find(({ task }) => task === "t.kw"), {
    task: "t.kw",
    args: [],
    kwargs: { a: 1, at: "now" },
    id: lab.store.states.get("cron")!.taskId,
    argsrepr: "()",
  });
  assert.equal(sent[0]!.argsrepr, "[16, 16]");
  assert.equal(new Set(sent.map(({ id }) => id)).size, sent.length);
  assert.deepEqual(lab.store.states.get("tick"), {
    lastMs: START + MINUTE,
    count: 6,
    taskId: sent.filter(({ task }) => task === "t.add").at(-1)!.id,
    sendingMs: null,
  });
  const lines = lab.log();
  assert.equal(lines[0], "beat: Starting...");
  assert.equal(
    lines[1],
    "Current schedule:\n<ScheduleEntry: tick t.add(16, 16) <freq: 10.00 seconds>\n" +
      "<ScheduleEntry: cron t.kw(a=1, at=<function at>) <crontab: * * * * * (m/h/dM/MY/d)>",
  );
  assert.equal(lines[2], "beat: Ticking with max interval->5.00 minutes");
  assert.ok(lines.includes("beat: Waking up in 10.00 seconds."));
  assert.ok(lines.includes("Scheduler: Sending due task tick (t.add)"));
  assert.ok(lines.includes(`t.add sent. id->${sent[0]!.id}`));
  assert.ok(lines.includes("beat: Synchronizing schedule..."));
});

Deno.test("beat: it wakes when an entry is due, and after the longest interval", async () => {
  await using lab = await new Lab({ a: { task: "t", schedule: 3600 } }, {
    settings: { beat_max_loop_interval: 7200 },
  }).start();
  const { clock } = lab.world;
  const wakes = () => lab.log().filter((line) => line.startsWith("beat: Waking up")).length;
  assert.equal(wakes(), 1);
  await clock.advance(HOUR - 1);
  assert.equal(wakes(), 1);
  await clock.advance(1);
  assert.equal(wakes(), 2);
  assert.equal((await lab.sent()).length, 1);
  lab.app.conf.beat_schedule = {};
  await clock.advance(HOUR);
  await clock.advance(10 * HOUR);
  assert.equal(wakes(), 2 + 1 + 5);
});

Deno.test("beat: entries added, changed and removed while it runs", async () => {
  await using lab = await new Lab({ a: { task: "t.a", schedule: 30 }, b: { task: "t.b", schedule: 10 } })
    .start();
  await lab.world.clock.advance(10_000);
  lab.app.addPeriodicTask(5, lab.app.signature("t.c", { args: [1] }), { name: "c" });
  await lab.world.clock.advance(10_000);
  const { a, c } = lab.app.conf.beat_schedule;
  lab.app.addPeriodicTask(5, lab.app.signature("t.d", { args: ["x", 2], kwargs: { k: null } }));
  assert.ok("t.d('x', 2, k=None)" in lab.app.conf.beat_schedule);
  lab.app.conf.beat_schedule = { a: { ...a!, schedule: 15 }, c: c! };
  await lab.world.clock.advance(20_000);
  const sent = await lab.sent();
  const names = sent.map(({ task }) => task);
  assert.equal(sent.find(({ task }) => task === "t.c")!.argsrepr, "(1,)");
  const count = (name: string) => names.filter((one) => one === name).length;
  // b at 10, 20 and at the wake at 20 that noticed its removal; a first 15 after its start, counted from
  // then.
  assert.ok(count("t.b") === 2 || count("t.b") === 3);
  assert.ok(count("t.c") >= 3);
  assert.ok(count("t.a") >= 1);
  assert.deepEqual([...lab.store.states.keys()].sort(), ["a", "c"]);
});

Deno.test("beat: after a restart intervals continue, missed runs are sent once, removed entries are forgotten", async () => {
  const store = new MemoryStore("one");
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { hourly: { task: "t", schedule: 3600 }, gone: { task: "t.gone", schedule: 60 } };
  const first = await new Lab(schedule, { store, broker }).start();
  await first.world.clock.advance(90 * MINUTE);
  const before = (await first.sent()).filter(({ task }) => task === "t").length;
  assert.equal(before, 1);
  await first.end();
  const { hourly } = schedule;
  await using second = await new Lab({ hourly }, { store, broker, wallMs: START + 100 * MINUTE }).start();
  assert.equal(store.states.has("gone"), false);
  assert.equal((await second.sent()).length, 0);
  await second.world.clock.advance(20 * MINUTE);
  assert.equal((await second.sent()).length, 1);
  await second.end();
  await using third = await new Lab({ hourly }, { store, broker, wallMs: START + 20 * HOUR + MINUTE })
    .start();
  assert.equal((await third.sent()).length, 1);
  assert.equal(store.states.get("hourly")!.count, 3);
});

/** Runs a beat without a lasting file from `atMs` on for `ms`; returns the tasks that it sent. */
async function brief(
  broker: string,
  schedule: Record<string, BeatEntry>,
  when: { atMs: number; ms: number; store?: MemoryStore },
): Promise<string[]> {
  const wallMs = START + when.atMs;
  const lab = await new Lab(schedule, { broker, wallMs, ...(when.store ? { store: when.store } : {}) })
    .start();
  await lab.world.clock.advance(when.ms);
  const tasks = (await lab.sent()).map(({ task }) => task);
  await lab.end();
  return tasks;
}

Deno.test("beat: restarted without a file more often than its interval, it keeps the rhythm", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { five: { task: "t", schedule: 5 } };
  const sent = [];
  for (let atMs = 0; atMs < 30_000; atMs += 3000) {
    sent.push((await brief(broker, schedule, { atMs, ms: 2900 })).length);
  }
  // One at 5, 10, 15, 20 and 25 seconds each.
  assert.equal(sent.reduce((a, b) => a + b), 5);
});

Deno.test("beat: without a file, missed runs of a crontab and an interval are sent once", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = {
    daily: { task: "t.daily", schedule: crontab({ hour: 4, minute: 0 }) },
    hourly: { task: "t.hourly", schedule: 3600 },
    none: { task: "t.none", schedule: 3600, catchUp: "none" as const },
  };
  assert.deepEqual(await brief(broker, schedule, { atMs: 0, ms: 1000 }), []);
  const late = await brief(broker, schedule, { atMs: 30 * HOUR + MINUTE, ms: 1000 });
  assert.deepEqual(late.sort(), ["t.daily", "t.hourly"]);
  assert.deepEqual(await brief(broker, schedule, { atMs: 30 * HOUR + 2 * MINUTE, ms: 1000 }), []);
});

Deno.test("beat: an entry missing from its file is new, even if the broker has a record of it", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const store = new MemoryStore("one");
  const other = { task: "t.other", schedule: 86_400 };
  const back = { task: "t.back", schedule: 3600 };
  await brief(broker, { other, back }, { atMs: 0, ms: HOUR, store });
  await brief(broker, { other }, { atMs: 2 * HOUR, ms: 1000, store });
  const at = { atMs: 10 * HOUR, store };
  assert.deepEqual(await brief(broker, { other, back }, { ...at, ms: HOUR - 1000 }), []);
  assert.deepEqual(await brief(broker, { other, back }, { ...at, atMs: 11 * HOUR, ms: 1000 }), ["t.back"]);
});

Deno.test("beat: of two beats one sends; when it stops in order, the other sends the next run", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { tick: { task: "t", schedule: 10 } };
  const one = await new Lab(schedule, { broker }).start();
  await using two = await new Lab(schedule, { broker }).start();
  const both = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 500) {
      await one.world.clock.advance(500);
      await two.world.clock.advance(500);
    }
  };
  await both(35_000);
  assert.equal(one.beat.isStandby, false);
  assert.equal(two.beat.isStandby, true);
  assert.equal((await two.sent()).length, 3);
  assert.deepEqual(two.log("INFO"), [
    "beat: Starting...",
    "beat: Another beat sends for this schedule: standing by",
  ]);
  await one.end();
  await two.world.clock.advance(6000);
  assert.equal((await two.sent()).length, 1);
  assert.equal(two.beat.isStandby, false);
  assert.equal(two.store.states.get("tick")!.count, 4);
  assert.equal(two.store.states.get("tick")!.lastMs, START + 40_000);
});

Deno.test("readBeatOnBroker: reads from the broker alone which beat leads and what was sent", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { tick: { task: "t.add", schedule: 10 } };
  const lab = await new Lab(schedule, { broker }).start();
  await using app = new App("lab", { broker_url: broker, beat_schedule: schedule }, { world: lab.world });
  await using connection = await connect(lab.world, broker, CONNECT_OPTIONS);
  await lab.world.clock.advance(25_000);
  const beat = await readBeatOnBroker(app, await readEntries(app), connection.ledger!);
  assert.equal(beat.leader, lab.world.host.hostname);
  const path = `/nowhere/${crypto.randomUUID()}`;
  const { entries: [entry], runs: [next] } = await previewBeat(app, await readEntries(app), path, {
    count: 1,
    beat,
  });
  assert.deepEqual([entry!.count, entry!.last?.slice(11, 19), entry!.lastId?.length], [2, "00:00:20", 36]);
  assert.deepEqual([entry!.next, next!.time].map((time) => time?.slice(11, 19)), ["00:00:30", "00:00:30"]);
  await lab.end();
  assert.equal((await readBeatOnBroker(app, await readEntries(app), connection.ledger!)).leader, null);
});

Deno.test("BeatLeadership: the next leader replaces the recorded host", async () => {
  await using connection = await connect(fakeWorld(), `memory://${crypto.randomUUID()}`, CONNECT_OPTIONS);
  const ledger = connection.ledger!;
  for (const [owner, host] of [["a", "one"], ["b", "two"], ["b", "three"]] as const) {
    const leadership = new BeatLeadership("lab", { schedule: "s", owner, host });
    assert.equal(await leadership.lead(ledger, 1000), null);
    const { hosts, lease } = beatNames("lab");
    assert.deepEqual([...await ledger.records(hosts)], [[lease("s"), `${owner} ${host}`]]);
    await leadership.resign(ledger);
  }
});

Deno.test("beat: when the leader freezes, another takes over within ten seconds, and nothing is sent twice", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { tick: { task: "t", schedule: 1 } };
  const one = await new Lab(schedule, { broker }).start();
  await using two = await new Lab(schedule, { broker }).start();
  for (let n = 0; n < 50; n++) {
    await one.world.clock.advance(100);
    await two.world.clock.advance(100);
  }
  const before = (await two.sent()).map(({ id }) => id);
  assert.equal(before.length, 5);
  await two.world.clock.advance(10_000);
  const after = await two.sent();
  assert.ok(after.length >= 5, `${after.length} sent in the ten seconds after`);
  assert.ok(two.log("INFO").includes("beat: Taking over: no other beat sends for this schedule"));
  // It wakes, still believing that it leads: its runs were sent already, and it stands by.
  one.world.clock.shiftWall(10_000);
  await one.world.clock.advance(1000);
  assert.equal(one.beat.isStandby, true);
  const late = await two.sent();
  const ids = [...before, ...after.map(({ id }) => id), ...late.map(({ id }) => id)];
  assert.equal(new Set(ids).size, ids.length);
  await one.end();
});

Deno.test("beat: other schedules on the same broker have their own leader, and shared entries are sent once", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const shared = { task: "t.shared", schedule: crontab() };
  const one = await new Lab({ shared, a: { task: "t.a", schedule: crontab() } }, { broker }).start();
  await using two = await new Lab({ shared, b: { task: "t.b", schedule: crontab() } }, { broker }).start();
  for (let n = 0; n < 10; n++) {
    await one.world.clock.advance(30_000);
    await two.world.clock.advance(30_000);
  }
  const names = (await two.sent()).map(({ task }) => task);
  for (const task of ["t.shared", "t.a", "t.b"]) {
    assert.equal(names.filter((name) => name === task).length, 5, task);
  }
  await one.end();
});

Deno.test("beat: with beat_lock off, every beat sends", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { tick: { task: "t", schedule: 10 } };
  const settings = { beat_lock: false };
  const one = await new Lab(schedule, { broker, settings }).start();
  await using two = await new Lab(schedule, { broker, settings }).start();
  await one.world.clock.advance(10_000);
  await two.world.clock.advance(10_000);
  assert.equal((await two.sent()).length, 2);
  await one.end();
});

Deno.test("beat: a clock set back by an hour is logged; intervals continue", async () => {
  await using lab = await new Lab({ a: { task: "t", schedule: 60 } }).start();
  await lab.world.clock.advance(2 * HOUR);
  assert.equal((await lab.sent()).length, 120);
  lab.world.clock.shiftWall(-HOUR);
  await lab.world.clock.advance(10 * MINUTE);
  const sent = await lab.sent();
  assert.ok(sent.length >= 9 && sent.length <= 11, `${sent.length}`);
  assert.deepEqual(lab.log("WARNING"), [
    "beat: The clock was set back by 1.00 hour: intervals go on, and no run of a crontab comes twice",
  ]);
});

Deno.test("beat: a clock set forward by an hour is logged; missed runs are sent once", async () => {
  await using lab = await new Lab({ a: { task: "t", schedule: 60 } }).start();
  lab.world.clock.shiftWall(HOUR);
  await lab.world.clock.advance(5 * MINUTE);
  const sent = await lab.sent();
  assert.ok(sent.length >= 4 && sent.length <= 6, `${sent.length}`);
  assert.match(
    lab.log("WARNING")[0]!,
    /^beat: The clock went forward by 1.00 hour \(it was set, or the machine slept\)/,
  );
});

Deno.test("beat: a stall of a minute is logged, and missed runs are sent once", async () => {
  await using lab = await new Lab({ a: { task: "t", schedule: 10 } }).start();
  // A clock that runs while the loop does not: the timer fires a minute late.
  const { clock } = lab.world;
  const timer = clock.armed[0]!;
  const original = clock.monoMs.bind(clock);
  const wall = clock.wallMs.bind(clock);
  let late = 0;
  Object.assign(clock, { monoMs: () => original() + late, wallMs: () => wall() + late });
  late = MINUTE;
  await clock.advance(timer.atMs - original());
  assert.match(
    lab.log("WARNING")[0]!,
    /^beat: Held up for 1.00 minute \(the process was stopped, or the machine busy\)/,
  );
  assert.equal((await lab.sent()).length, 1);
});

/** A store whose disk is full. */
class FullStore extends MemoryStore {
  isFull = false;
  override save(states: ReadonlyMap<string, RunState | null>): Promise<void> {
    if (this.isFull) {
      return Promise.reject(new OperatingError('Cannot write "celerybeat-schedule": disk I/O error'));
    }
    return super.save(states);
  }
}

Deno.test("beat: a full disk is logged once, beat continues, and saves again when it can", async () => {
  const store = new FullStore("one");
  await using lab = await new Lab({ a: { task: "t", schedule: 10 } }, { store }).start();
  store.isFull = true;
  await lab.world.clock.advance(MINUTE);
  assert.equal((await lab.sent()).length, 6);
  assert.deepEqual(lab.log("ERROR"), [
    'beat: Cannot write "celerybeat-schedule": disk I/O error: beat goes on, and runs sent from now on may be sent ' +
    "again after a restart",
  ]);
  assert.equal(store.states.get("a")!.count, 0);
  store.isFull = false;
  await lab.world.clock.advance(10_000);
  assert.equal(store.states.get("a")!.count, 7);
  assert.ok(lab.log("INFO").includes("beat: The schedule file is written again"));
});

/** A store whose process dies right after a send, before the state is saved. */
class DyingStore extends MemoryStore {
  isDead = false;
  override save(states: ReadonlyMap<string, RunState | null>): Promise<void> {
    if (this.isDead) return new Promise(() => {});
    for (const state of states.values()) if (state?.sendingMs) this.isDead = true;
    return super.save(states);
  }
}

Deno.test("beat: killed between send and save: with the broker's record the run is not sent again", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { a: { task: "t", schedule: 60 } };
  const store = new MemoryStore("one");
  const first = await new Lab(schedule, { broker, store }).start();
  await first.world.clock.advance(MINUTE - 1);
  // From here on nothing reaches the disk.
  const kept = new Map(store.states);
  await first.world.clock.advance(1);
  assert.equal((await first.sent()).length, 1);
  const again = new MemoryStore("one");
  for (const [name, state] of kept) again.states.set(name, state);
  await using second = await new Lab(schedule, { broker, store: again, wallMs: START + MINUTE + 5000 })
    .start();
  assert.equal((await second.sent()).length, 0);
  assert.equal(again.states.get("a")!.count, 1);
  await second.world.clock.advance(55_000);
  assert.equal((await second.sent()).length, 1);
  await first.end();
});

Deno.test("beat: killed between send and save, without a record: the run is sent again under the same id, and logged", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { a: { task: "t", schedule: 60 } };
  const settings = { beat_lock: false };
  const store = new DyingStore("one");
  const first = await new Lab(schedule, { broker, store, settings }).start();
  await first.world.clock.advance(MINUTE);
  const [sent] = await first.sent();
  assert.ok(sent);
  const again = new MemoryStore("one");
  for (const [name, state] of store.states) again.states.set(name, state);
  await using second = await new Lab(schedule, {
    broker,
    store: again,
    settings,
    wallMs: START + MINUTE + 5000,
  }).start();
  assert.deepEqual((await second.sent()).map(({ id }) => id), [sent.id]);
  assert.deepEqual(second.log("WARNING"), [
    `beat: a was being sent when the last beat ended: it is sent again under the same id ${sent.id}`,
  ]);
});

Deno.test("beat: it ends within five seconds if the broker accepts nothing, and the next beat sends that run", async () => {
  const broker = `memory://${crypto.randomUUID()}`;
  const schedule = { a: { task: "t", schedule: 60 } };
  const store = new MemoryStore("one");
  const settings = { beat_lock: false };
  const first = new Lab(schedule, { broker, store, settings });
  const open = first.app.connectBroker.bind(first.app);
  first.app.connectBroker = async (how) => {
    const connection = await open(how);
    const end = connection.close.bind(connection);
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    connection.publish = () => promise;
    connection.close = () => (reject(new ConnectionLost("the connection is closed")), end());
    return connection;
  };
  await first.start();
  await first.world.clock.advance(MINUTE);
  let isOver = false;
  void first.running.then(() => isOver = true);
  first.stop.abort();
  await first.world.clock.advance(4900);
  assert.equal(isOver, false);
  await first.world.clock.advance(100);
  await first.running;
  assert.deepEqual(first.world.clock.armed, []);
  await using second = await new Lab(schedule, { broker, store, settings, wallMs: START + 2 * MINUTE })
    .start();
  assert.equal((await second.sent()).length, 1);
  await first.app.close();
});

Deno.test("beat: overlap skip waits for the last run's end", async () => {
  await using lab = await new Lab({ a: { task: "t", schedule: 10, overlap: "skip" } }, {
    settings: { result_backend: `memory://${crypto.randomUUID()}` },
  }).start();
  // The store's module is loaded from disk, which takes time that the fake clock does not see.
  await lab.app.openBackend();
  await lab.world.clock.advance(30_000);
  const [first, ...more] = await lab.sent();
  assert.equal(more.length, 0);
  assert.ok(
    lab.log("INFO").includes(`Scheduler: Skipping due task a (t): its last run ${first!.id} has not ended`),
  );
  await lab.app.backend.storeResult(first!.id, 1, "SUCCESS");
  await lab.world.clock.advance(10_000);
  assert.equal((await lab.sent()).length, 1);
});

Deno.test("beat: overlap skip without a result store is logged once and sends", async () => {
  await using lab = await new Lab({ a: { task: "t", schedule: 10, overlap: "skip" } }).start();
  await lab.world.clock.advance(30_000);
  assert.equal((await lab.sent()).length, 3);
  assert.equal(lab.log("WARNING").length, 1);
});

Deno.test("beat: a run that cannot be sent is logged and lost, the entry continues", async () => {
  let calls = 0;
  await using lab = await new Lab({
    a: { task: "t", schedule: 10, args: [(() => ++calls === 1 ? () => {} : "fine") as unknown] },
  }).start();
  await lab.world.clock.advance(20_000);
  assert.equal((await lab.sent()).length, 1);
  assert.match(lab.log("ERROR")[0]!, /^Message Error: Couldn't apply scheduled task a: Cannot send task "t"/);
});

Deno.test("beat: an invalid entry ends beat with an error that names the entry", async () => {
  const lab = await new Lab({ broken: { task: "t", schedule: crontab({ hour: 25 }) } }).start();
  await assert.rejects(
    lab.running,
    /Cannot use entry "broken" of beat_schedule: Cannot read hour 25 of a crontab/,
  );
  await lab.app.close();
});

Deno.test("beat: celery.backend_cleanup at four, if the result store does not expire results itself", async () => {
  await using folder = {
    path: await Deno.makeTempDir(),
    [Symbol.asyncDispose]: () => Deno.remove(folder.path, { recursive: true }),
  };
  const result_backend = `sqlite://${folder.path}/results.db`;
  const wallMs = START + 4 * HOUR - MINUTE;
  const entries = async (settings: Partial<Settings>, expiresByItself?: boolean) => {
    const lab = new Lab({}, { settings, wallMs });
    const store = await new App("store", { result_backend }, { world: lab.world }).openBackend();
    // None of our stores needs it; this one claims that it does.
    if (expiresByItself !== undefined) {
      lab.app.backend.use(Object.create(store, { expiresByItself: { value: expiresByItself } }));
    }
    await lab.start();
    await lab.world.clock.advance(MINUTE);
    const sent = (await lab.sent()).map(({ task }) => task);
    await lab.end();
    await store.close();
    return sent;
  };
  assert.deepEqual(await entries({ result_backend, timezone: "UTC" }, false), ["celery.backend_cleanup"]);
  assert.deepEqual(await entries({ result_backend }, true), []);
  assert.deepEqual(await entries({ result_backend, result_expires: 0 }, false), []);
  assert.deepEqual(await entries({}), []);
});
