import assert from "node:assert/strict";
import { decodeTaskHeaders, isTruthy } from "../../../lib/wire/mod.ts";
import { encodedMessage } from "../../support/messages.ts";

Deno.test("isTruthy is Python's truth", () => {
  for (const yes of [true, 1, -1, NaN, 2n, "yes", "0", [0], { a: 0 }, new Date(0), new Uint8Array(1)]) {
    assert.equal(isTruthy(yes), true, String(yes));
  }
  for (const no of [false, 0, -0, 0n, "", null, undefined, [], {}, new Uint8Array()]) {
    assert.equal(isTruthy(no), false, String(no));
  }
});

Deno.test("a header that is 1 is true", () => {
  const message = encodedMessage({ headers: { task: "t", id: "i", ignore_result: 1 } });
  assert.equal(decodeTaskHeaders(message)?.ignoreResult, true);
});
