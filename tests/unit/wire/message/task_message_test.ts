import assert from "node:assert/strict";
import fc from "fast-check";
import {
  acceptedTypes,
  ContentDisallowed,
  decodeEnvelope,
  DecodeError,
  decodeProtocol1,
  decodeTaskBody,
  decodeTaskHeaders,
  encodeEnvelope,
  EncodeError,
  encodeTaskMessage,
  InvalidTaskError,
  loadSerializer,
  type TaskEncoding,
  type TaskToSend,
} from "../../../../lib/wire/mod.ts";
import { golden, VERSIONS } from "../golden.ts";
import { encodedMessage } from "../../../support/messages.ts";

await loadSerializer("yaml");
await loadSerializer("msgpack");
const ACCEPT = acceptedTypes(["json", "yaml", "msgpack"]);
const JSON2: TaskEncoding = { serializer: "json", compression: null, protocol: 2, bodyEncoding: "base64" };

function task(change: Partial<TaskToSend> = {}): TaskToSend {
  return {
    task: "t.add",
    id: "00000000-0000-4000-8000-000000000001",
    args: [2, 3],
    kwargs: {},
    origin: "gen1@vm",
    replyTo: "oid",
    priority: 0,
    deliveryMode: 2,
    ...change,
  };
}

/** A captured message sent again by us, from nothing but what its headers and body say. */
function resend(raw: string): string {
  const { message, info, deliveryTag } = decodeEnvelope(raw);
  const headers = decodeTaskHeaders(message)!;
  const { args, kwargs, embed } = decodeTaskBody(message, ACCEPT);
  const serializer =
    { "application/x-yaml": "yaml", "application/x-msgpack": "msgpack" }[message.contentType] ?? "json";
  const again = encodeTaskMessage({
    ...headers,
    args,
    kwargs,
    embed,
    replyTo: message.properties.replyTo,
    priority: message.properties.priority,
    deliveryMode: message.properties.deliveryMode,
    expiration: message.properties.expiration,
  }, { ...JSON2, serializer, compression: headers.compression === null ? null : "gzip" });
  return encodeEnvelope(again, {
    exchange: info.exchange,
    routingKey: info.routingKey,
    deliveryTag: deliveryTag!,
  });
}

/** Tuples inside signatures and lists given by the caller are Python's; JSON knows neither. */
const UNTOLD = new RegExp(
  "pickle|protocol=1|list|link|chain|group|chord|map|chunks|datetime|serializer|stamp|send_task",
);

for (const version of VERSIONS) {
  Deno.test(`a task of Celery ${version}, sent again by us, is the same message field by field`, () => {
    let compared = 0;
    for (const { raw, scenario } of golden(`redis-publish-${version}`)) {
      if (/pickle|protocol=1/.test(scenario)) continue;
      const theirs = JSON.parse(raw);
      const ours = JSON.parse(resend(raw));
      if (version === "5.2.6") {
        for (const later of ["replaced_task_nesting", "stamped_headers", "stamps"]) {
          delete ours.headers[later];
        }
      }
      const bodies = [theirs, ours].map((one) =>
        decodeTaskBody(decodeEnvelope(JSON.stringify(one)).message, ACCEPT)
      );
      assert.deepEqual(bodies[1], bodies[0], scenario);
      // Body bytes differ in blanks; argument order in YAML.
      assert.deepEqual({ ...ours, body: "" }, { ...theirs, body: "" }, scenario);
      assert.deepEqual(Object.keys(ours.headers), Object.keys(theirs.headers), scenario);
      compared++;
    }
    assert.ok(compared > 55, `${compared} messages`);
  });

  Deno.test(`argument texts of Celery ${version} are ours too, wherever JSON tells the types`, () => {
    for (const { raw, scenario } of golden(`redis-publish-${version}`)) {
      if (
        UNTOLD.test(scenario)
      ) continue;
      const { message } = decodeEnvelope(raw);
      const headers = decodeTaskHeaders(message)!;
      const { args, kwargs } = decodeTaskBody(message, ACCEPT);
      const made = encodeTaskMessage(task({ args, kwargs }), JSON2).headers;
      assert.deepEqual(
        [made["argsrepr"], made["kwargsrepr"]],
        [headers.argsrepr, headers.kwargsrepr],
        scenario,
      );
    }
  });

  Deno.test(`Celery ${version}'s protocol 1 is read as protocol 2, and written as it was`, () => {
    const { raw } = golden(`redis-publish-${version}`).find((one) => one.scenario === "task_protocol=1")!;
    const { message, info, deliveryTag } = decodeEnvelope(raw);
    assert.equal(decodeTaskHeaders(message), null);
    const { headers, body, utc } = decodeProtocol1(message, ACCEPT)!;
    assert.equal(headers.task, "tasks.add");
    assert.deepEqual(body, {
      args: [2, 3],
      kwargs: {},
      embed: { callbacks: null, errbacks: null, chain: null, chord: null },
    });
    assert.match(headers.eta!, /^\d{4}-\d\d-\d\dT/);
    assert.deepEqual([headers.argsrepr, headers.kwargsrepr, utc], ["[2, 3]", "{}", true]);
    const again = encodeTaskMessage(
      { ...task(), ...headers, ...body, replyTo: message.properties.replyTo },
      { ...JSON2, protocol: 1 },
    );
    const ours = JSON.parse(encodeEnvelope(again, { ...info, deliveryTag: deliveryTag! }));
    const theirs = JSON.parse(raw);
    assert.deepEqual(JSON.parse(atob(ours.body)), JSON.parse(atob(theirs.body)));
    assert.deepEqual({ ...ours, body: "" }, { ...theirs, body: "" });
  });
}

