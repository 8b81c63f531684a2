import assert from "node:assert/strict";
import { Signal } from "../../../lib/app/call/signals.ts";
import { RecordingLog } from "../../support/fake_world.ts";
import { FakeClock } from "../../support/fake_world.ts";

Deno.test("Signal: receivers hear in order, a same one once, and see one another's changes", () => {
  const signal = new Signal<{ list: number[]; n: number }>("s");
  const heard: unknown[] = [];
  const first = signal.connect((event) => {
    event.list.push(1);
    event.n = 7;
  });
  signal.connect(first);
  signal.connect(({ list, n, sender }) => heard.push([...list], n, sender));
  const fields = { list: [], n: 0 };
  signal.send("me", fields);
  assert.deepEqual(heard, [[1], 7, "me"]);
  assert.equal(fields.n, 7);
  assert.ok(signal.hasReceivers);
  assert.ok(signal.disconnect(first));
  assert.ok(!signal.disconnect(first));
});

Deno.test("Signal: a sender narrows, by itself or by name", () => {
  const signal = new Signal<Record<string, unknown>>("s");
  const task = { name: "t.add" };
  const heard: string[] = [];
  signal.connect(() => heard.push("by name"), { sender: "t.add" });
  signal.connect(() => heard.push("by task"), { sender: task });
  signal.send(task, {});
  signal.send("t.add", {});
  signal.send({ name: "t.other" }, {});
  assert.deepEqual(heard, ["by name", "by task", "by name", "by task"]);
});

Deno.test("Signal: dispatchUid replaces and disconnects", () => {
  const signal = new Signal<Record<string, unknown>>("s");
  const heard: number[] = [];
  signal.connect(() => heard.push(1), { dispatchUid: "x" });
  signal.connect(() => heard.push(2), { dispatchUid: "x" });
  signal.send(null, {});
  assert.deepEqual(heard, [2]);
  assert.ok(signal.disconnect(null, { dispatchUid: "x" }));
  assert.ok(!signal.hasReceivers);
});

Deno.test("Signal: what receivers throw is logged and stops nobody", async () => {
  const log = new RecordingLog(new FakeClock());
  const signal = new Signal<Record<string, unknown>>("taskPrerun");
  const heard: string[] = [];
  signal.connect(function bad() {
    throw new Error("boom");
  });
  signal.connect(async () => {
    await Promise.resolve();
    throw new Error("later");
  });
  signal.connect(() => heard.push("good"));
  await signal.sendAndWait(null, {}, log);
  assert.deepEqual(heard, ["good"]);
  const lines = log.records.map((record) => `${record.level} ${record.message}`);
  assert.equal(lines.length, 2);
  assert.match(lines[0]!, /^ERROR Signal handler bad of taskPrerun raised: Error: boom/);
  assert.match(lines[1]!, /later/);
});
