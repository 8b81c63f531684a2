/**
 * The `cbor` serializer: ours between our own processes; Celery has none. Dates, bytes and big integers
 * travel.
 */

import { Encoder } from "cbor-x";
import type { Codec } from "./serializer.ts";
import { plainTree, settleDecoded } from "./plain_tree.ts";

const cbor = new Encoder({ useRecords: false, mapsAsObjects: true, tagUint8Array: false });

/** cbor, loaded by `loadSerializer`. */
export const CBOR: Codec = {
  name: "cbor",
  contentType: "application/cbor",
  contentEncoding: "binary",
  encode(value: unknown): Uint8Array {
    const tree = plainTree(value, { format: "cbor", dates: true, sets: false, bigintBits: 0 });
    // The library's buffer is reused for the next value: the body must be its own.
    return new Uint8Array(cbor.encode(tree));
  },
  decode(body: Uint8Array | string): unknown {
    return settleDecoded(cbor.decode(typeof body === "string" ? new TextEncoder().encode(body) : body));
  },
};
