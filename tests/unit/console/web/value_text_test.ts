/** The texts of values, numbers and times as pages show them. */

import assert from "node:assert/strict";
import { bytes, moment, rate, share, short, span } from "../../../../lib/console/web/format.ts";
import { pretty } from "../../../../lib/console/web/value_text.ts";

const text = (value: string) => pretty(value).map(([, part]) => part).join("");

Deno.test("pretty keeps a short value on its line, every digit of a number, and every blank of a string", () => {
  for (
    const value of [
      "[]",
      '{"n": 12345678901234567890123, "f": 129.5000000000000001}',
      `("a  b", {'k': None}, 1e400)`,
      '"<script>alert(1)</script>"',
    ]
  ) assert.equal(text(value), value);
});

Deno.test("pretty breaks a long value at its brackets and commas, and keeps what was cut off", () => {
  const long = `{"items": [${Array.from({ length: 20 }, (_, at) => `"item ${at}"`).join(", ")}], "n": 1}`;
  const lines = text(long).split("\n");
  assert.equal(lines[0], "{");
  assert.equal(lines[1], '  "items": [');
  assert.equal(lines[2], '    "item 0",');
  assert.equal(lines.at(-2), '  "n": 1');
  assert.equal(text(long).replace(/\n\s*/g, " "), long.replace(/([{[])/g, "$1 ").replace(/([}\]])/g, " $1"));
  const cut = `(1, 'a long text that was cut off by its sender, and then some more of it ...`;
  assert.equal(text(cut).replace(/\s+/g, ""), cut.replace(/\s+/g, ""));
});

Deno.test("pretty parts what stands close, and keeps a tuple's last comma where it is", () => {
  assert.equal(text('[{"id":859,"at":"12:30"},2]'), '[{"id": 859, "at": "12:30"}, 2]');
  assert.equal(text(`([${"{'order': 1}, ".repeat(6)}],)`).split("\n").slice(-2).join(), "  ],,)");
});

Deno.test("pretty names keys, strings and numbers", () => {
  assert.deepEqual(pretty(`{"a": [1, "x", null]}`).filter(([kind]) => kind !== ""), [
    ["k", '"a"'],
    ["n", "1"],
    ["s", '"x"'],
    ["n", "null"],
  ]);
});

Deno.test("durations, amounts, rates and shares have at most three digits that matter", () => {
  assert.deepEqual([0, 0.000061, 0.0042, 0.25, 2.345, 75, 3600, 90_061, -3, null].map(span), [
    "0 s",
    "61 µs",
    "4.2 ms",
    "250 ms",
    "2.35 s",
    "1 m 15 s",
    "1 h",
    "1 d 1 h",
    "−3 s",
    "–",
  ]);
  assert.deepEqual([12, 99_999, 123_456, 1_234_567].map(short), ["12", "99,999", "123 k", "1.23 M"]);
  assert.deepEqual([rate(4.218), rate(0.05), rate(0)], [["4.22", "/ s"], ["3", "/ min"], ["0", "/ s"]]);
  assert.deepEqual([share(1, 3), share(0, 5), share(1, 0)], ["33.3 %", "0 %", ""]);
  assert.deepEqual([bytes(12), bytes(2048), bytes(3 * 2 ** 20)], ["12 B", "2 KiB", "3 MiB"]);
});

Deno.test("a moment of today is a clock, one of another day has its date", () => {
  const now = Date.UTC(2026, 10, 30, 20) / 1000;
  assert.equal(moment(now - 3600, { zone: "UTC", now }), "19:00:00");
  assert.equal(moment(now - 3599.5, { zone: "UTC", now, fine: true }), "19:00:00.500");
  assert.equal(moment(now - 2 * 86_400, { zone: "UTC", now }), "28 Nov 20:00:00");
  assert.equal(moment(now - 365 * 86_400, { zone: "UTC", now }), "30 Nov 2025 20:00:00");
});
