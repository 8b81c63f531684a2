/**
 * Task messages inwards: protocol 2, protocol 1, and the hybrid of the two. task_message.ts writes them.
 *
 * Source: celery 5.6.3 worker/strategy.py hybrid_to_proto2, proto1_to_proto2; worker/request.py Request.
 */

import { ChainSteps, findChain } from "./chain_steps.ts";
import { decompress } from "./compressor.ts";
import { bodyBytes, bodyData } from "./envelope.ts";
import { InvalidTaskError } from "./errors.ts";
import type { EncodedMessage, TaskBody, TaskEmbed, TaskHeaders, WireSignature } from "./message.ts";
import { kwargsRepr, pythonRepr } from "./python_repr.ts";
import { kindOf, recordOrNull, setOwn } from "./record.ts";
import { type Accept, deserialize, JSON_TYPE } from "./serializer.ts";
import { isoMs, toPythonIso } from "./times.ts";

/** A message of protocol 1 (or a hybrid) in the terms of protocol 2. */
export interface DecodedProtocol1 {
  headers: TaskHeaders;
  body: TaskBody;
  /** True: `eta` and `expires` without offset are UTC. */
  utc: boolean;
}

/**
 * The headers of a protocol 2 message in our names; every one but `task` and `id` may be missing. Null: there
 * is no header `task`, so it is protocol 1 or no task at all (`decodeProtocol1`). Throws InvalidTaskError
 * where a header is ill-typed or a time is none. Cost: per message received.
 */
export function decodeTaskHeaders(message: EncodedMessage): TaskHeaders | null {
  const wire = message.headers;
  const task = wire["task"];
  if (task === undefined || task === null) return null;
  return headersFromWire(wire, task);
}

/**
 * A task's arguments. Throws ContentDisallowed (type not in `accept`), DecodeError (base64, compression,
 * serializer) or InvalidTaskError (not `[args, kwargs, embed]`). Cost: per message run.
 */
export function decodeTaskBody(message: EncodedMessage, accept: Accept): TaskBody {
  const data = payloadData(message);
  const json = data.length > LONG_BODY ? longJson(message, data) : null;
  const place = json === null ? null : findChain(json);
  if (json === null || place === null) return taskBody(deserializeOf(message, data, accept));
  const { start, end } = place;
  const rest = new Uint8Array(start + json.length - end);
  rest.set(json.subarray(0, start));
  rest.set(json.subarray(end), start);
  const body = taskBody(deserializeOf(message, rest, accept));
  body.embed.chain = ChainSteps.ofBytes(json.subarray(start, end));
  // What comes next is looked at now: a message that cannot be gone on with is not to be begun.
  void body.embed.chain.next;
  return body;
}

/** The bytes of a long body, where it is JSON with a chain. */
function longJson(message: EncodedMessage, data: Uint8Array | string): Uint8Array | null {
  if (message.contentType !== JSON_TYPE || message.contentEncoding !== "utf-8") return null;
  if (typeof data !== "string") return data;
  return data.includes('"chain": null') || data.includes('"chain":null') ? null : ENCODER.encode(data);
}

const ENCODER = new TextEncoder();
/** Characters of a body from which on a chain in it is not taken apart. */
const LONG_BODY = 4096;

function taskBody(value: unknown): TaskBody {
  if (Array.isArray(value)) {
    if (value.length !== 3 && value.length !== 2) {
      throw new InvalidTaskError(`Task body has ${value.length} parts instead of [args, kwargs, embed]`);
    }
    return { args: argsOf(value[0]), kwargs: kwargsOf(value[1]), embed: embedOf(value[2]) };
  }
  const hybrid = recordOrNull(value);
  if (hybrid === null || !Object.hasOwn(hybrid, "args")) {
    throw new InvalidTaskError(`Task body is ${kindOf(value)} instead of [args, kwargs, embed]`);
  }
  return bodyFromRecord(hybrid);
}

/**
 * A message of protocol 1, or a hybrid (header `task`, but an object with `args` as body; headers win over
 * it). Null: neither, an unknown message. Throws as `decodeTaskBody`.
 */
