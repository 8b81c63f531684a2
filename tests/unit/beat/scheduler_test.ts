/** The scheduler alone: the test gives the time, so a year takes seconds. */

import assert from "node:assert/strict";
import { App, type BeatEntry, crontab } from "../../../lib/app/mod.ts";
import { Entry, readEntries } from "../../../lib/beat/entry.ts";
import { type DueRun, Scheduler, usableState } from "../../../lib/beat/scheduler.ts";
import { Zone } from "../../../lib/beat/zone.ts";
import { cpuMsOf } from "../../support/cpu_time.ts";
import { fakeWorld } from "../../support/fake_world.ts";

const START = Date.UTC(2026, 0, 1);
const YEAR = 365 * 86_400_000;
const HOUR = 3_600_000;

function scheduler(
  given: Record<string, BeatEntry>,
  options: { zone?: string; now?: number; deadlineSeconds?: number } = {},
): Scheduler {
  const made = new Scheduler({ deadlineSeconds: options.deadlineSeconds ?? null });
  const zone = Zone.of(options.zone ?? "UTC");
  const entries = new Map(Object.entries(given).map(([name, one]) => [name, new Entry(name, one, zone)]));
  made.replace(entries, () => null, options.now ?? START);
  return made;
}

/** Takes everything due and settles it. */
function run(made: Scheduler, now: number): DueRun[] {
  const all: DueRun[] = [];
  for (let runs; (runs = made.take(now, 100)).length > 0;) {
    for (const run of runs) made.settle(run, run.after);
    all.push(...runs);
  }
  return all;
}

const sent = (runs: readonly DueRun[]) => runs.filter(({ skipped }) => skipped === null);
const iso = (runs: readonly DueRun[]) => runs.map(({ dueMs }) => new Date(dueMs).toISOString().slice(0, 19));

/** Returns how many moments of the year have each minute of an hour as their local minute. */
function momentsByMinute(zone: Zone): number[] {
  const counts = new Array<number>(60).fill(0);
  for (let at = START + 60_000; at <= START + YEAR; at += 60_000) {
    counts[Math.floor(zone.wallOf(at) / 60_000) % 60]!++;
  }
  return counts;
}

/** Returns how many of these local times the year has, each once on days that `isDay` accepts. */
function onTheClock(
  zone: string,
  times: readonly { hour: number; minute: number }[],
  isDay: (date: Temporal.PlainDate) => boolean = () => true,
): number {
  const moments = new Set<number>();
  let date = Temporal.Instant.fromEpochMilliseconds(START).toZonedDateTimeISO(zone).toPlainDate().subtract({
    days: 1,
  });
  for (let n = 0; n < 369; n++, date = date.add({ days: 1 })) {
    if (!isDay(date)) continue;
    for (const time of times) {
      const at = date.toZonedDateTime({ timeZone: zone, plainTime: time }).epochMilliseconds;
      if (at > START && at <= START + YEAR) moments.add(at);
    }
  }
  return moments.size;
}

