/** What a task only hands on for Python goes on as the text it came as. */

import assert from "node:assert/strict";
import { signature } from "../../../lib/canvas/mod.ts";
import type { App } from "../../../lib/app/mod.ts";
import type { EncodedMessage, WireSignature } from "../../../lib/wire/mod.ts";
import { Outbox } from "../../../lib/base/mod.ts";
import { type Frame, FrameReader, FrameWriter } from "../../../lib/pool/link/frame.ts";
import { appendPublish, decodePublish, SentQueues } from "../../../lib/pool/link/slot_message.ts";
import { AmqpReader, writeTable } from "../../../lib/wire/amqp/table.ts";
import { AmqpDecimal, decodeEnvelope, encodeEnvelope, fromTypedJson, toJson } from "../../../lib/wire/mod.ts";
import { MiniWorker, type Sent } from "./mini_worker.ts";
import { encodedMessage, PROPERTIES } from "../../support/messages.ts";

/** Values of Python's that JavaScript would write in another way. */
const VALUES = '[2.0,-0.0,1e+16,12345678901234567890,{"__type__":"decimal","__value__":"2.50"},' +
  '{"__type__":"uuid","__value__":"00000000000000000000000000000007"},' +
  '{"__type__":"datetime","__value__":"2026-01-02T03:04:05.678901"},' +
  '{"__type__":"time","__value__":"01:02:03.000004"},{"__type__":"base64","__value__":"AP8="}]';
const call = (id: string) =>
  `{"task":"py.next","args":[${VALUES}],"kwargs":{"k":${VALUES}},"options":{"task_id":"${id}"},` +
  `"subtask_type":null,"immutable":false}`;

/** The message of a call as Python sends it; `embed` overrides what hangs on it. */
function fromPython(task: string, args: string, embed: Record<string, string> = {}): EncodedMessage {
  const parts = { callbacks: "null", errbacks: "null", chain: "null", chord: "null", ...embed };
  const fields = Object.entries(parts).map(([name, text]) => `"${name}":${text}`);
  return encodedMessage({
    body: new TextEncoder().encode(`[${args},{},{${fields}}]`),
    headers: { task, id: "first", root_id: "first", group: embed["chord"] ? "g" : null, group_index: 0 },
    properties: { ...PROPERTIES, correlationId: "first", replyTo: "" },
  });
}

function define(app: App): void {
  app.task("unit.one", (..._: unknown[]) => 1);
  app.task("unit.fails", (..._: unknown[]) => {
    throw new Error("no");
  });
  app.task("unit.again", { bind: true }, (self, ..._: unknown[]) => {
    throw self.retry({ countdown: 1 });
  });
  app.task("unit.becomes", { bind: true }, (self, other: WireSignature) => {
    self.replace(signature(other));
  });
  app.task("unit.sends", async (other: WireSignature) => {
    await signature(other).applyAsync();
  });
  app.task("unit.twice", (x: number) => x * 2);
  app.task("unit.kinds", (...all: unknown[]) => all.flat().map((one) => (one as object).constructor.name));
}

/** Runs a message; the bodies of what it sent, as text. */
async function sentBy(message: EncodedMessage): Promise<string[]> {
  await using worker = new MiniWorker({}, define);
  await worker.run(message);
  return worker.sent.map(({ outgoing: { message } }) => {
    const { body } = message;
    return typeof body === "string" ? new TextDecoder().decode(Uint8Array.fromBase64(body)) : "";
  });
}

Deno.test("callbacks, errbacks and the steps of a chain are sent as they came", async () => {
  const last = call("last");
  const pad = `"${"x".repeat(5000)}"`;
  for (const args of ["[]", `[${pad}]`]) {
    const messages = [
      fromPython("unit.one", args, { callbacks: `[${call("cb")}]` }),
      fromPython("unit.one", args, { chain: `[${last},${call("next")}]` }),
      fromPython("unit.fails", args, { errbacks: `[${call("eb")}]` }),
    ];
    if (args !== "[]") messages.splice(0, 1);
    for (const message of messages) {
      const [body] = await sentBy(message);
      assert.ok(body!.includes(`${VALUES}],{"k":${VALUES}}`), body);
      if (String(message.headers["task"]) === "unit.one" && body!.includes('"last"')) {
        assert.ok(body!.includes(last), body);
      }
    }
  }
});

