// Goal: a chain that is passed on unread is the chain that reading it would have passed on.
// Method: bodies of any content, in Python's way of writing and in ours, beside the whole read as JSON.
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  ChainSteps,
  decodeTaskBody,
  type EncodedMessage,
  encodeTaskMessage,
  findChain,
  fromJson,
  revived,
  type TaskToSend,
  type WireSignature,
} from "../../../../lib/wire/mod.ts";

const JSON_ONLY = new Set(["application/json"]);
const ENCODING = { serializer: "json", compression: null, protocol: 2, bodyEncoding: "base64" } as const;
const BYTES = new TextEncoder(), TEXT = new TextDecoder();

/** JSON with Python's blanks, ASCII alone where asked for. */
function pythonJson(value: unknown, isAscii: boolean): string {
  const json = (one: unknown): string => {
    if (Array.isArray(one)) return `[${one.map(json).join(", ")}]`;
    if (typeof one === "object" && one !== null) {
      return `{${Object.entries(one).map(([key, item]) => `${json(key)}: ${json(item)}`).join(", ")}}`;
    }
    return JSON.stringify(one);
  };
  const text = json(value);
  return isAscii
    ? text.replace(/[^\0-\x7f]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"))
    : text;
}

const anyValue = fc.jsonValue({ maxDepth: 3, noUnicodeString: false } as fc.JsonSharedConstraints);
const anySignature = fc.record({
  task: fc.string(),
  args: fc.array(anyValue, { maxLength: 3 }),
  kwargs: fc.dictionary(fc.string(), anyValue, { maxKeys: 2, noNullPrototype: true }),
  options: fc.record({ task_id: fc.uuid() }),
  subtask_type: fc.constant(null),
  immutable: fc.boolean(),
});
const anyBody = fc.tuple(
  fc.array(anyValue, { maxLength: 3 }),
  fc.dictionary(fc.string(), anyValue, { maxKeys: 2, noNullPrototype: true }),
  fc.record({
    callbacks: fc.option(fc.array(anySignature, { minLength: 1, maxLength: 2 })),
    errbacks: fc.option(fc.array(anySignature, { minLength: 1, maxLength: 2 })),
    chain: fc.array(anySignature, { minLength: 1, maxLength: 6 }),
    chord: fc.option(anySignature),
  }),
);
const anyWriting = fc.constantFrom(
  (value: unknown) => pythonJson(value, true),
  (value: unknown) => pythonJson(value, false),
  (value: unknown) => JSON.stringify(value),
);

const TASK: TaskToSend = {
  task: "t",
  id: "i",
  args: [1],
  kwargs: {},
  origin: null,
  replyTo: "",
  priority: 0,
  deliveryMode: 2,
};

/** A task's message with another body. */
function message(json: string): EncodedMessage {
  return { ...encodeTaskMessage(TASK, ENCODING), body: BYTES.encode(json) };
}

type Body = [unknown[], Record<string, unknown>, { chain: WireSignature[] }];

/** Steps taken off one by one. */
function oneByOne(chain: ChainSteps | null): WireSignature[] {
  const steps = [];
  for (let left = chain; left !== null; left = left.later) steps.push(left.next);
  return steps;
}

Deno.test("chain: found by its borders alone, taken off step by step and read whole as JSON reads it", () => {
  fc.assert(fc.property(anyBody, anyWriting, (body, write) => {
    const json = BYTES.encode(write(body));
    const place = findChain(json);
    assert.notEqual(place, null);
    const inside = json.subarray(place!.start, place!.end);
    const parsed = (fromJson(write(body)) as Body)[2].chain;
    assert.deepEqual(fromJson(`[${TEXT.decode(inside)}]`), parsed);
    assert.deepEqual(revived(oneByOne(ChainSteps.ofBytes(inside))), parsed.toReversed());
    assert.deepEqual(revived(ChainSteps.ofBytes(inside).all()), parsed);
    assert.deepEqual(fromJson(textOf(ChainSteps.ofBytes(inside).within("[", "]"))), parsed);
  }));
});

Deno.test("chain: the next message of a long one holds what Celery would have put there", () => {
  fc.assert(
    fc.property(anyBody, anyWriting, (body, write) => {
      // Long, so that it is not taken apart.
      body[1]["padding"] = "x".repeat(5000);
      const { embed, args, kwargs } = decodeTaskBody(message(write(body)), JSON_ONLY);
      const [plainArgs, plainKwargs, plainEmbed] = fromJson(write(body)) as Body;
      assert.deepEqual([args, kwargs], [plainArgs, plainKwargs]);
      assert.deepEqual(revived({ ...embed, chain: embed.chain!.all() }), plainEmbed);
      const task = { ...TASK, embed: { chain: embed.chain!.later } };
      const next = decodeTaskBody(encodeTaskMessage(task, ENCODING), JSON_ONLY);
      const later = plainEmbed.chain.slice(0, -1);
      assert.deepEqual(revived(next.embed.chain?.all() ?? []), later);
      assert.deepEqual([next.args, next.embed.chord, next.embed.callbacks], [[1], null, null]);
    }),
    { numRuns: 50 },
  );
});

Deno.test("chain: what is no list of signatures is refused before the task runs", () => {
  const padding = "x".repeat(5000);
  const body = (chain: string) =>
    `[["${padding}"], {}, {"callbacks": null, "errbacks": null, "chain": ${chain}, "chord": null}]`;
  const decode = (chain: string) => () => decodeTaskBody(message(body(chain)), JSON_ONLY);
  assert.throws(decode('[{"task": "a"}, {"no": "task"}]'), { name: "InvalidTaskError" });
  assert.throws(decode('[{"task": "a"}, 7]'), { name: "InvalidTaskError" });
  assert.throws(decode('[{"task": "a"}, {"task": "b"]'), { name: "InvalidTaskError" });
  assert.throws(decode('[{"task": "a"}, {"task": b}]'), { name: "DecodeError" });
  assert.throws(() => decode('[{"task": "a"} {"task": "b"}]')().embed.chain!.later, { name: "DecodeError" });
  assert.equal(decode("[]")().embed.chain, null);
  assert.equal(decode("null")().embed.chain, null);
});

Deno.test("chain: no bytes make the search run on or throw", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void findChain(bytes)));
  const pieces = fc.constantFrom(
    "[",
    "]",
    "{",
    "}",
    '"chain"',
    '"chord"',
    ":",
    ",",
    '"',
    "\\",
    " ",
    "1",
    "null",
  );
  fc.assert(fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
    const place = findChain(BYTES.encode(parts.join("")));
    assert.ok(place === null || place.start < place.end);
  }));
});

function textOf(json: string | Uint8Array): string {
  return typeof json === "string" ? json : TEXT.decode(json);
}
