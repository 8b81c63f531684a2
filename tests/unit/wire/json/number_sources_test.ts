/** Numbers with their texts, in an engine that gives none: as in one that does. */

import assert from "node:assert/strict";
import { parseWithSources, type Revive } from "../../../../lib/wire/json/number_sources.ts";

const revive: Revive = (_key, value, context) =>
  typeof value === "number" && /^-?\d{16,}$|^-0e-9$/.test(context?.source ?? "")
    ? `<${context!.source}>`
    : value;
const read = (text: string, hasSources: boolean) =>
  parseWithSources(text, revive, (source) => source === "-0e-9", hasSources);

Deno.test("long integers and wanted numbers are found outside of texts alone", () => {
  for (
    const text of [
      "12345678901234567890",
      "[-1234567890123456, 1, 2.5, 1e3, -0e-9, 1234567890123456.5, 1234567890123456e2, 123456789012345]",
      `{"1234567890123456": "1234567890123456", "a\\\\": ["\\\\\\"1234567890123456", 1234567890123456]}`,
      `{"-0e-9": "-0e-9"}`,
      `"number"`,
    ]
  ) {
    assert.deepEqual(read(text, false), read(text, true), text);
  }
});

Deno.test("what is not JSON stays so", () => {
  for (
    const text of [
      "01234567890123456",
      "[1234567890123456-]",
      "+1234567890123456",
      `"1234567890123456`,
      "1234567890123456 1",
    ]
  ) {
    assert.throws(() => read(text, true), SyntaxError, text);
    assert.throws(() => read(text, false), SyntaxError, text);
  }
});
