import assert from "node:assert/strict";
import { parseServerUrl } from "../../../lib/base/mod.ts";

const parts = (url: string) => {
  const { scheme, host, port, user, password, path } = parseServerUrl(url, "broker URL");
  return [scheme, host, port, user, password, path];
};

Deno.test("parseServerUrl: what people write", () => {
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
  assert.equal(
    parseServerUrl("redis+socket:///run/r.sock?virtual_host=2", "broker URL").query["virtual_host"],
    "2",
  );
  assert.deepEqual(parseServerUrl("sentinel://a:1,b:2,c/0", "broker URL").hosts, [
    { host: "a", port: 1 },
    { host: "b", port: 2 },
    { host: "c", port: null },
  ]);
});

Deno.test("parseServerUrl: escapes, blanks and line ends as Python reads them", () => {
  assert.deepEqual(parts("redis://:50%off%40home@h/2"), ["redis", "h", null, null, "50%off@home", "2"]);
  assert.deepEqual(parts("amqp://us%er:%zz%C3%A9%@h/v%"), ["amqp", "h", null, "us%er", "%zzé%", "v%"]);
  assert.deepEqual(parts("amqp://u:%FFx%C3@h"), ["amqp", "h", null, "u", "\ufffdx\ufffd", null]);
  assert.deepEqual(parts("redis://:p%25%34%30@h"), ["redis", "h", null, null, "p%40", null]);
  for (const url of ["redis://:pw@h:6379/1\n", "\n redis://:pw@h:6379/1 \r\n", "redis://:p\nw@h:63\t79/1"]) {
    assert.deepEqual(parts(url), ["redis", "h", 6379, null, "pw", "1"]);
  }
  assert.deepEqual(parts("redis://h:6379\n"), ["redis", "h", 6379, null, null, null]);
});

Deno.test("parseServerUrl: what is none is told in one line, without the password", () => {
  for (
    const url of ["", "//h/0", "redis://:secret@h:99999/0", "redis://:secret@h:x/0", "redis://:secret@[::1/0"]
  ) {
    assert.throws(() => parseServerUrl(url, "broker URL"), (error: Error) => {
      assert.equal(error.name, "UsageError");
      assert.ok(!error.message.includes("secret") && !error.message.includes("\n"), error.message);
      return true;
    }, url);
  }
});
