/**
 * Encodes task messages: Celery's protocol 2, and protocol 1 for old workers. task_decoder.ts decodes both.
 *
 * Headers have everything that routing and scheduling need. The body (`[args, kwargs, embed]`) is decoded
 * only where the task runs.
 *
 * Source: celery 5.6.3 app/amqp.py as_task_v2, as_task_v1.
 */

import { revived } from "../json/carried.ts";
import { compress } from "../serializer/compressor.ts";
import { encodeBody } from "./envelope.ts";
import { EncodeError } from "../errors.ts";
import { toJson } from "../json/json.ts";
import type { ChainSteps } from "./chain_steps.ts";
import type { EncodedMessage, WireSignature } from "./message.ts";
import { argsRepr, kwargsRepr } from "../python_repr.ts";
import { setOwn } from "../record.ts";
import { JSON_TYPE, serialize } from "../serializer/serializer.ts";

/** The third part of a task's body. */
export interface TaskEmbed {
  callbacks: WireSignature[] | null;
  errbacks: WireSignature[] | null;
  /** The later steps of the task's chain. */
  chain: ChainSteps | null;
  chord: WireSignature | null;
}

/** A task's decoded body. */
export interface TaskBody {
  args: unknown[];
  kwargs: Record<string, unknown>;
  embed: TaskEmbed;
}

/** A task to be sent. Omitted fields get Celery's defaults. Times are ISO 8601 text; limits are seconds. */
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
  /** The sender's name, `gen<pid>@<hostname>`. */
  origin: string | null;
  ignoreResult?: boolean | null;
  replacedTaskNesting?: number;
  stampedHeaders?: string[] | null;
  stamps?: Record<string, unknown>;
  /** The caller's own headers, which override the standard ones. */
  custom?: Record<string, unknown> | null;
  embed?: Partial<TaskEmbed>;
  /** The queue for rpc results; null is sent as "". */
  replyTo: string | null;
  priority: number;
  deliveryMode: 1 | 2;
  /** Milliseconds as text. */
  expiration?: string | null;
}

/** The options for encoding a task. */
export interface TaskEncoding {
  /** The name of a loaded serializer. */
  serializer: string;
  /** The name of a compressor, or null. */
  compression: string | null;
  protocol: 1 | 2;
  /** "base64" for virtual transports, "none" for AMQP. */
  bodyEncoding: "base64" | "none";
}

const EMPTY_EMBED_JSON = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}';

/**
 * Returns the message of a task, ready for a transport. Throws EncodeError if an argument cannot be encoded.
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
    const call = "[" + toJson(args) + "," + toJson(kwargs) + ",";
    const json = task.embed ? withEmbed(call, task.embed) : call + EMPTY_EMBED_JSON + "]";
    return finish(
      task,
      headers,
      encodeBody(json, options.bodyEncoding),
      options.bodyEncoding,
      JSON_TYPE,
      "utf-8",
    );
  }
  return encodeOther(task, headers, [args, kwargs, wholeEmbed(task.embed ?? {})], options);
}

function withEmbed(call: string, embed: Partial<TaskEmbed>): string | Uint8Array {
  if (!embed.chain) return call + toJson(wholeEmbed(embed)) + "]";
  const { callbacks, errbacks, chord } = wholeEmbed({ ...embed, chain: null });
  const links = toJson({ callbacks, errbacks }).slice(0, -1);
  return embed.chain.within(`${call}${links},"chain":[`, `],"chord":${toJson(chord)}}]`);
}

function wholeEmbed(embed: Partial<TaskEmbed>): Record<keyof TaskEmbed, unknown> {
  return {
    callbacks: embed.callbacks ?? null,
    errbacks: embed.errbacks ?? null,
    chain: embed.chain?.all() ?? null,
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
  // Only JSON can keep carried values in their form.
  const isJson = options.serializer === "json" || options.serializer === JSON_TYPE;
  const serialized = serialize(isJson ? value : revived(value), options.serializer);
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
