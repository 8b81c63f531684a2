import assert from "node:assert/strict";
import fc from "fast-check";
import {
  acceptedTypes,
  ContentDisallowed,
  DecodeError,
  decodeException,
  decodeResultMeta,
  encodeException,
  encodeResultMeta,
  EXCEPTION_STATES,
  type ExtendedMeta,
  loadSerializer,
  type MetaToStore,
  type ResultMeta,
} from "../../../../lib/wire/mod.ts";
import { golden, VERSIONS } from "../golden.ts";

await loadSerializer("yaml");
await loadSerializer("msgpack");
const ACCEPT = acceptedTypes(["json", "yaml", "msgpack"]);
const AS_JSON = { serializer: "json", accept: ACCEPT };

function toStore(meta: ResultMeta): MetaToStore {
  const extended: ExtendedMeta | null = meta.name === null ? null : {
    name: meta.name,
    args: meta.args,
    kwargs: meta.kwargs,
    worker: meta.worker,
    retries: meta.retries,
    queue: meta.queue,
    stamps: meta.stamps,
  };
  return { ...meta, extended };
}

for (const version of VERSIONS) {
  Deno.test(`a document that Celery ${version} stored is what we would store, key by key`, () => {
    for (const one of golden(`results-${version}`)) {
      const document = one["document"] as string;
      const meta = decodeResultMeta(document, AS_JSON);
      const again = encodeResultMeta(toStore(meta), "json") as string;
      assert.deepEqual(JSON.parse(again), JSON.parse(document), one.scenario);
      assert.deepEqual(Object.keys(JSON.parse(again)), Object.keys(JSON.parse(document)), one.scenario);
    }
  });
}

Deno.test("exception states hold exceptions, all others values", () => {
  const states = new Set<string>();
  for (const one of golden("results-5.6.3")) {
    const meta = decodeResultMeta(one["document"] as string, AS_JSON);
    states.add(meta.state);
    const hasType = typeof (meta.result as { excType?: unknown } | null)?.excType === "string";
    assert.equal(hasType, EXCEPTION_STATES.has(meta.state), one.scenario);
  }
  assert.ok(states.has("FAILURE") && states.has("RETRY") && states.has("REVOKED") && states.has("SUCCESS"));
});

Deno.test("any result comes back, through every serializer", () => {
  const meta = fc.record({
    taskId: fc.string(),
    state: fc.constantFrom("SUCCESS", "STARTED", "PROGRESS"),
    result: fc.jsonValue({ maxDepth: 2 }).filter((value) => !JSON.stringify(value).includes("__proto__")),
    traceback: fc.option(fc.string()),
    children: fc.constantFrom(null, [], [[["a", null], null]] as [[string, null], null][]),
    dateDone: fc.constantFrom(null, "2026-11-22T14:26:34.397736", "2026-11-22T14:26:34+00:00"),
    groupId: fc.constantFrom(null, "g"),
    parentId: fc.constantFrom(null, "p"),
  });
  fc.assert(
    fc.property(meta, fc.constantFrom("json", "yaml", "msgpack"), (given, serializer) => {
      const back = decodeResultMeta(encodeResultMeta(given, serializer), { serializer, accept: ACCEPT });
      const { result, ...rest } = back;
      const { result: sent, ...others } = given;
      const number = (_: string, value: unknown): unknown =>
        typeof value === "bigint" ? Number(value) : value;
      assert.equal(
        JSON.stringify(sorted(JSON.parse(JSON.stringify(result, number)))),
        JSON.stringify(sorted(JSON.parse(JSON.stringify(sent)))),
      );
      for (const [key, value] of Object.entries(others)) {
        assert.deepEqual(rest[key as keyof typeof rest], value, key);
      }
    }),
    { numRuns: 150 },
  );
});

Deno.test("an argument of an exception that cannot travel is stored as its repr", () => {
  const stored = encodeException({
    excType: "E",
    excModule: "m",
    args: ["a", 1, new Map([["k", 1]]), [() => 1], null],
  });
  assert.deepEqual(stored, {
    exc_type: "E",
    exc_message: ["a", 1, "{'k': 1}", "[<function >]", null],
    exc_module: "m",
  });
});

Deno.test("exceptions are read leniently", () => {
  const read = decodeException;
  const none = { excType: "Exception", excModule: "builtins", args: [] };
  assert.deepEqual(read({ exc_type: "E", exc_message: "text", exc_module: "m" }), {
    excType: "E",
    excModule: "m",
    args: ["text"],
  });
  assert.deepEqual(read({ exc_type: "E" }), { excType: "E", excModule: null, args: [] });
  assert.deepEqual(read({ exc_type: "E", exc_message: null, exc_module: 1 }).args, []);
  assert.deepEqual(read(null), none);
  assert.deepEqual(read("boom"), { ...none, args: ["boom"] });
  assert.deepEqual(read([1]), { ...none, args: ["[1]"] });
});

Deno.test("stamps travel by name and do not hide the document's own keys", () => {
  const extended = {
    name: "t",
    args: [1],
    kwargs: {},
    worker: "w",
    retries: 0,
    queue: "q",
    stamps: { own: 1, status: 2 },
  };
  const given = {
    taskId: "i",
    state: "SUCCESS",
    result: 1,
    traceback: null,
    children: [],
    dateDone: null,
    extended,
  };
  const record = JSON.parse(encodeResultMeta(given, "json") as string);
  assert.deepEqual([record.status, record.own, record.stamped_headers], ["SUCCESS", 1, ["own", "status"]]);
  assert.equal(decodeResultMeta(JSON.stringify(record), AS_JSON).stamps!["own"], 1);
});

Deno.test("what is no result gives one line", () => {
  for (const document of ["", "[]", "42", "{}", '{"status":1}', "{", '"x"', '{"result":1}']) {
    assert.throws(() => decodeResultMeta(document, AS_JSON), (error: Error) => {
      assert.ok(error instanceof DecodeError);
      assert.match(error.message, /^Cannot decode [^\n]+$/);
      return true;
    });
  }
  assert.throws(
    () => decodeResultMeta("{}", { serializer: "yaml", accept: acceptedTypes(["json"]) }),
    ContentDisallowed,
  );
  const odd = decodeResultMeta(
    '{"status":"SUCCESS","children":"x","date_done":"soon","task_id":1}',
    AS_JSON,
  );
  assert.deepEqual([odd.children, odd.dateDone, odd.taskId, odd.result], [null, null, "", null]);
});

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? 0 : value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => [k, sorted(v)]),
  );
}