Deno.test("scheduler: a year of 500 mixed entries in seconds, exactly the sends expected", () => {
  const zones = ["UTC", "Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"];
  const byMinute = new Map(zones.map((name) => [name, momentsByMinute(Zone.of(name))]));
  const given: Record<string, BeatEntry> = {};
  const expected = new Map<string, number>();
  for (let n = 0; n < 500; n++) {
    const timezone = zones[n % zones.length]!;
    const minute = n % 60;
    const hour = Math.floor(n / 7) % 24;
    const name = `entry-${n}`;
    const office = Array.from({ length: 20 }, (_, k) => ({ hour: 8 + (k >> 1), minute: 30 * (k % 2) }));
    const kinds: [BeatEntry["schedule"], () => number][] = [
      [3600 + n, () => Math.floor(YEAR / ((3600 + n) * 1000))],
      [crontab({ minute, hour }), () => onTheClock(timezone, [{ hour, minute }])],
      [crontab({ minute }), () => byMinute.get(timezone)![minute]!],
      [
        crontab({ minute, hour, dayOfWeek: "mon-fri" }),
        () => onTheClock(timezone, [{ hour, minute }], (date) => date.dayOfWeek < 6),
      ],
      [
        crontab({ minute, hour, dayOfMonth: "1,15" }),
        () => onTheClock(timezone, [{ hour, minute }], (date) => date.day === 1 || date.day === 15),
      ],
      ["PT12H", () => 730],
      [crontab({ minute: "*/30", hour: "8-17" }), () => onTheClock(timezone, office)],
    ];
    const [schedule, count] = kinds[n % kinds.length]!;
    given[name] = { task: "t", schedule, timezone };
    expected.set(name, count());
  }
  const made = scheduler(given);
  const counts = new Map<string, number>();
  let total = 0;
  let last = START;
  const tookMs = cpuMsOf(() => {
    while (made.nextMs <= START + YEAR) {
      const now = made.nextMs;
      assert.ok(now > last, "time goes on");
      last = now;
      for (const run of made.take(now, 1000)) {
        assert.equal(run.dueMs, now);
        assert.equal(run.skipped, null);
        counts.set(run.entry.name, (counts.get(run.entry.name) ?? 0) + 1);
        total++;
        made.settle(run, run.after);
      }
    }
  });
  for (const [name, count] of expected) {
    assert.equal(counts.get(name), count, `${name} ${JSON.stringify(given[name])}`);
  }
  assert.ok(total > 900_000, `${total} sends`);
  assert.ok(tookMs < 20_000, `${total} sends took ${tookMs} ms`);
});

Deno.test("scheduler: a new interval waits for its length, a crontab for its time; the rhythm is kept", () => {
  const made = scheduler({
    a: { task: "t", schedule: 10 },
    b: { task: "t", schedule: crontab({ minute: 1 }) },
  });
  assert.equal(made.nextMs, START + 10_000);
  // Sent 30 ms late, and the next is due on time again.
  assert.equal(run(made, START + 10_030).length, 1);
  assert.equal(made.nextMs, START + 20_000);
  assert.equal(made.entries.get("a")!.state.count, 1);
  assert.equal(made.entries.get("b")!.dueMs, START + 60_000);
});

Deno.test("scheduler: missed runs become one run, and an interval starts again from then, as in Celery", () => {
  const made = scheduler({
    a: { task: "t", schedule: 60 },
    b: { task: "t", schedule: crontab({ minute: "*/5" }) },
  });
  const now = START + 3 * HOUR + 17_000;
  const runs = run(made, now);
  assert.deepEqual(runs.map(({ entry }) => entry.name).sort(), ["a", "b"]);
  assert.equal(made.entries.get("a")!.dueMs, now + 60_000);
  assert.equal(runs.find(({ entry }) => entry.name === "b")!.dueMs, START + 3 * HOUR);
  assert.equal(made.entries.get("b")!.dueMs, START + 3 * HOUR + 300_000);
});

Deno.test("scheduler: catchUp all sends each missed run, latest one of them, none only runs that are not late", () => {
  const every = crontab({ minute: "*/10" });
  const given = {
    all: { task: "t", schedule: every, catchUp: "all" },
    latest: { task: "t", schedule: every, catchUp: "latest" },
    none: { task: "t", schedule: every, catchUp: "none" },
  } as const;
  const made = scheduler(given);
  const runs = sent(run(made, START + HOUR + 40_000));
  const of = (name: string) =>
    iso(runs.filter(({ entry }) => entry.name === name)).map((time) => time.slice(11, 16));
  assert.deepEqual(of("all"), ["00:10", "00:20", "00:30", "00:40", "00:50", "01:00"]);
  assert.deepEqual(of("latest"), ["01:00"]);
  assert.deepEqual(of("none"), []);
  for (const entry of made.entries.values()) assert.equal(entry.dueMs, START + HOUR + 600_000);
  const near = scheduler(given);
  assert.equal(sent(run(near, START + HOUR + 20_000)).filter(({ entry }) => entry.name === "none").length, 1);
});

