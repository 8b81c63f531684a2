/**
 * Messages that are not runnable tasks: each is logged in one line and kept in the dead letters, and the
 * worker goes on.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { workerMetrics } from "../../../../lib/worker/mod.ts";
import { compress, type EncodedMessage } from "../../../../lib/wire/mod.ts";
import { Rig } from "../rig.ts";
import { encodedMessage, PROPERTIES } from "../../../support/messages.ts";

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
  return encodedMessage({
    body: new TextEncoder().encode(body).toBase64(),
    bodyEncoding: "base64",
    headers: HEADERS,
    properties: { ...PROPERTIES, correlationId: "an-id", replyTo: "" },
    ...rest,
  });
}

async function publish(rig: Rig, ...batch: EncodedMessage[]): Promise<void> {
  await rig.broker.publish(batch.map((one) => ({ exchange: "", routingKey: "celery", message: one })));
  await rig.settle();
}

/**
 * Publishes a message, and checks that it is logged in one line and settled, and that the next good task
 * runs.
 */
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
  assert.equal(rig.unsettled, 0);
  assert.equal(await rig.waiting(), 0);
  assert.equal(rig.pool.submitted.length, 0);
  const id = await rig.send();
  assert.equal(await rig.state(id), "SUCCESS");
  return rig;
}

