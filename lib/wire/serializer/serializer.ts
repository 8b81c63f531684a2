/**
 * The serializers by name and by content type, and the check that refuses content outside `accept_content`.
 *
 * json and raw are always available. yaml, msgpack and cbor are loaded when they are first named, since most
 * programs do not need them and would start slower. auth also needs keys, which must be offered first
 * (signing.ts). pickle is known by name and refused.
 *
 * Source: kombu 5.6.2 serialization.py SerializerRegistry (dumps, loads), prepare_accept_content.
 */

import { firstLine, nearest, UsageError } from "../../base/mod.ts";
import type { Codec } from "./codec.ts";
import { ContentDisallowed, DecodeError, EncodeError } from "../errors.ts";
import { fromJson } from "../json/reader.ts";
import { toJson } from "../json/json.ts";

/** The accepted content types. */
export type Accept = ReadonlySet<string>;

/** A serialized value with its content type and encoding. */
export interface SerializedBody {
  body: string | Uint8Array;
  contentType: string;
  contentEncoding: string;
}

/** The content type of `json`. */
export const JSON_TYPE = "application/json";
/** The content type of raw data, and of signed messages. */
export const RAW_TYPE = "application/data";
/** Signed messages have the content type of raw data: once keys are loaded, all raw data must be signed. */
const AUTH = "auth";
const PICKLE_TYPE = "application/x-python-serialize";
/** The length of a library's reason in our errors, characters. */
const REASON_CHARS_MAX = 200;

const TYPES: Readonly<Record<string, string>> = {
  json: JSON_TYPE,
  yaml: "application/x-yaml",
  msgpack: "application/x-msgpack",
  cbor: "application/cbor",
  raw: RAW_TYPE,
  [AUTH]: RAW_TYPE,
  pickle: PICKLE_TYPE,
};
const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(TYPES).filter(([name]) => name !== AUTH).map(([name, type]) => [type, name]),
);
/** Raw data is accepted regardless of `accept_content`, because it is not decoded. */
const TRUSTED: ReadonlySet<string> = new Set([RAW_TYPE, "application/text"]);

const codecs = new Map<string, Codec>();
const offers = new Map<string, () => Promise<Codec>>();

/**
 * Returns the content types of serializer names or content types. Throws UsageError for an unknown name, with
 * the nearest known one.
 */
export function acceptedTypes(names: readonly string[]): Accept {
  const types = new Set<string>();
  for (const name of names) types.add(name.includes("/") ? name : typeOf(name));
  return types;
}

/** Loads a serializer, unless it is loaded already. Rejects with UsageError for an unknown or refused one. */
export async function loadSerializer(nameOrType: string): Promise<void> {
  const name = nameOf(nameOrType);
  if (isSerializerLoaded(name)) return;
  switch (name) {
    case "yaml":
      return addCodec((await import("./yaml.ts")).YAML);
    case "msgpack":
      return addCodec((await import("./msgpack.ts")).MSGPACK);
    case "cbor":
      return addCodec((await import("./cbor.ts")).CBOR);
    case "pickle":
      throw new UsageError("Cannot use serializer 'pickle': it runs code from the message; use json");
    case AUTH: {
      const load = offers.get(AUTH);
      if (load === undefined) {
        throw new UsageError("Serializer 'auth' has no keys: call app.setupSecurity() after the settings");
      }
      return addCodec(await load());
    }
  }
  typeOf(nameOrType);
}

/** Registers the function that loads a serializer. A serializer loaded before under this name is dropped. */
export function offerSerializer(name: string, load: () => Promise<Codec>): void {
  offers.set(name, load);
  codecs.delete(name);
}

/** Returns the content type and encoding of a serializer's output, by its name or content type. */
export function contentOf(nameOrType: string): [type: string, encoding: string] {
  const name = nameOf(nameOrType);
  const type = Object.hasOwn(TYPES, name) ? TYPES[name]! : nameOrType;
  return [type, name === "msgpack" || name === "cbor" ? "binary" : "utf-8"];
}

/** Returns true if `serialize` and `deserialize` can use the serializer now. */
export function isSerializerLoaded(nameOrType: string): boolean {
  const name = nameOf(nameOrType);
  return name === "json" || name === "raw" || codecs.has(name);
}

/**
 * Serializes a value: to text for json and yaml, to bytes for msgpack and cbor; raw takes text or bytes as
 * they are. Throws EncodeError, whose text names the value and the reason.
 */
export function serialize(value: unknown, name: string): SerializedBody {
  if (name === "json" || name === JSON_TYPE) {
    return { body: toJson(value), contentType: JSON_TYPE, contentEncoding: "utf-8" };
  }
  const known = nameOf(name);
  if (known === "raw") return serializeRaw(value);
  const codec = codecs.get(known);
  if (!codec) throw new EncodeError(notLoadedText("encode", known));
  try {
    const body = codec.encode(value);
    return { body, contentType: codec.contentType, contentEncoding: codec.contentEncoding };
  } catch (error) {
    if (error instanceof EncodeError) throw error;
    throw new EncodeError(`Cannot encode ${known}: ${reasonOf(error)}`, { cause: error });
  }
}

