/** Messages that are no runnable tasks: one clear line each, kept in the dead letters, and the worker goes on. */

import assert from "node:assert/strict";
import type { EncodedMessage } from "../../../lib/wire/mod.ts";
import { Rig } from "./rig.ts";

const HEADERS = {
  lang: "py",
  task: "bars.add",
  id: "an-id",
  retries: 0,
  argsrepr: "(1, 1)",
  kwargsrepr: "{}",
};

function message(given: Partial<EncodedMessage> & { text?: string } = {}): EncodedMessage {
  const { text, ...rest } = given;
  const body = text ?? `[[1, 1], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`;
  return {
    body: new TextEncoder().encode(body).toBase64(),
    bodyEncoding: "base64",
    contentType: "application/json",
    contentEncoding: "utf-8",
    headers: HEADERS,
    properties: {
      correlationId: "an-id",
      replyTo: "",
      deliveryMode: 2,
      priority: 0,
      expiration: null,
      rest: null,
    },
    ...rest,
  };
}

async function publish(rig: Rig, ...batch: EncodedMessage[]): Promise<void> {
  await rig.broker.publish(batch.map((one) => ({ exchange: "", routingKey: "celery", message: one })));
  await rig.settle();
}

/** Publishes one, checks that it is told in one line and settled, and that the next good task runs. */
async function refused(
  bad: EncodedMessage,
  level: "WARNING" | "ERROR" | "CRITICAL",
  line: RegExp,
): Promise<Rig> {
  const rig = await Rig.start();
  await publish(rig, bad);
  const told = rig.world.log.records.filter((record) =>
    ["WARNING", "ERROR", "CRITICAL"].includes(record.level)
  );
  assert.equal(told.length, 1, told.map((record) => record.message).join("\n"));
  assert.equal(told[0]!.level, level);
  assert.match(told[0]!.message, line);
  assert.doesNotMatch(told[0]!.message, /\.ts:\d+/);
  assert.equal(rig.worker.parts.state.unsettled, 0);
  assert.equal(await rig.waiting(), 0);
  assert.equal(rig.pool.submitted.length, 0);
  const id = await rig.send();
  assert.equal(await rig.state(id), "SUCCESS");
  return rig;
}

Deno.test("refusals: an unknown task is told, and its result is FAILURE NotRegistered", async () => {
  await using rig = await refused(
    message({ headers: { ...HEADERS, task: "bars.nowhere" } }),
    "ERROR",
    /^Received unregistered task of type 'bars\.nowhere'\./,
  );
  const meta = await (await rig.app.openBackend()).fetch("an-id");
  assert.equal(meta?.state, "FAILURE");
  assert.deepEqual(meta?.result, {
    excType: "NotRegistered",
    excModule: "celery.exceptions",
    args: ["bars.nowhere"],
  });
});

Deno.test("refusals: a content type that is not accepted", async () => {
  for (const contentType of ["application/x-unheard-of", "application/x-python-serialize"]) {
    await using _rig = await refused(
      message({ contentType }),
      "CRITICAL",
      /^Can't decode message body: Refusing to deserialize disallowed content of type application\/x-/,
    );
  }
});

Deno.test("refusals: bodies that are no task's", async () => {
  await using _object = await refused(
    message({ text: `{"a": 1}` }),
    "ERROR",
    /^Received invalid task message: /,
  );
  await using _cut = await refused(
    message({ text: `[[1, 2], {}` }),
    "CRITICAL",
    /^Can't decode message body: /,
  );
  await using _wrong = await refused(
    message({ body: "%%%not base64%%%" }),
    "CRITICAL",
    /^Can't decode message body: /,
  );
});

Deno.test("refusals: a message that names no task anywhere", async () => {
  await using _rig = await refused(
    message({ headers: {}, text: "[1, 2]" }),
    "WARNING",
    /^Received and deleted unknown message\. {2}Wrong destination\?!\?/,
  );
});

Deno.test("refusals: an eta that is none", async () => {
  await using _rig = await refused(
    message({ headers: { ...HEADERS, eta: "the day after tomorrow" } }),
    "ERROR",
    /^Received invalid task message: invalid eta value 'the day after tomorrow'/,
  );
});

Deno.test("refusals: protocol 1 is no refusal", async () => {
  await using rig = await Rig.start();
  const text = `{"task": "bars.add", "id": "old", "args": [1, 1], "kwargs": {}, "retries": 0, "utc": true}`;
  await publish(rig, message({ headers: {}, text }));
  assert.deepEqual(rig.pool.submitted.map((job) => [job.name, job.id]), [["bars.add", "old"]]);
});

Deno.test("refusals: a body with spaces at its ends is no refusal", async () => {
  await using rig = await Rig.start();
  await publish(rig, message({ text: ` [[1, 1], {}, {"callbacks": null}] \n` }));
  assert.equal(rig.pool.submitted.length, 1);
});
