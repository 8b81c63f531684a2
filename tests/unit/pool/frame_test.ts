import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "../../../lib/pool/link/frame.ts";
import { bareOutcome } from "../../../lib/app/mod.ts";
import {
  appendJobs,
  appendOutcome,
  appendPublish,
  decodeJobs,
  decodeOutcome,
  decodePublish,
  SentQueues,
  type SlotPublish,
} from "../../../lib/pool/link/slot_message.ts";
import type { Job } from "../../../lib/pool/mod.ts";
import { type OutgoingMessage, queue } from "../../../lib/transport/mod.ts";
import { encodedMessage, PROPERTIES } from "../../support/messages.ts";

function readAll(pieces: Iterable<Uint8Array>): Frame[] {
  const reader = new FrameReader();
  const frames: Frame[] = [];
  for (const piece of pieces) reader.feed(piece, (frame) => frames.push(frame));
  return frames;
}

function job(seq: number, envelope: string): Job {
  return {
    seq,
    name: "t",
    id: `id-${seq}`,
    envelope,
    queue: "q",
    redelivered: seq % 2 === 0,
    timeLimit: null,
    softTimeLimit: 1.5,
    expectedMs: 1,
  };
}

Deno.test("FrameReader: the same frames at every split, one byte at a time, and at a byte offset", () => {
  const writer = new FrameWriter();
  writer.append(FRAME.log, '["INFO",null]', "ü\u{1f600}");
  writer.append(FRAME.stop, "");
  writer.append(FRAME.state, "[1]", "", new Uint8Array([1, 2, 3]));
  const bytes = writer.take();
  const whole = readAll([bytes]);
  assert.equal(whole.length, 3);
  assert.deepEqual(whole[0], { type: FRAME.log, head: '["INFO",null]', text: "ü\u{1f600}", tail: null });
  assert.deepEqual(whole[2]!.tail, new Uint8Array([1, 2, 3]));
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(readAll([bytes.subarray(0, at), bytes.subarray(at)]), whole, `split at ${at}`);
  }
  assert.deepEqual(readAll([...bytes].map((byte) => new Uint8Array([byte]))), whole);
  const shifted = new Uint8Array(bytes.length + 7);
  shifted.set(bytes, 7);
  assert.deepEqual(readAll([shifted.subarray(7)]), whole);
});

Deno.test("FrameReader: any frames in any pieces", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.string(), fc.uint8Array()), { maxLength: 8 }),
    fc.array(fc.nat(40), { maxLength: 40 }),
    (contents, cuts) => {
      const writer = new FrameWriter();
      for (const [head, text, tail] of contents) writer.append(9, head, text, tail);
      const bytes = writer.take();
      const pieces: Uint8Array[] = [];
      let at = 0;
      for (const cut of cuts) pieces.push(bytes.subarray(at, at = Math.min(bytes.length, at + cut)));
      pieces.push(bytes.subarray(at));
      const decoded = readAll(pieces).map(({ head, text, tail }) => [head, text, tail ?? new Uint8Array()]);
      assert.deepEqual(decoded, contents.map(([head, text, tail]) => [head, text, Uint8Array.from(tail)]));
    },
  ));
});

Deno.test("FrameReader: a length out of range breaks the stream", () => {
  assert.throws(() => readAll([new Uint8Array([1, 0, 0, 0])]), { name: "ProtocolError" });
  assert.throws(() => readAll([new Uint8Array([255, 255, 255, 255, 0])]), { name: "ProtocolError" });
  const wrong = encodeFrame(1, "abc");
  wrong[5] = 200;
  assert.throws(() => readAll([wrong]), { name: "ProtocolError" });
});

Deno.test("jobs: envelopes pass unchanged, whatever they hold", () => {
  const writer = new FrameWriter();
  const envelopes = ["\ufeff{}", '{"a": "\\u00fc"}', "ü\u{1f600}\n[", "", "x".repeat(100_000)];
  appendJobs(writer, 7, envelopes.map((envelope, n) => job(n + 1, envelope)));
  const { frameNumber, jobs } = decodeJobs(
    readAll([writer.take()])[0]!,
    () => assert.fail("nothing is kept"),
  );
  assert.equal(frameNumber, 7);
  assert.deepEqual(jobs.map(({ envelope }) => envelope), envelopes);
  assert.deepEqual(
    jobs.map((
      { seq, queue, redelivered, timeLimit, softTimeLimit },
    ) => [seq, queue, redelivered, timeLimit, softTimeLimit])[1],
    [2, "q", true, null, 1.5],
  );
});