Deno.test("a retry has its arguments and all that hangs on it as they came", async () => {
  const chord = call("body");
  const [body] = await sentBy(
    fromPython("unit.again", `[${VALUES},1.0]`, { chord, callbacks: `[${call("cb")}]` }),
  );
  assert.equal(
    body,
    `[[${VALUES},1.0],{},{"callbacks":[${call("cb")}],"errbacks":null,"chain":null,"chord":${chord}}]`,
  );
});

Deno.test("a retry has the sender's own headers as they came, in each pool and on each broker", async () => {
  const plain = fromPython("unit.heads", "[]");
  const route = { exchange: "", routingKey: "celery", deliveryTag: "1" };
  const envelope = encodeEnvelope(plain, route).replace(
    '"headers":{',
    `"headers":{"own":${VALUES},"one":1.0,`,
  );
  const seen: unknown[] = [];
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.heads", { bind: true }, (self) => {
      seen.push(self.request.headers);
      throw self.retry({ countdown: 1 });
    });
  });
  const { message } = decodeEnvelope(envelope, fromTypedJson);
  await worker.run(message, 1, envelope);
  const { own, one } = seen[0] as { own: unknown[]; one: unknown };
  assert.deepEqual([one, own[0], own[6] instanceof Date], [1, 2, true]);
  const [{ outgoing }] = worker.sent as [Sent];
  const writer = new FrameWriter();
  appendPublish(writer, { id: 1, batch: [outgoing], handOn: false }, new SentQueues());
  const frames: Frame[] = [];
  new FrameReader().feed(writer.take(), (frame) => frames.push(frame));
  for (const { message } of [outgoing, decodePublish(frames[0]!).batch[0]!]) {
    const text = encodeEnvelope(message, route);
    assert.ok(text.includes(`"own":${VALUES},"one":1.0`), text);
    const outbox = new Outbox();
    writeTable(outbox, {
      one: message.headers["one"],
      own: (message.headers["own"] as unknown[]).toSpliced(3, 1),
    });
    const table = new AmqpReader(outbox.take(), "rabbitmq", true).table();
    const [two, zero, , decimal, , when] = table["own"] as unknown[];
    assert.equal(toJson([table["one"], two, zero]), "[1.0,2.0,-0.0]");
    assert.ok(decimal instanceof AmqpDecimal && when instanceof Date);
  }
});

Deno.test("a signature among the arguments is sent as it came", async () => {
  for (const task of ["unit.becomes", "unit.sends"]) {
    const [body] = await sentBy(fromPython(task, `[${call("other")}]`, { callbacks: `[${call("cb")}]` }));
    assert.ok(body!.startsWith(`[[${VALUES}],{"k":${VALUES}},`), body);
    if (task === "unit.becomes") assert.ok(body!.includes(`"callbacks":[${call("cb")}]`), body);
  }
});

Deno.test("Celery's own tasks hand on what they are given", async () => {
  await using worker = new MiniWorker({}, define);
  const kept = await worker.run(fromPython("celery.accumulate", VALUES));
  assert.ok(String(kept.document).includes(`"result":${VALUES}`), String(kept.document));
  const map =
    '[{"task":"unit.twice","args":[],"kwargs":{},"options":{},"subtask_type":null,"immutable":false},[2.0,3]]';
  assert.deepEqual(JSON.parse(String((await worker.run(fromPython("celery.map", map))).document))["result"], [
    4,
    6,
  ]);
  const [chunk] = await sentBy(fromPython("celery.chunks", `[${call("c")},[[${VALUES}]],1]`));
  assert.ok(chunk!.includes(`"it":[[${VALUES}]]`), chunk);
});

Deno.test("the task itself reads its arguments as values", async () => {
  await using worker = new MiniWorker({}, define);
  const { document } = await worker.run(fromPython("unit.kinds", `[${VALUES}]`));
  assert.deepEqual(JSON.parse(String(document))["result"], [
    ...["Number", "Number", "Number", "BigInt", "String", "String", "Date", "PlainTime", "Uint8Array"],
  ]);
});

Deno.test("other serializers get the values that carried ones stand for", async () => {
  await using worker = new MiniWorker({ accept_content: ["json", "yaml"] }, define);
  await worker.tracer.open();
  const next = call("cb").replace('"options":{', '"options":{"serializer":"yaml",');
  await worker.run(fromPython("unit.one", "[]", { callbacks: `[${next}]` }));
  const [first] = worker.sent[0]!.args.slice(-1) as [unknown[]];
  assert.deepEqual(first.slice(0, 1), [2]);
  assert.equal(first[4], "2.50");
  assert.ok(first[6] instanceof Date);
});
