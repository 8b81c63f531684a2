/**
 * Task messages: Celery's protocol 2 both ways, protocol 1 both ways, and the hybrid of the two inwards.
 *
 * Everything that routing and scheduling need sits in headers; the body (`[args, kwargs, embed]`) is decoded only
 * where the task runs.
 *
 * Source: celery 5.6.3 app/amqp.py as_task_v2, as_task_v1; worker/strategy.py hybrid_to_proto2, proto1_to_proto2.
 */

import { compress, decompress } from "./compressor.ts";
import { bodyBytes, bodyData, encodeBody } from "./envelope.ts";
import { EncodeError, InvalidTaskError } from "./errors.ts";
import { isoMs, toJson } from "./json_types.ts";
import type { EncodedMessage, TaskBody, TaskEmbed, TaskHeaders, WireSignature } from "./message.ts";
import { argsRepr, kwargsRepr, pythonRepr } from "./python_repr.ts";
import { kindOf, recordOrNull, setOwn } from "./record.ts";
import { type Accept, deserialize, JSON_TYPE, serialize } from "./serializer.ts";
import { toPythonIso } from "./times.ts";

/** A task to be sent. What is left out gets Celery's default. Times are ISO 8601 text; limits are seconds. */
export interface TaskToSend {
  task: string;
  id: string;
  args: unknown[];
  kwargs: Record<string, unknown>;
  shadow?: string | null;
  eta?: string | null;
  expires?: string | null;
  group?: string | null;
  groupIndex?: number | null;
  /** Default 0. */
  retries?: number;
  timeLimit?: number | null;
  softTimeLimit?: number | null;
  /** Default: the task's own id. */
  rootId?: string | null;
  parentId?: string | null;
  /** Default: the arguments as Python prints a tuple. */
  argsrepr?: string | null;
  kwargsrepr?: string | null;
  /** `gen<pid>@<hostname>` of the sender. */
  origin: string | null;
  ignoreResult?: boolean;
  replacedTaskNesting?: number;
  stampedHeaders?: string[] | null;
  stamps?: Record<string, unknown>;
  /** The caller's own headers; they win over the standard ones. */
  custom?: Record<string, unknown> | null;
  embed?: Partial<TaskEmbed>;
  /** Where rpc results go; "" where unknown. */
  replyTo: string | null;
  priority: number;
  deliveryMode: 1 | 2;
  /** Milliseconds as text. */
  expiration?: string | null;
}

/** How to encode a task. */
export interface TaskEncoding {
  /** A serializer's name, loaded. */
  serializer: string;
  /** A compressor's name, or null. */
  compression: string | null;
  protocol: 1 | 2;
  /** "base64" for virtual transports, "none" for AMQP. */
  bodyEncoding: "base64" | "none";
}

/** A message of protocol 1 (or a hybrid) in the terms of protocol 2. */
export interface DecodedProtocol1 {
  headers: TaskHeaders;
  body: TaskBody;
  /** True: `eta` and `expires` without offset are UTC. */
  utc: boolean;
}

const EMPTY_EMBED_JSON = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}';

/**
 * The message of a task, ready for a transport. Throws EncodeError where an argument cannot be carried.
 * Cost: per message; about 2 µs for a small task in JSON.
 */
export function encodeTaskMessage(task: TaskToSend, options: TaskEncoding): EncodedMessage {
  if (options.protocol === 1) return encodeProtocol1(task, options);
  const { args, kwargs } = task;
  if (!Array.isArray(args)) throw new EncodeError("Cannot encode task: args must be an array");
  if (typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs)) {
    throw new EncodeError("Cannot encode task: kwargs must be an object");
  }
  const headers: Record<string, unknown> = {
    lang: "py",
    task: task.task,
    id: task.id,
    shadow: task.shadow ?? null,
    eta: task.eta ?? null,
    expires: task.expires ?? null,
    group: task.group ?? null,
    group_index: task.groupIndex ?? null,
    retries: task.retries ?? 0,
    timelimit: [task.timeLimit ?? null, task.softTimeLimit ?? null],
    root_id: task.rootId ?? task.id,
    parent_id: task.parentId ?? null,
    argsrepr: task.argsrepr ?? argsRepr(args),
    kwargsrepr: task.kwargsrepr ?? kwargsRepr(kwargs),
    origin: task.origin,
    ignore_result: task.ignoreResult ?? false,
    replaced_task_nesting: task.replacedTaskNesting ?? 0,
    stamped_headers: task.stampedHeaders ?? null,
    stamps: task.stamps ?? {},
  };
  const { custom } = task;
  if (custom) {
    for (const key of Object.keys(custom)) setOwn(headers, key, custom[key]);
  }
  if (options.serializer === "json" && options.compression === null) {
    const embed = task.embed ? toJson(wholeEmbed(task.embed)) : EMPTY_EMBED_JSON;
    const text = "[" + toJson(args) + "," + toJson(kwargs) + "," + embed + "]";
    return finish(
      task,
      headers,
      encodeBody(text, options.bodyEncoding),
      options.bodyEncoding,
      JSON_TYPE,
      "utf-8",
    );
  }
  return encodeOther(task, headers, [args, kwargs, wholeEmbed(task.embed ?? {})], options);
}