Deno.test("jobs: a message that the slot keeps does not cross to it, those beside it do", () => {
  const message = encodedMessage({
    body: new Uint8Array(100_000),
    bodyEncoding: "base64",
    headers: { task: "t", id: "kept", stamps: { at: new Date(0) } },
    properties: { ...PROPERTIES, correlationId: "c", replyTo: "" },
  });
  const out: OutgoingMessage = { exchange: "", routingKey: "q", message };
  const writer = new FrameWriter();
  const jobs = [job(1, "before"), { ...job(2, "unread"), message }, job(3, "behind")];
  appendJobs(writer, 8, jobs, (one) => one.message === message ? 12 : undefined);
  assert.ok(writer.length < 500, `${writer.length} bytes`);
  const asked: number[] = [];
  const decoded = decodeJobs(readAll([writer.take()])[0]!, (publish) => {
    asked.push(publish);
    return out;
  });
  assert.deepEqual(asked, [12]);
  const [before, kept, behind] = decoded.jobs;
  assert.deepEqual([before!.envelope, behind!.envelope, kept!.seq], ["before", "behind", 2]);
  assert.equal(kept!.message!.body, message.body);
  // As it would have come back: what the wire makes of the headers, nothing shared with the task that sent it.
  assert.deepEqual(kept!.message!.headers, message.headers);
  assert.notEqual(kept!.message!.headers, message.headers);
  assert.notEqual(kept!.message!.headers["stamps"], message.headers["stamps"]);
  assert.deepEqual(kept!.info, { exchange: "", routingKey: "q", redelivered: true });
  assert.equal(JSON.parse(kept!.envelope).headers.id, "kept");
});

Deno.test("outcomes: text, bytes and no document, of a plain success and of others", () => {
  const success = { ...bareOutcome(3, "success", "'ä b' 😀", ""), state: "SUCCESS", runtime: 2.5e-7 };
  const chord = { groupId: "g 1", groupIndex: 10, body: '{"é": 1}', result: '"x y"' };
  const outcomes = [
    success,
    { ...success, summary: "", runtime: 12 },
    { ...success, chord },
    { ...success, chord: { ...chord, groupIndex: null, body: null } },
    {
      ...success,
      chord: { ...chord, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
    },
    { ...success, state: null },
    { ...success, chord, requeue: true },
    {
      ...success,
      kind: "failure" as const,
      state: "FAILURE",
      exception: "E()",
      traceback: "T",
      expected: true,
    },
  ];
  for (const one of outcomes) {
    for (const document of ["täxt", "", new Uint8Array([0, 255]), new Uint8Array(), null]) {
      const writer = new FrameWriter();
      const outcome = { ...one, document };
      appendOutcome(writer, outcome);
      assert.deepEqual(decodeOutcome(readAll([writer.take()])[0]!), { ...outcome, also: null });
    }
  }
});

Deno.test("publish: bodies of text and bytes keep their order", () => {
  const message = (body: string | Uint8Array): OutgoingMessage => ({
    exchange: "e",
    routingKey: "k",
    message: encodedMessage({
      body,
      bodyEncoding: typeof body === "string" ? "base64" : "none",
      headers: { task: "t" },
      properties: { ...PROPERTIES, correlationId: "c", replyTo: "", priority: 3, rest: { a: 1 } },
    }),
  });
  const plain = { queue: null, isMandatory: false };
  const batch = [message("aä"), message(new Uint8Array([1, 2])), message(""), message(new Uint8Array([3]))]
    .map((out) => ({ ...out, ...plain }));
  const writer = new FrameWriter();
  const publish = (publish: SlotPublish, queues: SentQueues) => {
    appendPublish(writer, publish, queues);
    return decodePublish(readAll([writer.take()])[0]!);
  };
  const queues = new SentQueues();
  assert.deepEqual(publish({ id: 5, batch, handOn: true }, queues), { id: 5, batch, handOn: true });
  // A queue goes with the first message that is meant for it.
  const q = queue("q", { queueArguments: { "x-max-priority": 3 } });
  const meant = { ...batch[0]!, queue: q, isMandatory: true };
  const once = publish(
    { id: 6, batch: [meant, meant, { ...meant, routingKey: "other" }], handOn: false },
    queues,
  );
  assert.deepEqual(once.batch.map((out) => out.queue), [q, null, q]);
  assert.deepEqual(once.batch.map((out) => out.isMandatory), [true, true, true]);
  const later = publish({ id: 7, batch: [meant, { ...meant, queue: queue("q") }], handOn: false }, queues);
  assert.deepEqual(later.batch.map((out) => out.queue), [null, queue("q")]);
  assert.deepEqual(publish({ id: 8, batch: [meant], handOn: false }, new SentQueues()).batch[0]!.queue, q);
});
