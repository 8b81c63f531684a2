/**
 * Crontabs over every change of clocks in ten years: compared with a plain walk through all minutes, and with
 * croner. tests/interop/crontab_test.ts compares with Python's.
 */

import assert from "node:assert/strict";
import { Cron } from "croner";
import fc from "fast-check";
import { crontab } from "../../../lib/app/mod.ts";
import { Crontab } from "../../../lib/beat/crontab.ts";
import { Zone } from "../../../lib/beat/zone.ts";
import { clockChanges, FROM, TO } from "../../support/clock_changes.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/**
 * Northern and southern zones; changes of an hour and of half an hour, at midnight, in Ramadan; and no
 * change.
 */
const ZONES = [
  "Europe/Prague",
  "Europe/London",
  "America/New_York",
  "America/Sao_Paulo",
  "America/Santiago",
  "America/St_Johns",
  "Australia/Lord_Howe",
  "Australia/Sydney",
  "Africa/Casablanca",
  "Africa/Cairo",
  "Asia/Beirut",
  "Asia/Kolkata",
  "America/Scoresbysund",
  "Pacific/Chatham",
  "UTC",
];

/** Returns every due time in a window, in order. */
function firings(made: Crontab, from: number, to: number): number[] {
  const found: number[] = [];
  for (let at = made.next(from); at !== null && at < to; at = made.next(at)) {
    assert.ok(found.length === 0 || at > found.at(-1)!, "time goes on");
    found.push(at);
  }
  return found;
}

/** Returns local time by Temporal, independent of our code. */
function local(ms: number, zone: string): Temporal.PlainDateTime {
  return Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(zone).toPlainDateTime();
}

Deno.test("zone: local times agree with Temporal around every change of ten years", () => {
  let count = 0;
  for (const name of ZONES) {
    const zone = Zone.of(name);
    for (const change of clockChanges(name)) {
      count++;
      for (let at = change - 2 * HOUR; at <= change + 2 * HOUR; at += 10 * 60_000) {
        const wall = local(at, name);
        assert.equal(
          new Date(zone.wallOf(at)).toISOString().slice(0, 19),
          wall.toString({ smallestUnit: "second" }),
        );
        const expected = wall.toZonedDateTime(name, { disambiguation: "compatible" }).epochMilliseconds;
        assert.equal(zone.instantOf(zone.wallOf(at)), expected, `${name} ${wall}`);
        const gap = wall.add({ hours: 1 });
        assert.equal(
          zone.instantOf(zone.wallOf(at) + HOUR),
          gap.toZonedDateTime(name, { disambiguation: "compatible" }).epochMilliseconds,
          `${name} ${gap}`,
        );
      }
    }
  }
  assert.ok(count > 200, `${count} changes`);
});

Deno.test("crontab: a named hour fires once for each local time of each day, over every change of ten years", () => {
  for (const name of ZONES) {
    const zone = Zone.of(name);
    for (const change of clockChanges(name)) {
      const from = change - 2 * DAY;
      const to = change + 2 * DAY;
      // Every half hour around the change, one entry each.
      for (let hour = 0; hour < 24; hour++) {
        for (const minute of [0, 15, 30]) {
          const made = new Crontab(crontab({ minute, hour }), zone);
          const got = firings(made, from, to);
          // Each whole local day in the window has it once: at that local time, or later by the length of the
          // gap.
          const expected: number[] = [];
          for (let day = -3; day <= 3; day++) {
            const date = local(change, name).toPlainDate().add({ days: day });
            const wall = date.toPlainDateTime({ hour, minute });
            const at = wall.toZonedDateTime(name, { disambiguation: "compatible" }).epochMilliseconds;
            if (at > from && at < to && !expected.includes(at)) expected.push(at);
          }
          assert.deepEqual(
            got,
            expected.sort((a, b) => a - b),
            `${name} ${hour}:${minute} around ${new Date(change)}`,
          );
        }
      }
    }
  }
});