Deno.test("scheduler: catchUp all of an interval keeps its rhythm, and of too many only the latest is sent", () => {
  const few = scheduler({ a: { task: "t", schedule: 1, catchUp: "all" } });
  assert.equal(run(few, START + 5300).length, 5);
  assert.equal(few.nextMs, START + 6000);
  const many = scheduler({ a: { task: "t", schedule: 1, catchUp: "all" } });
  assert.equal(run(many, START + 5_000_000).length, 1);
});

Deno.test("scheduler: beat_cron_starting_deadline skips a crontab's late run, not an interval's", () => {
  const given = {
    a: { task: "t", schedule: crontab({ hour: 4, minute: 0 }) },
    b: { task: "t", schedule: 3600 },
  };
  const late = run(scheduler(given, { deadlineSeconds: 600 }), START + 5 * HOUR);
  assert.deepEqual(sent(late).map(({ entry }) => entry.name), ["b"]);
  const intime = run(scheduler(given, { deadlineSeconds: 600 }), START + 4 * HOUR + 300_000);
  assert.equal(sent(intime).filter(({ entry }) => entry.name === "a").length, 1);
});

Deno.test("scheduler: after the clock is set back intervals continue, and crontabs do not fire twice", () => {
  const made = scheduler({
    a: { task: "t", schedule: 60 },
    b: { task: "t", schedule: crontab({ minute: "*/5" }) },
  });
  for (let now = START; now <= START + 2 * HOUR; now = made.nextMs) run(made, now);
  const before = made.entries.get("a")!.state.count;
  made.clockWasSet(-HOUR);
  let now = START + HOUR;
  const names: string[] = [];
  for (; now < START + 2 * HOUR - 1000; now += 10_000) {
    names.push(...run(made, now).map(({ entry }) => entry.name));
  }
  assert.equal(made.entries.get("a")!.state.count - before, 59);
  assert.ok(!names.includes("b"), "a crontab came twice");
  assert.equal(made.entries.get("b")!.dueMs, START + 2 * HOUR + 300_000);
});

Deno.test("scheduler: the clock set forward counts as missed time: one run, not sixty", () => {
  const made = scheduler({ a: { task: "t", schedule: 60 }, b: { task: "t", schedule: crontab() } });
  run(made, START + 60_000);
  made.clockWasSet(HOUR);
  assert.equal(run(made, START + 61_000 + HOUR).length, 2);
});

Deno.test("scheduler: a stored last run in the future comes from a wrong clock", () => {
  const made = scheduler({ a: { task: "t", schedule: 60 }, b: { task: "t", schedule: crontab() } });
  const state = (ahead: number) => ({ lastMs: START + ahead, count: 1, taskId: null, sendingMs: null });
  const a = made.entries.get("a")!;
  const b = made.entries.get("b")!;
  assert.equal(usableState(a, state(10_000), START).lastMs, START + 10_000);
  assert.equal(usableState(a, state(HOUR), START).lastMs, START);
  assert.equal(usableState(b, state(HOUR), START).lastMs, START + HOUR);
  assert.equal(usableState(b, state(YEAR), START).lastMs, START);
});

Deno.test("scheduler: an entry put back is due as before", () => {
  const made = scheduler({ a: { task: "t", schedule: 1 } });
  const [run] = made.take(START + 1000, 10);
  assert.equal(made.nextMs, Infinity);
  made.putBack(run!.entry);
  assert.equal(made.nextMs, START + 1000);
});

