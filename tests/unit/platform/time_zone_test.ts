/** TZ in every spelling that glibc reads, and in those that it does not. */

import assert from "node:assert/strict";
import { findTimeZone } from "../../../lib/platform/mod.ts";
import { mustRun } from "../../support/run.ts";

/** Minutes east of Greenwich in January and July. */
function offsets(zone: string): [number, number] {
  const at = (day: string) =>
    Temporal.Instant.from(`2026-${day}T00Z`).toZonedDateTimeISO(zone).offsetNanoseconds / 60e9;
  return [at("01-01"), at("07-01")];
}

Deno.test("findTimeZone: the zones that TZ means", () => {
  const right: Record<string, string> = {
    "": "UTC",
    " ": "UTC",
    ":": "UTC",
    "UTC": "UTC",
    "Europe/Paris": "Europe/Paris",
    ":America/New_York": "America/New_York",
    "posix/Asia/Tokyo": "Asia/Tokyo",
    "EST5EDT": "EST5EDT",
    "UTC0": "UTC",
    "<+03>-3": "Etc/GMT-3",
    "JST-9": "Etc/GMT-9",
    "GMT+5": "Etc/GMT+5",
    "XYZ+00": "UTC",
  };
  for (const [given, zone] of Object.entries(right)) {
    assert.deepEqual(findTimeZone(given), { zone, warning: null }, given);
  }
});

Deno.test("findTimeZone: half hours, and the rules of a zone without its name", () => {
  const right: Record<string, [number, number]> = {
    "IST-5:30": [330, 330],
    "<+0545>-5:45": [345, 345],
    "CET-1CEST,M3.5.0,M10.5.0/3": [60, 120],
    "CET-1CEST-2,M3.5.0/2,M10.5.0/3": [60, 120],
    "EST5EDT4,M3.2.0/02:00:00,M11.1.0": [-300, -240],
    "AEST-10AEDT,M10.1.0,M4.1.0/3": [660, 600],
    "ABC3DEF": [-180, -120],
  };
  for (const [given, east] of Object.entries(right)) {
    // Without the system's files there are no rules to compare with.
    if (!hasZoneFiles() && /^[A-Z]+-?\d+[A-Z]/.test(given)) continue;
    const { zone, warning } = findTimeZone(given);
    assert.equal(warning, null, given);
    assert.deepEqual(offsets(zone), east, given);
  }
});

Deno.test("findTimeZone: what it does not know is told, and comes near", () => {
  for (
    const given of ["Nowhere/Land", "X", "+05:30", "/no/such/file", "Etc/Unknown", "undefined", "MSK-3MSD,J1"]
  ) {
    const { zone, warning } = findTimeZone(given);
    assert.equal(zone, given.startsWith("MSK") ? "Etc/GMT-3" : "UTC", given);
    assert.match(
      warning!,
      /^TZ ".*" (is not a known time zone: UTC is used|has rules that match no known)/,
      given,
    );
  }
});

Deno.test("findTimeZone: a file, through links", { ignore: !hasZoneFiles() }, () => {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.symlinkSync("/usr/share/zoneinfo/Europe/Paris", `${folder}/link`);
    Deno.copyFileSync("/usr/share/zoneinfo/Asia/Kolkata", `${folder}/copy`);
    assert.equal(findTimeZone(`:${folder}/link`).zone, "Europe/Paris");
    assert.deepEqual(offsets(findTimeZone(`${folder}/copy`).zone), [330, 330]);
    Deno.writeTextFileSync(`${folder}/text`, "no zone");
    assert.equal(findTimeZone(`${folder}/text`).zone, "UTC");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("a program's clock and its Temporal agree, whatever TZ says", async () => {
  const script = `const { realWorld } = await import(${
    JSON.stringify(new URL("../../../lib/platform/mod.ts", import.meta.url).href)
  });
    realWorld();
    const at = Temporal.Instant.fromEpochMilliseconds(1_767_225_600_000);
    console.log(at.toZonedDateTimeISO(Temporal.Now.timeZoneId()).offset, new Date(1_767_225_600_000).getTimezoneOffset());`;
  const told = async (TZ: string) => {
    return (await mustRun([Deno.execPath(), "eval", script], { env: { TZ } })).trim();
  };
  const [empty, east, wrong] = await Promise.all(["", "<+03>-3", "Nowhere/Land"].map(told));
  assert.deepEqual([empty, east, wrong], ["+00:00 0", "+03:00 -180", "+00:00 0"]);
});

function hasZoneFiles(): boolean {
  try {
    return Deno.statSync("/usr/share/zoneinfo/Europe/Paris").isFile;
  } catch {
    return false;
  }
}
