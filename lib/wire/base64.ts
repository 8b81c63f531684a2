/**
 * Encodes and decodes bodies in base64, in the fastest way for the usual body, which is ASCII JSON.
 *
 * Measured for an 81-character body: `btoa` 0.15 µs against 0.9 µs through a TextEncoder; `atob` 0.2 µs
 * against 0.8.
 */

import { DecodeError } from "./errors.ts";

const ENCODER = new TextEncoder();
const SCRATCH = new Uint8Array(16 * 1024);
/** From this length on the TextEncoder is faster: for 33,000 characters 10 µs against 130. */
const LONG = 1024;

/** Returns true if the text is ASCII, so that UTF-8 and Latin-1 are the same. */
function isAscii(text: string): boolean {
  if (text.length <= SCRATCH.length) return ENCODER.encodeInto(text, SCRATCH).written === text.length;
  for (let at = 0; at < text.length; at += SCRATCH.length) {
    const part = text.slice(at, at + SCRATCH.length);
    if (ENCODER.encodeInto(part, SCRATCH).written !== part.length) return false;
  }
  return true;
}

/** Returns the base64 of the UTF-8 bytes of `text`. */
export function textToBase64(text: string): string {
  if (text.length > LONG || !isAscii(text)) return ENCODER.encode(text).toBase64();
  return btoa(text);
}

/** Returns the bytes of standard base64 text. Padding may be missing. Throws DecodeError. */
export function base64ToBytes(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    throw new DecodeError("Cannot decode body: invalid base64");
  }
}

/** Returns the text of base64, or null if its bytes are not ASCII. Throws DecodeError. */
export function base64ToAscii(text: string): string | null {
  let latin: string;
  try {
    latin = atob(text);
  } catch {
    throw new DecodeError("Cannot decode body: invalid base64");
  }
  return isAscii(latin) ? latin : null;
}