Deno.test("entry: every beat gives a run the same id, and every run has another", () => {
  const make = () => new Entry("n", { task: "t", schedule: 1 }, Zone.of("UTC"));
  const one = make();
  const two = make();
  assert.equal(one.taskIdOf("app", 1000), two.taskIdOf("app", 1000));
  assert.match(
    one.taskIdOf("app", 1000),
    /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  const ids = new Set([one.taskIdOf("app", 1000), one.taskIdOf("app", 2000), one.taskIdOf("other", 1000)]);
  two.state = { ...two.state, count: 1 };
  ids.add(two.taskIdOf("app", 1000));
  assert.equal(ids.size, 4);
});

Deno.test("entry: null is refused, and does not mean Celery's own entry", async () => {
  const world = fakeWorld();
  await using app = new App("a", { broker_url: "memory://", beat_schedule: { x: null as never } }, { world });
  await assert.rejects(readEntries(app), {
    message: 'Cannot use entry "x" of beat_schedule: an object is expected',
  });
});

Deno.test("entry: an invalid entry is refused with the reason", () => {
  const zone = Zone.of("UTC");
  const refused: [unknown, RegExp][] = [
    [{ schedule: 1 }, /has no task name/],
    [{ task: "t" }, /it has no schedule$/],
    [{ task: "t", schedule: -1 }, /shortest interval is 0.001/],
    [{ task: "t", schedule: 1e300 }, /longest interval is 10000000000$/],
    [{ task: "t", schedule: { minute: null } }, /Cannot read minute null of a crontab: it must be a number,/],
    [
      { task: "t", schedule: { kind: "solar", event: "sunset", latitude: "50", longitude: 14 } },
      /latitude "50": it must be a number from -90 to 90$/,
    ],
    [
      { task: "t", schedule: { kind: "solar", event: "sunset", latitude: 50, longitude: null } },
      /longitude null: it must be a number from -180 to 180$/,
    ],
    [{ task: "t", schedule: "often" }, /five fields are expected/],
    [{ task: "t", schedule: { hours: 1 } }, /Unknown option "hours" of a crontab: did you mean "hour"\?/],
    [{ task: "t", schedule: { kind: "crontb", hour: 1 } }, /unknown kind "crontb": use crontab, interval/],
    [{ task: "t", schedule: { kind: "interval", second: 1 } }, /Unknown option "second" of an interval: did/],
    [
      { task: "t", schedule: { kind: "solar", events: "sunset" } },
      /"events" of a solar event: did you/,
    ],
    [{ task: "t", schedule: "30" }, /Cannot read crontab "30": five fields are expected/],
    [{ task: "t", schedul: 900 }, /Unknown option "schedul" of an entry: did you mean "schedule"\?/],
    [
      { task: "t", schedule: 900, expires: 600 },
      /"expires" is an option of its calls: put it into "options"/,
    ],
    [{ task: "t", schedule: 900, routing_key: "x" }, /"routing_key" is an option of its calls/],
    [{ task: "t", schedule: 900, options: { expire: 1 } }, /"expire" of its calls: did you mean "expires"\?/],
    [{ task: "t", schedule: 1, options: { expires: "soon" } }, /"t": expires "soon" must be ISO 8601 text/],
    [{ task: "t", schedule: 1, options: { countdown: "5" } }, /countdown "5" must be a number of seconds/],
    [
      { task: "t", schedule: 1, options: { priority: 300 } },
      /priority 300 must be a whole number from 0 to 255/,
    ],
    [
      { task: "t", schedule: 1, options: { time_limit: -1 } },
      /timeLimit -1 must be a number of seconds, 0 or more/,
    ],
    [{ task: "t", schedule: {} }, /names no field of a crontab: every minute is crontab\(\)/],
    [{ task: "t", schedule: new Date(0) }, /names no field of a crontab/],
    [{ task: "t", schedule: 1, args: "x" }, /args must be a list: "x"/],
    [{ task: "t", schedule: 1, kwargs: [1] }, /kwargs must be an object: \[1\]/],
    [{ task: "t", schedule: 1, timezone: "Mars" }, /Unknown time zone "Mars"/],
    [{ task: "t", schedule: 1, catchUp: "some" }, /catchUp must be latest, all or none: "some"/],
    [{ task: "t", schedule: 1, overlap: "no" }, /overlap must be allow or skip: "no"/],
  ];
  for (const [given, reason] of refused) {
    assert.throws(() => new Entry("n", given as BeatEntry, zone), reason, JSON.stringify(given));
  }
  const json = new Entry("n", { task: "t", schedule: { hour: 4, day_of_week: "mon" } as never }, zone);
  assert.equal(json.timing.repr, "<crontab: * 4 * * mon (m/h/dM/MY/d)>");
});