Deno.test("crontab: every hour continues in real time: each moment whose local time matches, once", () => {
  for (const name of ZONES) {
    const zone = Zone.of(name);
    for (const change of clockChanges(name)) {
      for (const minute of ["*/15", "7", "0"]) {
        const made = new Crontab(crontab({ minute }), zone);
        const minutes = minute === "*/15" ? [0, 15, 30, 45] : [Number(minute)];
        const expected: number[] = [];
        for (let at = change - 6 * HOUR; at < change + 6 * HOUR; at += 60_000) {
          if (minutes.includes(local(at, name).minute)) expected.push(at);
        }
        assert.deepEqual(
          firings(made, change - 6 * HOUR - 1, change + 6 * HOUR),
          expected,
          `${name} ${minute}`,
        );
      }
    }
  }
});

Deno.test("crontab: several hours near a gap of half an hour come in order and once", () => {
  // Lord Howe goes from 02:00 to 02:30: 02:10 and 02:15 are missing, 02:40 exists.
  const zone = Zone.of("Australia/Lord_Howe");
  const made = new Crontab(crontab({ minute: "10,15,40", hour: "1-3" }), zone);
  const gap = clockChanges("Australia/Lord_Howe").find((at) =>
    zone.spanAt(at).offset > zone.spanAt(at - 1).offset
  )!;
  const got = firings(made, gap - 2 * HOUR, gap + 3 * HOUR).map((at) => zone.format(at).slice(11, 16));
  assert.deepEqual(got, ["01:10", "01:15", "01:40", "02:40", "02:45", "03:10", "03:15", "03:40"]);
});

/** Fields that Celery, croner and we read alike. */
const fields = fc.record({
  minute: fc.constantFrom("*", "*/15", "0", "5,35", "10-20/5", "59"),
  hour: fc.constantFrom("*", "*/3", "0", "2", "1-3", "8-17/2", "23"),
  dayOfMonth: fc.constantFrom("*", "1", "13", "31", "*/7", "1,15"),
  monthOfYear: fc.constantFrom("*", "2", "*/3", "6-8"),
  dayOfWeek: fc.constantFrom("*", "1-5", "0", "*/2", "1,3,5"),
}).filter(({ dayOfMonth, monthOfYear }) => dayOfMonth !== "31" || monthOfYear !== "2");

Deno.test("crontab: in UTC croner finds the same runs", () => {
  fc.assert(
    fc.property(fields, fc.integer({ min: FROM / 1000, max: TO / 1000 }), (given, fromSeconds) => {
      const { minute, hour, dayOfMonth, monthOfYear, dayOfWeek } = given;
      const made = new Crontab(crontab(given), Zone.of("UTC"));
      const pattern = `${minute} ${hour} ${dayOfMonth} ${monthOfYear} ${dayOfWeek}`;
      const other = new Cron(pattern, { paused: true, timezone: "UTC", domAndDow: true });
      let at = fromSeconds * 1000;
      for (let n = 0; n < 3; n++) {
        const next = made.next(at)!;
        assert.equal(new Date(next).toISOString(), other.nextRun(new Date(at))!.toISOString(), pattern);
        at = next;
      }
    }),
    { numRuns: 150 },
  );
});

Deno.test("crontab: next is the first match after a moment, in any zone", () => {
  fc.assert(
    fc.property(
      fields,
      fc.constantFrom(...ZONES),
      fc.integer({ min: FROM / 60_000, max: TO / 60_000 }),
      (given, name, fromMinutes) => {
        const made = new Crontab(crontab(given), Zone.of(name));
        const from = fromMinutes * 60_000;
        const next = made.next(from)!;
        assert.ok(next > from);
        // No run is found between two, from a later start either, and the same run is found from just before
        // it.
        assert.equal(made.next(next - 1), next);
        assert.equal(made.next(Math.floor((from + next) / 2)), next);
        assert.equal(made.latest(from, next + 30_000), next);
      },
    ),
    { numRuns: 400 },
  );
});