export function decodeProtocol1(message: EncodedMessage, accept: Accept): DecodedProtocol1 | null {
  const body = recordOrNull(decodePayload(message, accept));
  if (body === null) return null;
  const isHybrid = (message.headers["task"] ?? null) !== null;
  if (isHybrid ? !Object.hasOwn(body, "args") : !Object.hasOwn(body, "task")) return null;
  const taskBody = bodyFromRecord(body);
  const wire: Record<string, unknown> = {};
  for (const key of HYBRID_FIELDS) if (Object.hasOwn(body, key)) wire[key] = body[key];
  if (isHybrid) {
    for (const key of Object.keys(message.headers)) setOwn(wire, key, message.headers[key]);
  } else {
    if (Object.hasOwn(body, "taskset")) wire["group"] = body["taskset"];
    wire["argsrepr"] = pythonRepr(taskBody.args, { tuple: false });
    wire["kwargsrepr"] = kwargsRepr(taskBody.kwargs);
    for (const key of Object.keys(message.headers)) {
      if (!KNOWN_HEADERS.has(key)) setOwn(wire, key, message.headers[key]);
    }
  }
  const headers = headersFromWire(wire, wire["task"]);
  return { headers, body: taskBody, utc: body["utc"] !== false };
}

/** A message's body, unpacked and decoded, whatever it holds. Throws ContentDisallowed or DecodeError. */
export function decodePayload(message: EncodedMessage, accept: Accept): unknown {
  return deserializeOf(message, payloadData(message), accept);
}

function payloadData(message: EncodedMessage): Uint8Array | string {
  const compression = message.headers["compression"];
  return typeof compression === "string" && compression !== ""
    ? decompress(bodyBytes(message), compression)
    : bodyData(message);
}

function deserializeOf(message: EncodedMessage, data: Uint8Array | string, accept: Accept): unknown {
  return deserialize(data, message.contentType, message.contentEncoding, accept);
}

/** The fields of a body that become headers, with protocol 1 and hybrids. */
const HYBRID_FIELDS = [
  "lang",
  "task",
  "id",
  "root_id",
  "parent_id",
  "group",
  "group_index",
  "shadow",
  "eta",
  "expires",
  "retries",
  "timelimit",
  "argsrepr",
  "kwargsrepr",
  "origin",
] as const;

/**
 * The headers of protocol 2, and two that transports and old versions add; all others are the caller's own.
 */
const KNOWN_HEADERS: ReadonlySet<string> = new Set([
  ...HYBRID_FIELDS,
  "ignore_result",
  "replaced_task_nesting",
  "stamped_headers",
  "stamps",
  "compression",
  "redelivered",
  "meth",
]);

