import assert from "node:assert/strict";
import { transportOf } from "../../../lib/transport/mod.ts";

Deno.test("transportOf: by scheme; unknown and foreign ones name what is known", () => {
  assert.equal(transportOf("REDIS://h"), "redis");
  assert.equal(transportOf("pyamqp://h"), "amqp");
  assert.equal(transportOf("sqlite://"), "sqlite");
  assert.throws(
    () => transportOf("sqs://:secret@h"),
    /Cannot use broker "sqs:\/\/:\*\*@h": .*"sqs".*memory, sqlite/,
  );
  assert.throws(() => transportOf("constructor://h"), /unknown scheme "constructor"/);
  assert.throws(() => transportOf("reddis://h"), /unknown scheme "reddis"/);
});
