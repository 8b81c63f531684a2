/** A minimal DER reader for certificates and keys. Source: X.690. */

import { DecodeError } from "../errors.ts";

/** One element: the byte of its tag, and its content as a view of the input. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
}

/** Reads the elements of DER bytes, or of an element's content. Throws DecodeError if they are invalid. */
export function derElements(bytes: Uint8Array): DerElement[] {
  const found: DerElement[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at]!;
    let length = bytes[at + 1] ?? 0x80;
    at += 2;
    if (length >= 0x80) {
      const digits = length & 0x7f;
      if (digits === 0 || digits > 4) throw new DecodeError("Cannot decode DER: a length is wrong");
      length = 0;
      for (let n = 0; n < digits; n++) length = length * 256 + (bytes[at + n] ?? 0);
      at += digits;
    }
    if (at + length > bytes.length) throw new DecodeError("Cannot decode DER: its end is missing");
    found.push({ tag, content: bytes.subarray(at, at + length) });
    at += length;
  }
  return found;
}

/** Returns the number in an INTEGER's content, which is two's complement of any size. */
export function derInteger(content: Uint8Array): bigint {
  let value = 0n;
  for (const byte of content) value = value * 256n + BigInt(byte);
  return content.length > 0 && content[0]! >= 0x80 ? value - (1n << BigInt(8 * content.length)) : value;
}