Deno.test("refusals: an unknown task is logged, and its result is FAILURE NotRegistered", async () => {
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

Deno.test("refusals: an unknown task is counted as failed, as its event says", async () => {
  await using rig = await Rig.start({ options: { isCounted: true } });
  await publish(rig, message({ headers: { ...HEADERS, task: "bars.nowhere" } }));
  const counted = [...rig.worker.metrics!.all()].map((
    series,
  ) => [series.name, series.hostname, series.queue]);
  assert.deepEqual(counted, [["bars.nowhere", "example", "celery"]]);
  const labels = 'name="bars.nowhere",hostname="example",exception="NotRegistered",queue_name="celery"';
  assert.ok(workerMetrics(rig.worker).includes(`celery_task_failed_total{${labels}} 1`));
});

Deno.test("refusals: an unknown task of protocol 1 fails under the id in its body", async () => {
  for (const correlationId of [null, "other"]) {
    const text = `{"task": "bars.nowhere", "id": "old-id", "args": [1], "kwargs": {}}`;
    const old = message({ text, headers: {} });
    await using rig = await refused(
      { ...old, properties: { ...old.properties, correlationId } },
      "ERROR",
      /^Received unregistered task of type 'bars\.nowhere'\./,
    );
    const backend = await rig.app.openBackend();
    assert.equal((await backend.fetch("old-id"))?.state, "FAILURE");
    assert.equal(await backend.fetch("other"), null);
  }
});

Deno.test("refusals: a task with ill-typed headers ends as FAILURE", async () => {
  for (const bad of [{ eta: "tomorrow" }, { expires: "+275760-09-13T00:00:00" }, { timelimit: [-1, null] }]) {
    await using rig = await refused(
      message({ headers: { ...HEADERS, ...bad } }),
      "ERROR",
      /^Received invalid task message: /,
    );
    const meta = await (await rig.app.openBackend()).fetch("an-id");
    assert.equal(meta?.state, "FAILURE");
    assert.equal((meta?.result as { excType: string }).excType, "InvalidTaskError");
  }
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

Deno.test("refusals: bodies that are not a task's", async () => {
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

Deno.test("refusals: a body that the main isolate reads is unpacked to 64 MiB at most", async () => {
  const bomb = compress(new Uint8Array(64 * 1024 * 1024 + 1).fill(0x20), "gzip");
  await using _rig = await refused(
    message({ body: bomb.body.toBase64(), headers: { compression: bomb.type } }),
    "CRITICAL",
    /^Can't decode message body: .*more than 67108864 bytes unpacked/,
  );
});

Deno.test("refusals: a message that names no task anywhere", async () => {
  await using _rig = await refused(
    message({ headers: {}, text: "[1, 2]" }),
    "WARNING",
    /^Received and deleted unknown message\. {2}Wrong destination\?!\?/,
  );
});

Deno.test("refusals: an invalid eta", async () => {
  await using _rig = await refused(
    message({ headers: { ...HEADERS, eta: "the day after tomorrow" } }),
    "ERROR",
    /^Received invalid task message: invalid eta value 'the day after tomorrow'/,
  );
});

Deno.test("refusals: protocol 1 is not refused", async () => {
  await using rig = await Rig.start();
  const text = `{"task": "bars.add", "id": "old", "args": [1, 1], "kwargs": {}, "retries": 0, "utc": true}`;
  await publish(rig, message({ headers: {}, text }));
  assert.deepEqual(rig.pool.submitted.map((job) => [job.name, job.id]), [["bars.add", "old"]]);
});

Deno.test("refusals: a body with spaces at its ends is not refused", async () => {
  await using rig = await Rig.start();
  await publish(rig, message({ text: ` [[1, 1], {}, {"callbacks": null}] \n` }));
  assert.equal(rig.pool.submitted.length, 1);
});

Deno.test("refusals: headers with values that JSON cannot carry are shown, and the worker goes on", async () => {
  const odd = {
    trace: 2n ** 63n + 5n,
    at: new Date(0),
    raw: new Uint8Array([0, 255]),
    deep: [[[2n ** 70n]]],
  };
  const headers = { ...HEADERS, ...odd };
  await using unknown = await refused(
    message({ headers: { ...headers, task: "bars.nowhere" } }),
    "ERROR",
    /"trace":9223372036854775813,"at":"1970-01-01T00:00:00.000Z"/,
  );
  assert.equal((await (await unknown.app.openBackend()).fetch("an-id"))?.state, "FAILURE");
  await using _stranger = await refused(
    message({ headers: odd, text: '"no task"' }),
    "WARNING",
    /headers=\{"trace":9223372036854775813/,
  );
  await using _refusedType = await refused(
    message({ headers, contentType: "application/x-yaml" }),
    "CRITICAL",
    /"trace":9223372036854775813/,
  );
});

Deno.test("refusals: an error caused by a message ends only that message", async () => {
  await using rig = await Rig.start();
  const { signals } = rig.worker.parts;
  const deadLetters: [unknown, string][] = [];
  const restore = rig.replace({
    deadLetter: (tag, reason) => {
      deadLetters.push([tag, reason]);
      return true;
    },
  });
  const fail = (): never => {
    throw new RangeError("Maximum call stack size exceeded");
  };
  const deliver = (tag: number, headers: Record<string, unknown>): void =>
    rig.deliver(message({ headers }), { tag });
  // Thrown before there is a request, by a reader that expects no error …
  deliver(1, Object.defineProperty({ ...HEADERS }, "task", { get: fail, enumerable: true }));
  // … after the message was refused and settled …
  signals.taskUnknown = fail;
  deliver(2, { ...HEADERS, task: "bars.nowhere" });
  // … and when the request is admitted.
  signals.taskReceived = fail;
  deliver(3, HEADERS);
  assert.deepEqual(deadLetters, [
    [1, "Cannot read message: Maximum call stack size exceeded"],
    [2, "Unregistered task of type 'bars.nowhere'"],
    [3, "Cannot read message: Maximum call stack size exceeded"],
  ]);
  assert.equal(rig.unsettled, 0);
  assert.equal(rig.pool.submitted.length, 0);
  signals.taskReceived = null;
  restore();
  assert.equal(await rig.state(await rig.send()), "SUCCESS");
});

Deno.test("refusals: a message that kills its worker when read becomes a dead letter, unread, after too many deaths", async () => {
  await using rig = await Rig.start({ settings: { task_max_attempts: 3 } });
  const deadLetters: [unknown, string][] = [];
  let isFlushed = false;
  const restore = rig.replace({
    deadLetter: (tag, reason) => {
      deadLetters.push([tag, reason]);
      return true;
    },
    ack() {},
    flush() {
      isFlushed = true;
      return Promise.resolve();
    },
    wake() {},
    setPrefetch() {},
  });
  let reads = 0;
  const deliver = (attempts: number, given: Partial<EncodedMessage> = {}): void => {
    const one = message(given);
    const body = one.body;
    Object.defineProperty(one, "body", {
      get: () => {
        reads++;
        assert.ok(deadLetters.length === 0 || isFlushed, "it is read again only once it is safe");
        return body;
      },
    });
    rig.deliver(one, { tag: attempts, attempts });
  };
  deliver(2);
  assert.equal(rig.pool.submitted.length, 1);
  reads = 0;
  deliver(3, { headers: { ...HEADERS, id: "worn-id" } });
  assert.equal(reads, 0);
  assert.deepEqual(deadLetters, [[3, "Worker exited prematurely 3 times with bars.add[worn-id]"]]);
  assert.equal(rig.pool.submitted.length, 1);
  await rig.settle();
  const meta = await (await rig.app.openBackend()).fetch("worn-id");
  assert.equal((meta?.result as { excType: string }).excType, "WorkerLostError");
  restore();
});

Deno.test("refusals: with task_max_attempts 1, one death is not enough for a message that was only held", async () => {
  await using rig = await Rig.start({ settings: { task_max_attempts: 1 } });
  const deliver = (attempts: number): void => {
    rig.deliver(message({ headers: { ...HEADERS, id: `id-${attempts}` } }), { tag: attempts, attempts });
  };
  const restore = rig.replace({ ack() {}, wake() {}, setPrefetch() {} });
  deliver(1);
  assert.equal(rig.pool.submitted.length, 1);
  restore();
});

Deno.test("refusals: any headers and body are run or settled, and the worker goes on", async () => {
  await using rig = await Rig.start();
  let settled = 0;
  const settle = (): boolean => ++settled > 0;
  const restore = rig.replace({
    ack: settle,
    reject: settle,
    deadLetter: settle,
    park: settle,
    wake() {},
    setPrefetch() {},
  });
  const value = fc.anything({ withBigInt: true, withDate: true, maxDepth: 3 });
  const names = fc.constantFrom(
    ...Object.keys(HEADERS),
    "eta",
    "expires",
    "timelimit",
    "stamps",
    "compression",
    "x",
  );
  const headers = fc.dictionary(names, value).chain((odd) =>
    fc.constantFrom<Record<string, unknown>>(odd, { ...HEADERS, ...odd }, { ...odd, ...HEADERS })
  );
  const body = fc.oneof(
    fc.json().map((text) => new TextEncoder().encode(text)),
    fc.uint8Array({ maxLength: 50 }),
    fc.constant(new TextEncoder().encode("[[1, 1], {}, {}]")),
  );
  const type = fc.constantFrom("application/json", "application/x-yaml", "application/data", "");
  let count = 0;
  fc.assert(
    fc.property(headers, body, type, (given, bytes, contentType) => {
      const one = { ...message({ headers: given }), body: bytes, bodyEncoding: "none" as const, contentType };
      rig.deliver(one, { tag: ++count });
    }),
    { numRuns: 500 },
  );
  await rig.settle();
  assert.equal(settled, count);
  assert.equal(rig.unsettled, 0);
  restore();
  assert.equal(await rig.state(await rig.send()), "SUCCESS");
});
