/** DER, as far as certificates and keys need it: what an element is and what it holds. Source: X.690. */

import { DecodeError } from "../errors.ts";

/** One element: its tag's byte, and what it holds, a view of the bytes it was read from. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
}

/** The elements of a text of DER, or of an element's content. Throws DecodeError for what is not one. */
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

/** The number of an INTEGER's content: two's complement of any size. */
export function derInteger(content: Uint8Array): bigint {
  let value = 0n;
  for (const byte of content) value = value * 256n + BigInt(byte);
  return content.length > 0 && content[0]! >= 0x80 ? value - (1n << BigInt(8 * content.length)) : value;
}
