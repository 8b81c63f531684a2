/**
 * Base64 of bodies, both ways, by the shortest road for what a body mostly is: ASCII JSON.
 *
 * Measured for an 81-character body: `btoa` 0.15 µs against 0.9 µs through a TextEncoder; `atob` 0.2 µs
 * against 0.8.
 */

import { DecodeError } from "./errors.ts";

const ENCODER = new TextEncoder();
const SCRATCH = new Uint8Array(16 * 1024);
/** From here on the encoder's road is the shorter one: for 33,000 characters 10 µs against 130. */
const LONG = 1024;

/** True where UTF-8 and Latin-1 agree on the text. */
function isAscii(text: string): boolean {
  if (text.length <= SCRATCH.length) return ENCODER.encodeInto(text, SCRATCH).written === text.length;
  for (let at = 0; at < text.length; at += SCRATCH.length) {
    const part = text.slice(at, at + SCRATCH.length);
    if (ENCODER.encodeInto(part, SCRATCH).written !== part.length) return false;
  }
  return true;
}

/** Base64 of the UTF-8 bytes of `text`. */
export function textToBase64(text: string): string {
  if (text.length > LONG || !isAscii(text)) return ENCODER.encode(text).toBase64();
  return btoa(text);
}

/** The bytes that standard base64 text stands for. Missing padding is let pass. Throws DecodeError. */
export function base64ToBytes(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    throw new DecodeError("Cannot decode body: wrong base64");
  }
}

/**
 * The text that base64 of ASCII text stands for, or null where the bytes are not ASCII. Throws DecodeError.
 */
export function base64ToAscii(text: string): string | null {
  let latin: string;
  try {
    latin = atob(text);
  } catch {
    throw new DecodeError("Cannot decode body: wrong base64");
  }
  return isAscii(latin) ? latin : null;
}
