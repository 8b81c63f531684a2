/**
 * The `cbor` serializer, for our own processes only, since Celery has none. It carries dates, bytes and big
 * integers.
 *
 * The library reads only what `checkCbor` has accepted, so that bytes from outside produce only plain values.
 *
 * Source: RFC 8949.
 */

import { Decoder, Encoder } from "cbor-x";
import { BinaryReader, narrowInteger } from "./binary_reader.ts";
import { checkCbor } from "./cbor_check.ts";
import { DecodeError } from "../errors.ts";
import { plainTree } from "./plain_tree.ts";
import { setOwn } from "../record.ts";
import type { Codec } from "./codec.ts";

const OPTIONS = { useRecords: false, tagUint8Array: false };
const encoder = new Encoder({ ...OPTIONS, mapsAsObjects: true });
// Decoded to maps, since in an object the library would rename the key "__proto__".
const decoder = new Decoder({ ...OPTIONS, mapsAsObjects: false });
const utf8 = new TextEncoder();

/** cbor, loaded by `loadSerializer`. */
export const CBOR: Codec = {
  name: "cbor",
  contentType: "application/cbor",
  contentEncoding: "binary",
  encode(value: unknown): Uint8Array {
    const tree = plainTree(value, {
      format: "cbor",
      dates: true,
      sets: false,
      surrogates: false,
      bigintBits: 0,
    });
    // A copy, since the library reuses its buffer for the next value.
    return new Uint8Array(encoder.encode(tree));
  },
  decode(body: Uint8Array | string): unknown {
    const bytes = typeof body === "string" ? utf8.encode(body) : body;
    const reader = new BinaryReader(bytes, "cbor");
    checkCbor(reader);
    if (reader.left > 0) throw reader.refuse("something follows the value");
    let value: unknown;
    try {
      value = decoder.decode(bytes);
    } catch (cause) {
      throw new DecodeError("Cannot decode cbor", { cause });
    }
    return normalized(value, reader);
  },
};

/**
 * Converts the library's result: maps to records, bytes to copies, undefined to null. Changes arrays in
 * place.
 */
function normalized(value: unknown, reader: BinaryReader): unknown {
  if (value === undefined) return null;
  if (typeof value === "bigint") return narrowInteger(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) value[n] = normalized(value[n], reader);
    return value;
  }
  if (value instanceof Map) {
    const record: Record<string, unknown> = {};
    for (const [key, item] of value) setOwn(record, String(key), normalized(item, reader));
    return record;
  }
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (value instanceof Date && Number.isNaN(value.getTime())) throw reader.refuse("a broken date");
  return value;
}