/**
 * Returns the value of a serialized body. Text or bytes of an accepted content type without a serializer, and
 * of an empty one, are returned as raw data. Throws ContentDisallowed for a content type outside `accept`,
 * before any byte is read, and DecodeError for an unreadable body. Source: kombu serialization.py loads.
 */
export function deserialize(
  body: Uint8Array | string,
  contentType: string,
  contentEncoding: string,
  accept: Accept,
): unknown {
  refuseContent(contentType, contentEncoding, accept);
  const type = contentType === "" ? RAW_TYPE : contentType;
  if (type === JSON_TYPE) return fromJson(typeof body === "string" ? body : utf8Text(body));
  const name = codecName(type);
  const codec = name === undefined ? undefined : codecs.get(name);
  if (codec) {
    try {
      return codec.decode(body);
    } catch (error) {
      if (error instanceof DecodeError) throw error;
      throw new DecodeError(`Cannot decode ${codec.name}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  }
  return typeof body === "string" ? body : decodeRaw(body, contentEncoding);
}

/**
 * Throws what `deserialize` would throw for any body of this content type and encoding: ContentDisallowed, or
 * DecodeError if no serializer can read it. To be called before a body is unpacked, so that refused content
 * causes no work.
 */
export function refuseContent(contentType: string, contentEncoding: string, accept: Accept): void {
  const type = contentType === "" ? RAW_TYPE : contentType;
  if (!accept.has(type) && !TRUSTED.has(type)) throw disallowed(type);
  if (type === JSON_TYPE) return;
  const name = codecName(type);
  if (name === "pickle") throw disallowed(type);
  if (name === undefined || name === "raw") rawDecoder(contentEncoding);
  else if (!codecs.has(name)) throw new DecodeError(notLoadedText("decode", name));
}

function codecName(type: string): string | undefined {
  return type === RAW_TYPE && codecs.has(AUTH) ? AUTH : NAMES.get(type);
}

/** Registers a loaded serializer. */
function addCodec(codec: Codec): void {
  codecs.set(codec.name, codec);
}

/** Returns the text of UTF-8 bytes. Throws DecodeError if they are not UTF-8. */
export function utf8Text(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new DecodeError("Cannot decode body: not UTF-8");
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function serializeRaw(value: unknown): SerializedBody {
  if (typeof value === "string") return { body: value, contentType: RAW_TYPE, contentEncoding: "utf-8" };
  if (value instanceof Uint8Array) return { body: value, contentType: RAW_TYPE, contentEncoding: "binary" };
  throw new EncodeError(
    `Cannot encode raw: neither text nor bytes but ${value === null ? "null" : typeof value}`,
  );
}

function decodeRaw(body: Uint8Array, contentEncoding: string): unknown {
  const decoder = rawDecoder(contentEncoding);
  if (decoder === null || body.length === 0) return body;
  try {
    return decoder.decode(body);
  } catch {
    throw new DecodeError(`Cannot decode body: not ${decoder.encoding}`);
  }
}

/**
 * Returns the decoder of raw text; null for bytes, which stay as they are. Throws DecodeError for an unknown
 * encoding.
 */
function rawDecoder(contentEncoding: string): TextDecoder | null {
  const encoding = contentEncoding === "" ? "utf-8" : contentEncoding.toLowerCase();
  if (encoding === "binary" || encoding === "ascii-8bit") return null;
  try {
    return new TextDecoder(encoding, { fatal: true });
  } catch {
    throw new DecodeError(`Cannot decode body: unknown content encoding "${encoding.slice(0, 50)}"`);
  }
}

function nameOf(nameOrType: string): string {
  return NAMES.get(nameOrType) ?? nameOrType;
}

function typeOf(name: string): string {
  const known = nameOf(name);
  if (Object.hasOwn(TYPES, known)) return TYPES[known]!;
  const near = nearest(name, Object.keys(TYPES).filter((one) => one !== "pickle"));
  throw new UsageError(`Unknown serializer "${name}"${near === null ? "" : `; did you mean "${near}"?`}`);
}

function disallowed(type: string): ContentDisallowed {
  const name = NAMES.get(type);
  const shown = type.slice(0, 100);
  return new ContentDisallowed(
    `Refusing to deserialize untrusted content of type ${name === undefined ? shown : `${name} (${shown})`}`,
  );
}

function notLoadedText(verb: string, name: string): string {
  return Object.hasOwn(TYPES, name)
    ? `Cannot ${verb} ${name}: this serializer is not loaded`
    : `Cannot ${verb}: unknown serializer "${name}"`;
}

/** Returns why a library cannot encode or decode, on one line. */
function reasonOf(error: unknown): string {
  return firstLine(error).slice(0, REASON_CHARS_MAX);
}
