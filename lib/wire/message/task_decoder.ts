/**
 * Decodes task messages: protocol 2, protocol 1, and hybrids of the two. task_message.ts encodes them.
 *
 * Source: celery 5.6.3 worker/strategy.py hybrid_to_proto2, proto1_to_proto2; worker/request.py Request.
 */

import { textOrNull } from "../../base/mod.ts";
import { mayHoldFloats, revived, revivedIfKnown } from "../json/carried.ts";
import { ChainSteps, findChain } from "./chain_steps.ts";
import { decompress, UNPACKED_BYTES_MAX } from "../serializer/decompressor.ts";
import { bodyBytes, bodyData } from "./envelope.ts";
import { InvalidTaskError } from "../errors.ts";
import { fromExactJson, fromPlainJson, reviveJson } from "../json/reader.ts";
import type { EncodedMessage, TaskHeaders, WireSignature } from "./message.ts";
import type { TaskBody, TaskEmbed } from "./task_message.ts";
import { kwargsRepr, pythonRepr } from "../python_repr.ts";
import { isTruthy } from "../python_truth.ts";
import { kindOf, recordOrNull, setOwn } from "../record.ts";
import { type Accept, deserialize, JSON_TYPE, refuseContent, utf8Text } from "../serializer/serializer.ts";
import { isoMs, toPythonIso } from "../times.ts";

/** A message of protocol 1, or a hybrid, in the form of protocol 2. */
export interface DecodedProtocol1 {
  headers: TaskHeaders;
  body: TaskBody;
  /** True: `eta` and `expires` without offset are UTC. */
  utc: boolean;
}

/**
 * Returns the headers of a protocol 2 message by our names; all except `task` and `id` may be missing. Null
 * if the header `task` is missing: the message is of protocol 1 or not a task at all (`decodeProtocol1`).
 * Throws InvalidTaskError if a header has a wrong type or a time is invalid. Cost: per message received.
 */
export function decodeTaskHeaders(message: EncodedMessage): TaskHeaders | null {
  const wire = message.headers;
  const task = wire["task"];
  if (task === undefined || task === null) return null;
  return headersFromWire(wire, task);
}

/**
 * Returns a task's arguments and embed. The embed's signatures are carried values (json/carried.ts), and with
 * `carriesAll` the arguments too. Throws ContentDisallowed (type not in `accept`), DecodeError (base64,
 * compression, serializer, more than `unpackedMax` bytes unpacked) or InvalidTaskError (not `[args, kwargs,
 * embed]`). Cost: per message run.
 */
export function decodeTaskBody(
  message: EncodedMessage,
  accept: Accept,
  reading: { readonly unpackedMax?: number; readonly carriesAll?: boolean } = NO_READING,
): TaskBody {
  const { carriesAll = false } = reading;
  const data = payloadData(message, accept, reading.unpackedMax ?? UNPACKED_BYTES_MAX);
  const json = data.length > LONG_BODY ? longJson(message, data) : null;
  const place = json === null ? null : findChain(json);
  if (json === null || place === null) return bodyOf(message, data, accept, carriesAll);
  const { start, end } = place;
  const rest = new Uint8Array(start + json.length - end);
  rest.set(json.subarray(0, start));
  rest.set(json.subarray(end), start);
  const body = bodyOf(message, rest, accept, carriesAll);
  body.embed.chain = ChainSteps.ofBytes(json.subarray(start, end));
  // Check the next step now: if it is invalid, the task must not run, because the chain could not continue.
  void body.embed.chain.next;
  return body;
}

const NO_READING = {};

/** Returns the bytes of a long body if it is JSON and may have a chain. */
function longJson(message: EncodedMessage, data: Uint8Array | string): Uint8Array | null {
  if (message.contentType !== JSON_TYPE || message.contentEncoding !== "utf-8") return null;
  if (typeof data !== "string") return data;
  return data.includes('"chain": null') || data.includes('"chain":null') ? null : ENCODER.encode(data);
}

const ENCODER = new TextEncoder();
/** In bodies longer than this, the chain is kept as bytes and not decoded. */
const LONG_BODY = 4096;

function bodyOf(
  message: EncodedMessage,
  data: Uint8Array | string,
  accept: Accept,
  carriesAll: boolean,
): TaskBody {
  if (message.contentType !== JSON_TYPE) return taskBody(deserializeOf(message, data, accept));
  const text = textOf(data);
  const value = fromPlainJson(text);
  if (!Array.isArray(value)) return taskBody(recordOf(text, value, carriesAll));
  if (carriesAll) return taskBody(mayHoldFloats(text) ? fromExactJson(text) : value);
  if (carriesAny(value[2]) && mayHoldFloats(text)) value[2] = (fromExactJson(text) as unknown[])[2];
  for (let part = 0; part < 2 && part < value.length; part++) value[part] = reviveJson(text, value[part]);
  return taskBody(value);
}

