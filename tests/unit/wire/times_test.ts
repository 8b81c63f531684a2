import assert from "node:assert/strict";
import fc from "fast-check";
import { DecodeError, hasOffset, parseIso, toPythonIso, toPythonIsoIn } from "../../../lib/wire/mod.ts";

const at = Date.UTC(2026, 10, 22, 14, 27, 27, 161);

Deno.test("times are read leniently", () => {
  const texts: [string, number][] = [
    ["2026-11-22T14:27:27.161382+00:00", at + 0.382],
    ["2026-11-22T14:27:27.161382", at + 0.382],
    ["2026-11-22 14:27:27.161Z", at],
    ["2026-11-22T16:27:27.161+02:00", at],
    ["2026-11-22T16:27:27.161+0200", at],
    ["2026-11-22T12:27:27,161-02", at],
    ["2026-11-22T14:27:27", at - 161],
    ["2026-11-22T14:27Z", at - 27161],
    ["2026-11-22", Date.UTC(2026, 10, 22)],
  ];
  for (const [text, ms] of texts) assert.ok(Math.abs(parseIso(text) - ms) < 0.0005, text);
});

Deno.test("text without an offset is local time where the caller says so", () => {
  const zone = { assumeUtc: false, timeZone: "Europe/Prague" };
  assert.equal(parseIso("2026-11-22T15:27:27.161", zone), at);
  assert.equal(parseIso("2026-11-22T14:27:27.161Z", zone), at);
  assert.equal(parseIso("2026-11-22T15:27:27.161+01:00", zone), at);
  assert.equal(parseIso("2026-11-22T14:27:27.161", { assumeUtc: false }), at);
});

Deno.test("what is no time gives one line", () => {
  const bad = [
    "",
    "soon",
    "2026",
    "2026-13-01",
    "2026-02-30",
    "2026-11-22T25:00",
    "2026-11-22T14",
    "2026-11-22T14:27:27+",
    "1763821647",
    "2026-11-22T14:27:27Z\nx",
  ];
  for (const text of bad) {
    assert.throws(() => parseIso(text), (error: Error) => {
      assert.ok(error instanceof DecodeError);
      assert.match(error.message, /^Cannot read time "[^\n]*": not ISO 8601$/);
      return true;
    }, text);
  }
  assert.throws(() => parseIso("x".repeat(1e6)), { message: /^.{1,200}$/ });
});

Deno.test("times are written as Python writes them", () => {
  assert.equal(toPythonIso(at + 0.382), "2026-11-22T14:27:27.161382+00:00");
  assert.equal(toPythonIso(at - 161), "2026-11-22T14:27:27+00:00");
  assert.equal(toPythonIso(at, { offset: null }), "2026-11-22T14:27:27.161000");
  assert.equal(toPythonIso(999.9999), "1970-01-01T00:00:01+00:00");
  assert.equal(toPythonIso(-0.001), "1969-12-31T23:59:59.999999+00:00");
  assert.equal(toPythonIsoIn(at, "Europe/Prague"), "2026-11-22T15:27:27.161000+01:00");
  assert.equal(toPythonIsoIn(at, "UTC"), "2026-11-22T14:27:27.161000+00:00");
});

Deno.test("what is written is read as the same microsecond", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: 0, max: 999 }), (ms, micros) => {
    assert.equal(Math.round(parseIso(toPythonIso(ms + micros / 1000)) * 1000), ms * 1000 + micros);
  }));
});

Deno.test("hasOffset tells naive text", () => {
  for (
    const text of [
      "2026-11-22T14:27:27Z",
      "2026-11-22T14:27:27+00:00",
      "2026-11-22 14:27-0200",
      "2026-11-22T14:27:27.1+02",
    ]
  ) {
    assert.ok(hasOffset(text), text);
  }
  for (const text of ["2026-11-22T14:27:27", "2026-11-22", "2026-11-22 14:27:27.123"]) {
    assert.ok(!hasOffset(text), text);
  }
});
