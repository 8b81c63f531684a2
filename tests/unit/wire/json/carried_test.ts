/** Values that are carried on for Python: written again, they are what they came as. */

import assert from "node:assert/strict";
import {
  CarriedTwins,
  fromCarriedJson,
  fromCarriedJsonList,
  fromJson,
  mayHoldFloats,
  revived,
  toJson,
} from "../../../../lib/wire/mod.ts";

/** What Python writes that JavaScript would write in another way, if it had read it. */
const TEXTS = [
  "2.0",
  "-0.0",
  "1e+16",
  "1E5",
  "-1.50e3",
  "12345678901234567890",
  "0.1",
  '{"__type__":"decimal","__value__":"2.50"}',
  '{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000007"}}',
  '{"__type__":"datetime","__value__":"2026-01-02T03:04:05.678901"}',
  '{"__type__":"datetime","__value__":"2026-01-02T03:04:05.678901+05:30"}',
  '{"__type__":"time","__value__":"01:02:03.000004"}',
  '{"__type__":"bytes","__value__":"raw"}',
  '{"__type__":"base64","__value__":"AP8="}',
  '{"__type__":"its own","__value__":[1.0]}',
  '{"__type__":"decimal"}',
  '[{"a":[1.0,{"b":-3.0}],"2.0":"1e5"}]',
  "NaN",
  "-Infinity",
];

Deno.test("what is carried is written as it came", () => {
  for (const text of [...TEXTS, `[${TEXTS.join(",")}]`]) assert.equal(toJson(fromCarriedJson(text)), text);
  assert.equal(toJson(fromCarriedJsonList(TEXTS)), `[${TEXTS.join(",")}]`);
});

Deno.test("revived: as fromJson reads it, and itself where nothing is carried", () => {
  for (const text of TEXTS.filter((one) => !one.includes("its own"))) {
    assert.deepEqual(revived(fromCarriedJson(text)), fromJson(text), text);
  }
  const plain = { a: [1, "x", { b: null }] };
  assert.equal(revived(plain), plain);
  const date = new Date(0);
  assert.equal(revived(date), date);
  const nested = fromCarriedJson('{"same":{"x":1},"other":[2.0]}') as Record<string, unknown>;
  const read = revived(nested) as Record<string, unknown>;
  assert.deepEqual(read, { same: { x: 1 }, other: [2] });
  assert.equal(read["same"], nested["same"]);
  assert.throws(
    () => revived(fromCarriedJson('{"__type__":"its own","__value__":1}')),
    /unsupported type "its own"/,
  );
  assert.ok(Object.hasOwn(revived(fromCarriedJson('{"__proto__":2.0}')) as object, "__proto__"));
});

Deno.test("mayHoldFloats: finds each number whose form would be lost", () => {
  for (const number of ["2.0", "-2.00", "1e5", "1E+16", "-1.5e3", "-0.0"]) {
    for (const text of [`[${number}]`, `{"a": ${number}}`, `[1,${number},2]`, `[1, ${number}]`, number]) {
      assert.ok(mayHoldFloats(text), text);
    }
  }
  for (const text of ["[1,2.5,-3,10.25]", '{"id":"3e5-0.0"}', "[true,null]", '["1.0"]']) {
    assert.ok(!mayHoldFloats(text), text);
  }
});

Deno.test("CarriedTwins: what is handed on unchanged is as it came, what was changed is not", () => {
  const text = '[{"task":"t","args":[2.0,{"__type__":"decimal","__value__":"2.50"},' +
    '{"__type__":"datetime","__value__":"2026-01-02T03:04:05.678901"}],"kwargs":{"b":{"__type__":"bytes","__value__":"x"}}}]';
  const twins = new CarriedTwins();
  const value = fromJson(text) as { args: unknown[]; kwargs: Record<string, unknown> }[];
  twins.add(value, fromCarriedJson(text));
  assert.equal(toJson(twins.restored(value)), text);
  assert.equal(toJson(twins.restored({ around: value[0] })), `{"around":${text.slice(1, -1)}}`);
  value[0]!.args[0] = 3;
  value[0]!.args[1] = "9";
  (value[0]!.args[2] as Date).setTime(0);
  value[0]!.kwargs["more"] = 1;
  assert.deepEqual(twins.restored(value[0]!.args), [3, "9", new Date(0)]);
  assert.equal(
    toJson(twins.restored(value[0]!.kwargs)),
    '{"b":{"__type__":"bytes","__value__":"x"},"more":1}',
  );
  const own = { args: [2] };
  assert.equal(twins.restored(own), own);
});