function headersFromWire(wire: Record<string, unknown>, task: unknown): TaskHeaders {
  if (typeof task !== "string" || task === "") throw illTyped("task", task, "a name");
  const id = wire["id"];
  if (typeof id !== "string" || id === "") throw illTyped("id", id, "text");
  const timelimit = wire["timelimit"] ?? null;
  let timeLimit: number | null = null;
  let softTimeLimit: number | null = null;
  if (timelimit !== null) {
    if (!Array.isArray(timelimit)) throw illTyped("timelimit", timelimit, "[hard, soft]");
    timeLimit = seconds(timelimit[0], "timelimit");
    softTimeLimit = seconds(timelimit[1], "timelimit");
  }
  const retries = wire["retries"] ?? 0;
  if (typeof retries !== "number" || !Number.isInteger(retries) || retries < 0) {
    throw illTyped("retries", retries, "a whole number");
  }
  const stamped = wire["stamped_headers"] ?? null;
  if (stamped !== null && !Array.isArray(stamped)) throw illTyped("stamped_headers", stamped, "an array");
  const nesting = wire["replaced_task_nesting"];
  let custom: Record<string, unknown> | null = null;
  for (const key in wire) {
    if (KNOWN_HEADERS.has(key)) continue;
    if (custom === null) custom = {};
    setOwn(custom, key, wire[key]);
  }
  return {
    lang: text(wire["lang"]),
    task,
    id,
    shadow: text(wire["shadow"]),
    eta: time(wire["eta"], "eta"),
    expires: time(wire["expires"], "expires"),
    group: text(wire["group"]),
    groupIndex: typeof wire["group_index"] === "number" ? wire["group_index"] : null,
    retries,
    timeLimit,
    softTimeLimit,
    rootId: text(wire["root_id"]),
    parentId: text(wire["parent_id"]),
    argsrepr: text(wire["argsrepr"]),
    kwargsrepr: text(wire["kwargsrepr"]),
    origin: text(wire["origin"]),
    ignoreResult: wire["ignore_result"] === true,
    replacedTaskNesting: typeof nesting === "number" ? nesting : 0,
    stampedHeaders: stamped,
    stamps: recordOrNull(wire["stamps"]) ?? {},
    compression: text(wire["compression"]),
    custom,
  };
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A time header: ISO text that can be read, or a datetime that typed JSON made a Date of. */
function time(value: unknown, name: string): string | null {
  if (value === undefined || value === null) return null;
  if (value instanceof Date) return toPythonIso(value.getTime());
  if (typeof value !== "string") throw illTyped(name, value, "a time");
  if (value === "") return null;
  if (Number.isNaN(isoMs(value))) {
    throw new InvalidTaskError(`invalid ${name} value ${pythonRepr(value.slice(0, 100))}: not ISO 8601`);
  }
  return value;
}

function seconds(value: unknown, name: string): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== "number" || !(value >= 0)) throw illTyped(name, value, "seconds");
  return value;
}

function illTyped(name: string, value: unknown, wanted: string): InvalidTaskError {
  if (value === undefined || value === null) return new InvalidTaskError(`Task header "${name}" is missing`);
  return new InvalidTaskError(`Task header "${name}" is ${kindOf(value)} instead of ${wanted}`);
}

function argsOf(value: unknown): unknown[] {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw new InvalidTaskError("Task arguments must be a list or tuple");
  return value;
}

function kwargsOf(value: unknown): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  const kwargs = recordOrNull(value);
  if (kwargs === null) throw new InvalidTaskError("Task keyword arguments must be a mapping");
  return kwargs;
}

function embedOf(value: unknown): TaskEmbed {
  const embed: TaskEmbed = { callbacks: null, errbacks: null, chain: null, chord: null };
  if (value === null || value === undefined) return embed;
  const record = recordOrNull(value);
  if (record === null) throw new InvalidTaskError(`Task embed is ${kindOf(value)} instead of an object`);
  embed.callbacks = signatures(record["callbacks"], "callbacks");
  embed.errbacks = signatures(record["errbacks"], "errbacks");
  const chain = signatures(record["chain"], "chain");
  if (chain !== null && chain.length > 0) embed.chain = ChainSteps.of(chain);
  embed.chord = signature(record["chord"], "chord");
  return embed;
}

function signatures(value: unknown, name: string): WireSignature[] | null {
  if (value === null || value === undefined) return null;
  if (!Array.isArray(value)) return [signature(value, name)!];
  for (const item of value) signature(item ?? "", name);
  return value as WireSignature[];
}

function signature(value: unknown, name: string): WireSignature | null {
  if (value === null || value === undefined) return null;
  const record = recordOrNull(value);
  if (record === null || typeof record["task"] !== "string") {
    throw new InvalidTaskError(`Task embed "${name}" holds ${kindOf(value)} instead of a signature`);
  }
  return record as WireSignature;
}

function bodyFromRecord(record: Record<string, unknown>): TaskBody {
  return {
    args: argsOf(record["args"]),
    kwargs: kwargsOf(record["kwargs"]),
    embed: {
      callbacks: signatures(record["callbacks"], "callbacks"),
      errbacks: signatures(record["errbacks"], "errbacks"),
      chain: null,
      chord: signature(record["chord"], "chord"),
    },
  };
}