Deno.test("headers are in Celery's order, with Celery's defaults", () => {
  const theirs = JSON.parse(golden("redis-publish-5.6.3")[0]!.raw).headers;
  const ours = encodeTaskMessage(task({ task: "tasks.add", origin: theirs.origin }), JSON2).headers;
  assert.deepEqual(ours, theirs);
  assert.deepEqual(Object.keys(ours), Object.keys(theirs));
});

Deno.test("custom headers win over the standard ones, and come back as custom", () => {
  const made = encodeTaskMessage(
    task({ custom: { "x-tenant": "ř", shadow: "other", __proto__x: 1 } }),
    JSON2,
  );
  const headers = decodeTaskHeaders(decodeEnvelope(encodeEnvelope(made, route())).message)!;
  assert.equal(headers.shadow, "other");
  assert.deepEqual(headers.custom, { "x-tenant": "ř", __proto__x: 1 });
});

Deno.test("a message without the later headers gets their defaults", () => {
  const headers = decodeTaskHeaders(
    encodedMessage({ headers: { task: "t", id: "i", redelivered: true, meth: "x" } }),
  )!;
  assert.deepEqual(headers, {
    lang: null,
    task: "t",
    id: "i",
    shadow: null,
    eta: null,
    expires: null,
    group: null,
    groupIndex: null,
    retries: 0,
    timeLimit: null,
    softTimeLimit: null,
    rootId: null,
    parentId: null,
    argsrepr: null,
    kwargsrepr: null,
    origin: null,
    ignoreResult: null,
    replacedTaskNesting: 0,
    stampedHeaders: null,
    stamps: {},
    compression: null,
    custom: null,
  });
  assert.deepEqual(decodeTaskBody(encodedMessage({ body: "[[1],{},null]" }), ACCEPT).embed.chord, null);
  assert.deepEqual(
    decodeTaskBody(encodedMessage({ body: '[[1],{},{"chord":{"task":"x"}}]' }), ACCEPT).embed,
    {
      callbacks: null,
      errbacks: null,
      chain: null,
      chord: { task: "x" },
    },
  );
});

/** Checks that a task's arguments are read as they were sent, by itself and in an envelope. */
function comesBack(
  args: unknown[],
  kwargs: Record<string, unknown>,
  encoding: Parameters<typeof encodeTaskMessage>[1],
): void {
  const sent = encodeTaskMessage(task({ args, kwargs }), encoding);
  const { message } = decodeEnvelope(encodeEnvelope(sent, route()));
  for (const got of [sent, message]) {
    const isFirst = encoding.protocol === 1;
    const body = isFirst ? decodeProtocol1(got, ACCEPT)!.body : decodeTaskBody(got, ACCEPT);
    assert.deepEqual(numbers(body.args), numbers(args));
    assert.deepEqual(numbers(body.kwargs), numbers(kwargs));
  }
}

Deno.test("any arguments come back, through every serializer, compressor and encoding", () => {
  const json = fc.array(fc.jsonValue({ maxDepth: 2, noUnicodeString: false }), { maxLength: 4 });
  const kwargs = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 4 });
  const encodings = fc.record({
    serializer: fc.constantFrom("json", "yaml", "msgpack"),
    compression: fc.constantFrom(null, "gzip", "zstd", "brotli"),
    protocol: fc.constantFrom(1 as const, 2 as const),
    bodyEncoding: fc.constantFrom("base64" as const, "none" as const),
  });
  fc.assert(fc.property(json, kwargs, encodings, comesBack), { numRuns: 150 });
});

