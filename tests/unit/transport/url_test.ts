import assert from "node:assert/strict";
import { parseBrokerUrl, transportOf } from "../../../lib/transport/mod.ts";

const parts = (url: string) => {
  const { scheme, host, port, user, password, path } = parseBrokerUrl(url);
  return [scheme, host, port, user, password, path];
};

Deno.test("parseBrokerUrl: what people write", () => {
  assert.deepEqual(parts("redis://localhost:6379/0"), ["redis", "localhost", 6379, null, null, "0"]);
  assert.deepEqual(parts("rediss://:pw@h/1"), ["rediss", "h", null, null, "pw", "1"]);
  assert.deepEqual(parts("redis"), ["redis", null, null, null, null, null]);
  assert.deepEqual(parts("memory://"), ["memory", null, null, null, null, null]);
  assert.deepEqual(parts("amqp://u:p@h:5672//"), ["amqp", "h", 5672, "u", "p", "/"]);
  assert.deepEqual(parts("amqp://h/%2Fv"), ["amqp", "h", null, null, null, "/v"]);
  assert.deepEqual(parts("amqp://us%40er:p%2Fw%25@h"), ["amqp", "h", null, "us@er", "p/w%", null]);
  assert.deepEqual(parts("redis://u:p@ss@h/2"), ["redis", "h", null, "u", "p@ss", "2"]);
  assert.deepEqual(parts("redis://:100%@h/2"), ["redis", "h", null, null, "100%", "2"]);
  assert.deepEqual(parts("redis://[::1]:7/3"), ["redis", "::1", 7, null, null, "3"]);
  assert.deepEqual(parts("redis+socket:///run/r.sock?virtual_host=2"), [
    "redis+socket",
    null,
    null,
    null,
    null,
    "run/r.sock",
  ]);
  assert.equal(parseBrokerUrl("redis+socket:///run/r.sock?virtual_host=2").query["virtual_host"], "2");
  assert.deepEqual(parseBrokerUrl("sentinel://a:1,b:2,c/0").hosts, [
    { host: "a", port: 1 },
    { host: "b", port: 2 },
    { host: "c", port: null },
  ]);
});

Deno.test("parseBrokerUrl: what is none is told in one line, without the password", () => {
  for (
    const url of ["", "//h/0", "redis://:secret@h:99999/0", "redis://:secret@h:x/0", "redis://:secret@[::1/0"]
  ) {
    assert.throws(() => parseBrokerUrl(url), (error: Error) => {
      assert.equal(error.name, "UsageError");
      assert.ok(!error.message.includes("secret") && !error.message.includes("\n"), error.message);
      return true;
    }, url);
  }
});

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