function textOf(data: Uint8Array | string): string {
  return typeof data === "string" ? data : utf8Text(data);
}

/** Returns true if an embed contains a signature. */
function carriesAny(embed: unknown): boolean {
  const record = recordOrNull(embed);
  for (const key in record) if (record[key] !== null) return true;
  return false;
}

/** Returns the body of protocol 1 or a hybrid as a record, with carried signatures. */
function recordOf(text: string, value: unknown, carriesAll: boolean): unknown {
  const record = recordOrNull(value);
  if (record === null) return reviveJson(text, value);
  const carried = (mayHoldFloats(text) ? fromExactJson(text) : record) as Record<string, unknown>;
  if (carriesAll) return carried;
  const made: Record<string, unknown> = {};
  for (const key of Object.keys(record)) {
    setOwn(made, key, CARRIED_FIELDS.has(key) ? carried[key] : reviveJson(text, record[key]));
  }
  return made;
}

const CARRIED_FIELDS: ReadonlySet<string> = new Set(["callbacks", "errbacks", "chord"]);

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
 * Decodes a message of protocol 1, or a hybrid: it has the header `task`, but an object with `args` as its
 * body, whose fields the headers override. Null for any other message. Throws as `decodeTaskBody` and
 * `decodeTaskHeaders`.
 */
export function decodeProtocol1(
  message: EncodedMessage,
  accept: Accept,
  unpackedMax: number = UNPACKED_BYTES_MAX,
): DecodedProtocol1 | null {
  const data = payloadData(message, accept, unpackedMax);
  let value: unknown;
  if (message.contentType === JSON_TYPE) {
    const text = textOf(data);
    value = recordOf(text, fromPlainJson(text), false);
  } else value = deserializeOf(message, data, accept);
  const body = recordOrNull(value);
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
  return { headers, body: taskBody, utc: !Object.hasOwn(body, "utc") || isTruthy(body["utc"]) };
}

/**
 * Returns a message's body, unpacked and decoded, of any kind. Throws ContentDisallowed or DecodeError. A
 * body of a refused type or encoding is neither unpacked nor read.
 */
export function decodePayload(
  message: EncodedMessage,
  accept: Accept,
  unpackedMax: number = UNPACKED_BYTES_MAX,
): unknown {
  return deserializeOf(message, payloadData(message, accept, unpackedMax), accept);
}

function payloadData(
  message: EncodedMessage,
  accept: Accept,
  unpackedMax: number,
): Uint8Array | string {
  refuseContent(message.contentType, message.contentEncoding, accept);
  const compression = message.headers["compression"];
  return typeof compression === "string" && compression !== ""
    ? decompress(bodyBytes(message), compression, { bytesMax: unpackedMax })
    : bodyData(message);
}

function deserializeOf(message: EncodedMessage, data: Uint8Array | string, accept: Accept): unknown {
  return deserialize(data, message.contentType, message.contentEncoding, accept);
}

/** The fields that become headers in protocol 1 and hybrids. */
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
 * The headers of protocol 2, and two that transports and old versions add. All others are the caller's own.
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
  const timelimit = revived(wire["timelimit"] ?? null);
  let timeLimit: number | null = null;
  let softTimeLimit: number | null = null;
  if (timelimit !== null) {
    if (!Array.isArray(timelimit)) throw illTyped("timelimit", timelimit, "[hard, soft]");
    timeLimit = seconds(timelimit[0], "timelimit");
    softTimeLimit = seconds(timelimit[1], "timelimit");
  }
  const retries = revived(wire["retries"] ?? 0);
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
    setOwn(custom, key, revivedIfKnown(wire[key]));
  }
  const ignored = wire["ignore_result"];
  return {
    lang: textOrNull(wire["lang"]),
    task,
    id,
    shadow: textOrNull(wire["shadow"]),
    eta: time(wire["eta"], "eta"),
    expires: time(wire["expires"], "expires"),
    group: textOrNull(wire["group"]),
    groupIndex: typeof wire["group_index"] === "number" ? wire["group_index"] : null,
    retries,
    timeLimit,
    softTimeLimit,
    rootId: textOrNull(wire["root_id"]),
    parentId: textOrNull(wire["parent_id"]),
    argsrepr: textOrNull(wire["argsrepr"]),
    kwargsrepr: textOrNull(wire["kwargsrepr"]),
    origin: textOrNull(wire["origin"]),
    ignoreResult: ignored === undefined || ignored === null ? null : isTruthy(ignored),
    replacedTaskNesting: typeof nesting === "number" ? nesting : 0,
    stampedHeaders: stamped,
    stamps: revivedIfKnown(recordOrNull(wire["stamps"]) ?? {}),
    compression: textOrNull(wire["compression"]),
    custom,
  };
}

/** Returns a time header as text: valid ISO text, or a Date made by typed JSON. Throws InvalidTaskError. */
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
