/**
 * The `msgpack` serializer: texts and bytes kept apart, integers up to 64 bits, no dates.
 *
 * Source: kombu 5.6.2 serialization.py register_msgpack (use_bin_type, strict keys).
 */

import { Decoder, Encoder, ExtensionCodec } from "@msgpack/msgpack";
import type { Codec } from "./serializer.ts";
import { plainTree, settleDecoded } from "./plain_tree.ts";

const extensions = new ExtensionCodec();
const encoder = new Encoder({ extensionCodec: extensions, useBigInt64: true, maxDepth: 1002 });
const decoder = new Decoder({ extensionCodec: extensions, useBigInt64: true });

/** msgpack, loaded by `loadSerializer`. */
export const MSGPACK: Codec = {
  name: "msgpack",
  contentType: "application/x-msgpack",
  contentEncoding: "binary",
  encode(value: unknown): Uint8Array {
    const tree = plainTree(value, { format: "msgpack", dates: false, sets: false, bigintBits: 64 });
    return encoder.encode(widenIntegers(tree));
  },
  decode(body: Uint8Array | string): unknown {
    return settleDecoded(decoder.decode(typeof body === "string" ? new TextEncoder().encode(body) : body));
  },
};

/**
 * Whole numbers beyond 32 bits as bigint: with 64-bit integers on, the library writes such numbers as floats.
 */
function widenIntegers(value: unknown): unknown {
  if (typeof value === "number") {
    const isWide = Number.isSafeInteger(value) && (value > 0xffff_ffff || value < -0x8000_0000);
    return isWide ? BigInt(value) : value;
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) value[n] = widenIntegers(value[n]);
    return value;
  }
  const record = value as Record<string, unknown>;
  for (const key of Object.keys(record)) {
    const item = record[key];
    const wide = widenIntegers(item);
    if (wide !== item) record[key] = wide;
  }
  return value;
}
