import assert from "node:assert/strict";
import {
  anonNodename,
  defaultNodename,
  nodeFormat,
  nodesplit,
  UsageError,
  workerDirect,
  workerNodename,
} from "../../../lib/base/mod.ts";

Deno.test("nodesplit: a text without @ is the host", () => {
  assert.deepEqual(nodesplit("w1@a.b"), { name: "w1", host: "a.b" });
  assert.deepEqual(nodesplit("a.b"), { name: null, host: "a.b" });
  assert.deepEqual(nodesplit("w1@a@b"), { name: "w1", host: "a@b" });
});

Deno.test("defaultNodename: as Celery 5.6.3 completes each text", () => {
  const cases: [string | null, string][] = [
    [null, "celery@vm"],
    ["foo", "celery@foo"],
    ["foo@bar", "foo@bar"],
    ["foo@%h", "foo@%h"],
    ["@bar", "celery@bar"],
    ["%n@x", "%n@x"],
  ];
  for (const [text, name] of cases) assert.equal(defaultNodename(text, "vm"), name);
});

Deno.test("workerNodename: expands %h, %n and %d by the host", () => {
  assert.equal(workerNodename("w1@%h", "host.example.org"), "w1@host.example.org");
  assert.equal(workerNodename("w1@%n", "host.example.org"), "w1@host");
  assert.equal(workerNodename("w1@%d", "host.example.org"), "w1@example.org");
  assert.equal(workerNodename("", "host"), "celery@host");
  assert.throws(() => workerNodename("w@%x", "host"), UsageError);
});

Deno.test("nodeFormat: the captures of Celery 5.6.3", () => {
  const cases: [node: string, format: string, result: string][] = [
    ["w1@host.example.com", "%h", "host.example.com"],
    ["w1@host.example.com", "%n", "w1"],
    ["w1@host.example.com", "%d", "example.com"],
    ["w1@host.example.com", "%i", "0"],
    ["w1@host.example.com", "%I", ""],
    ["w1@host.example.com", "%p", "w1@host.example.com"],
    ["w1@host.example.com", "%%", "%"],
    ["w1@host.example.com", "/100%/%%n/%n%", "/100%/%n/w1%"],
    ["w1@host.example.com", "%n%I.log", "w1.log"],
    ["w1@host", "%d", ""],
    ["celery@a.b", "/run/%n.pid", "/run/celery.pid"],
  ];
  for (const [node, format, result] of cases) assert.equal(nodeFormat(format, node), result);
  assert.equal(nodeFormat("%n%I.log", "w1@h", { index: 2 }), "w1-2.log");
  assert.throws(() => nodeFormat("%x", "w1@host"), UsageError);
});

Deno.test("anonNodename and workerDirect", () => {
  assert.equal(anonNodename(17, "vm"), "gen17@vm");
  assert.deepEqual(workerDirect("w1@h"), { queue: "w1@h.dq2", exchange: "C.dq2", routingKey: "w1@h" });
});
