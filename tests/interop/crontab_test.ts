/** Crontabs beside Python's own, where that is right. */

import assert from "node:assert/strict";
import { crontab, type CrontabFields } from "../../lib/app/mod.ts";
import { Crontab } from "../../lib/beat/crontab.ts";
import { Zone } from "../../lib/beat/zone.ts";
import { clockChanges } from "../support/clock_changes.ts";
import { askPython } from "../support/servers.ts";

const HOUR = 3_600_000;

Deno.test("crontab: Python's own crontab agrees, where it is right", async () => {
  // Celery looks only once per run, from the last one; it is right away from the repeated hour and, for every hour, away
  // from both changes. These cases keep a day's distance or name their hours.
  const cases: { spec: CrontabFields; zone: string; last: number }[] = [];
  for (const name of ["Europe/Prague", "America/New_York", "Australia/Sydney", "Asia/Kolkata"]) {
    for (const spec of SPECS) {
      for (let n = 0; n < 12; n++) {
        cases.push({ spec, zone: name, last: Date.UTC(2026, n, 3 + n, n * 2, 7 * n % 60, 30) });
      }
    }
    for (const change of clockChanges(name).slice(0, 6)) {
      for (const spec of SPECS.filter(({ hour }) => hour !== undefined)) {
        cases.push({ spec, zone: name, last: change - 30 * HOUR });
        cases.push({ spec, zone: name, last: change + 30 * HOUR });
      }
    }
  }
  const answers = await python(cases);
  const wrong: string[] = [];
  cases.forEach(({ spec, zone, last }, n) => {
    const ours = new Crontab(crontab(spec), Zone.of(zone)).next(last)!;
    if (ours === answers[n]) return;
    // 5.2 adds the old offset where a change lies between the last run and the next.
    const span = Zone.of(zone).spanAt(last);
    const isAcross = span.end <= ours;
    const isHourOff = Math.abs(ours - answers[n]!) === HOUR;
    if (!isAcross || !isHourOff) {
      wrong.push(
        `${JSON.stringify(spec)} ${zone} ${Zone.of(zone).format(last)}: ${Zone.of(zone).format(ours)}`,
      );
    }
  });
  assert.deepEqual(wrong, []);
  assert.ok(cases.length > 500);
});

const SPECS: CrontabFields[] = [
  { minute: 0, hour: 0 },
  { minute: 30, hour: 2 },
  { minute: "*/10", hour: "1-4" },
  { minute: 15, hour: "22-2" },
  { minute: 0, hour: 4, dayOfWeek: "mon" },
  { minute: 0, hour: 4, dayOfWeek: "sat-mon" },
  { minute: 0, hour: 4, dayOfMonth: "1,15" },
  { minute: 0, hour: 4, dayOfMonth: 31 },
  { minute: 0, hour: 4, dayOfMonth: 13, dayOfWeek: 5 },
  { minute: 0, hour: 4, monthOfYear: "*/3", dayOfMonth: 1 },
  { minute: "50-10" },
  { minute: "*/7" },
];

/** Asks Celery 5.2.6 for the run after each `last`, with `now` at the last run, as its beat does. */
function python(
  cases: readonly { spec: CrontabFields; zone: string; last: number }[],
): Promise<number[]> {
  const script = `
import json, sys
from datetime import datetime, timezone
from celery import Celery
from celery.schedules import crontab
import pytz
names = {"dayOfWeek": "day_of_week", "dayOfMonth": "day_of_month", "monthOfYear": "month_of_year"}
apps = {}
out = []
for case in json.load(sys.stdin):
    if case["zone"] not in apps:
        apps[case["zone"]] = Celery("a")
        apps[case["zone"]].conf.timezone = case["zone"]
    app = apps[case["zone"]]
    last = datetime.fromtimestamp(case["last"] / 1000, timezone.utc).astimezone(pytz.timezone(case["zone"]))
    made = crontab(app=app, nowfun=lambda: last, **{names.get(k, k): v for k, v in case["spec"].items()})
    out.append(round(case["last"] + made.remaining_estimate(last).total_seconds() * 1000))
json.dump(out, sys.stdout)
`;
  return askPython(["-c", script], cases);
}