Deno.test("a key is a key, whatever JavaScript means by it", () => {
  const odd = JSON.parse('{"__proto__":{"a":1},"constructor":2}');
  for (const serializer of ["json", "yaml", "msgpack"]) {
    for (const protocol of [1, 2] as const) {
      comesBack([odd, [odd]], odd, { serializer, compression: null, protocol, bodyEncoding: "base64" });
    }
  }
});

Deno.test("arguments that cannot travel are refused at the call", () => {
  assert.throws(() => encodeTaskMessage(task({ args: [() => 1] }), JSON2), EncodeError);
  assert.throws(() => encodeTaskMessage(task({ kwargs: { m: new Map() } }), JSON2), {
    message: 'Cannot encode "m": a Map (use a plain object)',
  });
  assert.throws(
    () => encodeTaskMessage(task({ kwargs: [] as unknown as Record<string, unknown> }), JSON2),
    EncodeError,
  );
  assert.throws(() => encodeTaskMessage(task({ args: "12" as unknown as unknown[] }), JSON2), EncodeError);
});

Deno.test("ill-typed headers are an InvalidTaskError in one line", () => {
  const bad: [Record<string, unknown>, string][] = [
    [{ task: 1 }, 'Task header "task" is a number instead of a name'],
    [{ id: null }, 'Task header "id" is missing'],
    [{ id: {} }, 'Task header "id" is an object instead of text'],
    [{ eta: "the day after tomorrow" }, "invalid eta value 'the day after tomorrow': not ISO 8601"],
    [{ expires: 17 }, 'Task header "expires" is a number instead of a time'],
    [{ timelimit: "3" }, 'Task header "timelimit" is text instead of [hard, soft]'],
    [{ timelimit: ["3", null] }, 'Task header "timelimit" is text instead of seconds'],
    [{ timelimit: [-1, null] }, 'Task header "timelimit" is a number instead of seconds'],
    [{ retries: "2" }, 'Task header "retries" is text instead of a whole number'],
    [{ stamped_headers: "x" }, 'Task header "stamped_headers" is text instead of an array'],
  ];
  for (const [change, text] of bad) {
    const headers = { task: "t.add", id: "i", ...change };
    assert.throws(() => decodeTaskHeaders(encodedMessage({ headers })), {
      name: "InvalidTaskError",
      message: text,
    });
  }
  assert.equal(decodeTaskHeaders(encodedMessage({ headers: { task: null } })), null);
  assert.equal(decodeTaskHeaders(encodedMessage({ headers: {} })), null);
});

Deno.test("times that typed JSON made of headers are read as times", () => {
  const headers = {
    task: "t",
    id: "i",
    eta: new Date("2037-03-04T05:06:07.890Z"),
    expires: "2037-03-04 05:06Z",
  };
  const decoded = decodeTaskHeaders(encodedMessage({ headers }))!;
  assert.deepEqual([decoded.eta, decoded.expires], ["2037-03-04T05:06:07.890000+00:00", "2037-03-04 05:06Z"]);
});

Deno.test("bodies that are no [args, kwargs, embed] are an InvalidTaskError in one line", () => {
  const bad: [string, string][] = [
    ['{"a": 1}', "Task body is an object instead of [args, kwargs, embed]"],
    ["[]", "Task body has 0 parts instead of [args, kwargs, embed]"],
    ["[[],{},{},1]", "Task body has 4 parts instead of [args, kwargs, embed]"],
    ["42", "Task body is a number instead of [args, kwargs, embed]"],
    ["null", "Task body is null instead of [args, kwargs, embed]"],
    ['["ab", {}, {}]', "Task arguments must be a list or tuple"],
    ["[[], [], {}]", "Task keyword arguments must be a mapping"],
    ["[[], {}, []]", "Task embed is an array instead of an object"],
    ['[[], {}, {"callbacks": [1]}]', 'Task embed "callbacks" holds a number instead of a signature'],
    ['[[], {}, {"chain": [null]}]', 'Task embed "chain" holds text instead of a signature'],
    ['[[], {}, {"chord": {"task": 1}}]', 'Task embed "chord" holds an object instead of a signature'],
  ];
  for (const [body, text] of bad) {
    assert.throws(() => decodeTaskBody(encodedMessage({ body }), ACCEPT), {
      name: "InvalidTaskError",
      message: text,
    });
  }
});