/**
 * The headers of a protocol 2 message in our names; every one but `task` and `id` may be missing. Null: there is no
 * header `task`, so it is protocol 1 or no task at all (`decodeProtocol1`). Throws InvalidTaskError where a header is
 * ill-typed or a time is none. Cost: per message received.
 */
export function decodeTaskHeaders(message: EncodedMessage): TaskHeaders | null {
  const wire = message.headers;
  const task = wire["task"];
  if (task === undefined || task === null) return null;
  return headersFromWire(wire, task);
}

/**
 * A task's arguments. Throws ContentDisallowed (type not in `accept`), DecodeError (base64, compression, serializer)
 * or InvalidTaskError (not `[args, kwargs, embed]`). Cost: per message run.
 */
export function decodeTaskBody(message: EncodedMessage, accept: Accept): TaskBody {
  const value = decodePayload(message, accept);
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
 * A message of protocol 1, or a hybrid (header `task`, but an object with `args` as body; headers win over it).
 * Null: neither, an unknown message. Throws as `decodeTaskBody`.
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
  const compression = message.headers["compression"];
  const data = typeof compression === "string" && compression !== ""
    ? decompress(bodyBytes(message), compression)
    : bodyData(message);
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

/** The headers of protocol 2, and two that transports and old versions add; all others are the caller's own. */
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
  embed.chain = signatures(record["chain"], "chain");
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

function wholeEmbed(embed: Partial<TaskEmbed>): TaskEmbed {
  return {
    callbacks: embed.callbacks ?? null,
    errbacks: embed.errbacks ?? null,
    chain: embed.chain ?? null,
    chord: embed.chord ?? null,
  };
}

function encodeProtocol1(task: TaskToSend, options: TaskEncoding): EncodedMessage {
  const group = task.group ?? null;
  const body = {
    task: task.task,
    id: task.id,
    args: task.args,
    kwargs: task.kwargs,
    group,
    group_index: task.groupIndex ?? null,
    retries: task.retries ?? 0,
    eta: task.eta ?? null,
    expires: task.expires ?? null,
    utc: true,
    callbacks: task.embed?.callbacks ?? null,
    errbacks: task.embed?.errbacks ?? null,
    timelimit: [task.timeLimit ?? null, task.softTimeLimit ?? null],
    taskset: group,
    chord: task.embed?.chord ?? null,
  };
  const headers: Record<string, unknown> = {};
  const { custom } = task;
  if (custom) {
    for (const key of Object.keys(custom)) setOwn(headers, key, custom[key]);
  }
  return encodeOther(task, headers, body, options);
}

function encodeOther(
  task: TaskToSend,
  headers: Record<string, unknown>,
  value: unknown,
  options: TaskEncoding,
): EncodedMessage {
  const serialized = serialize(value, options.serializer);
  let { body } = serialized;
  if (options.compression !== null) {
    const packed = compress(
      typeof body === "string" ? new TextEncoder().encode(body) : body,
      options.compression,
    );
    body = packed.body;
    headers["compression"] = packed.type;
  }
  return finish(
    task,
    headers,
    encodeBody(body, options.bodyEncoding),
    options.bodyEncoding,
    serialized.contentType,
    serialized.contentEncoding,
  );
}

function finish(
  task: TaskToSend,
  headers: Record<string, unknown>,
  body: string | Uint8Array,
  bodyEncoding: "base64" | "none",
  contentType: string,
  contentEncoding: string,
): EncodedMessage {
  return {
    body,
    bodyEncoding,
    contentType,
    contentEncoding,
    headers,
    properties: {
      correlationId: task.id,
      replyTo: task.replyTo ?? "",
      deliveryMode: task.deliveryMode,
      priority: task.priority,
      expiration: task.expiration ?? null,
      rest: null,
    },
  };
}
