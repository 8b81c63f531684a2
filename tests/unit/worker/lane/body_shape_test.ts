import assert from "node:assert/strict";
import { mayBeTaskBody } from "../../../../lib/worker/lane/body_shape.ts";
import { encodedMessage } from "../../../support/messages.ts";

const message = (body: string | Uint8Array, bodyEncoding: "base64" | "none") =>
  encodedMessage({ body, bodyEncoding });

const BODIES = [
  `[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`,
  `[[1], {}, {"callbacks": null}]`,
  `[[1, 2], {}, {"chord": nul}]`.replace("nul}", "null}"),
  `[[""], {}, null]`,
  `[["ž"],{"a":1},{}]`,
  `[[[1]],{},{}]`,
  `[[{"a":1}],{},{}]`,
  `[[-1],{},{}]`,
  `[[true],{},{}]`,
];
const OTHERS = [`{"a": 1}`, `[[1, 2], {}`, `[`, ``, `42`, `"text"`, `[1, 2]`, `[[1], {}, {}`];

Deno.test("mayBeTaskBody: passes every task body, in each of its three encodings", () => {
  for (const body of BODIES) {
    const bytes = new TextEncoder().encode(body);
    assert.ok(mayBeTaskBody(message(bytes, "none"), false), body);
    assert.ok(mayBeTaskBody(message(body, "none"), false), body);
    assert.ok(mayBeTaskBody(message(bytes.toBase64(), "base64"), false), body);
  }
});

Deno.test("mayBeTaskBody: stops bodies that are no task's", () => {
  for (const body of OTHERS) {
    const bytes = new TextEncoder().encode(body);
    assert.ok(!mayBeTaskBody(message(bytes, "none"), false), body);
    assert.ok(!mayBeTaskBody(message(bytes.toBase64(), "base64"), false), body);
  }
  assert.ok(!mayBeTaskBody(message("%%%not base64%%%", "base64"), false));
});

Deno.test("mayBeTaskBody: leaves other serializers and compressed bodies alone", () => {
  assert.ok(mayBeTaskBody(message("eJx", "base64"), true));
  assert.ok(mayBeTaskBody({ ...message("k5E", "base64"), contentType: "application/x-msgpack" }, false));
});