Deno.test("undecodable bodies say why in one line", () => {
  const wrong = encodedMessage({ body: "%%%not base64%%%", bodyEncoding: "base64" });
  assert.throws(() => decodeTaskBody(wrong, ACCEPT), {
    name: "DecodeError",
    message: "Cannot decode body: invalid base64",
  });
  const unheard = encodedMessage({ contentType: "application/x-unheard-of" });
  assert.throws(() => decodeTaskBody(unheard, ACCEPT), ContentDisallowed);
  const pickled = golden("redis-publish-5.6.3").find((one) => one.scenario.includes("pickle"))!;
  assert.throws(() => decodeTaskBody(decodeEnvelope(pickled.raw).message, ACCEPT), {
    message: "Refusing to deserialize untrusted content of type pickle (application/x-python-serialize)",
  });
  const headers = { task: "t", id: "i", compression: "application/x-gzip" };
  assert.throws(() => decodeTaskBody(encodedMessage({ headers }), ACCEPT), DecodeError);
  const bzip = { ...headers, compression: "application/x-bz2" };
  assert.throws(() => decodeTaskBody(encodedMessage({ headers: bzip }), ACCEPT), {
    message: /broken application\/x-bz2 data/,
  });
  const deep = encodedMessage({ body: "[".repeat(100_000) });
  assert.throws(() => decodeTaskBody(deep, ACCEPT), { name: "DecodeError", message: /nested deeper/ });
});

Deno.test("hybrids take values from the body, and headers win", () => {
  const body = JSON.stringify({
    task: "b",
    id: "b",
    args: [1],
    kwargs: { a: 2 },
    retries: 3,
    errbacks: { task: "e" },
    utc: false,
  });
  const hybrid = encodedMessage({ headers: { task: "h", id: "h", lang: "py" }, body });
  const decoded = decodeProtocol1(hybrid, ACCEPT)!;
  assert.deepEqual([decoded.headers.task, decoded.headers.id, decoded.headers.retries], ["h", "h", 3]);
  assert.deepEqual(decoded.body.embed.errbacks, [{ task: "e" }]);
  assert.equal(decoded.utc, false);
  assert.deepEqual(decodeTaskBody(hybrid, ACCEPT), decoded.body);
});

Deno.test("a message of neither protocol is null, an ill one of protocol 1 an InvalidTaskError", () => {
  assert.equal(decodeProtocol1(encodedMessage({ headers: {}, body: "[[],{},{}]" }), ACCEPT), null);
  assert.equal(decodeProtocol1(encodedMessage({ headers: {}, body: '{"a":1}' }), ACCEPT), null);
  assert.equal(
    decodeProtocol1(encodedMessage({ headers: { task: "t", id: "i" }, body: "[[],{},{}]" }), ACCEPT),
    null,
  );
  for (const body of ['{"task":"t"}', '{"task":1,"id":"i"}', '{"task":"t","id":"i","kwargs":[]}']) {
    assert.throws(() => decodeProtocol1(encodedMessage({ headers: {}, body }), ACCEPT), InvalidTaskError);
  }
  const taskset = '{"task":"t","id":"i","group":"g","taskset":"s","timelimit":[1,2]}';
  const { headers } = decodeProtocol1(encodedMessage({ headers: { own: 1 }, body: taskset }), ACCEPT)!;
  assert.deepEqual([headers.group, headers.timeLimit, headers.custom], ["s", 1, { own: 1 }]);
});

Deno.test("whatever a message holds, it is decoded or refused in one line", () => {
  const anything = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom("base64", "application/json", [], {}),
  );
  const envelope = fc.record({
    "body": fc.oneof(fc.string(), fc.constant("W10="), fc.constant("e30="), anything),
    "content-type": anything,
    "content-encoding": anything,
    "headers": fc.oneof(
      anything,
      fc.dictionary(fc.constantFrom("task", "id", "eta", "retries", "compression", "timelimit"), anything),
    ),
    "properties": fc.oneof(
      anything,
      fc.record({ body_encoding: fc.constantFrom("base64", null, 1), priority: anything }),
    ),
  }, { requiredKeys: [] });
  fc.assert(
    fc.property(envelope, (wire) => {
      try {
        const { message } = decodeEnvelope(JSON.stringify(wire));
        if (decodeTaskHeaders(message) === null) decodeProtocol1(message, ACCEPT);
        else decodeTaskBody(message, ACCEPT);
      } catch (error) {
        const isOurs = error instanceof DecodeError || error instanceof ContentDisallowed ||
          error instanceof InvalidTaskError;
        assert.ok(isOurs, String((error as Error).stack));
        assert.doesNotMatch(error.message, /\n/);
      }
    }),
    { numRuns: 2000 },
  );
});

function route(): { exchange: string; routingKey: string; deliveryTag: string } {
  return { exchange: "", routingKey: "celery", deliveryTag: "tag" };
}

/** Numbers compared by size: beyond 2^53 they may come back as bigint, and JSON keeps no -0. */
function numbers(value: unknown): unknown {
  if (typeof value === "number" || typeof value === "bigint") return Number(value) + 0;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(numbers);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, numbers(item)]));
}
