/**
 * Redis commands as bytes: RESP arrays of bulk strings, appended straight to an outbox.
 *
 * Source: Redis serialization protocol specification, "Sending commands to a Redis server".
 */

import type { Outbox } from "../base/mod.ts";

/**
 * One argument of a command. Texts travel as UTF-8, those in parts as one; numbers in decimal, as JavaScript writes
 * them.
 */
export type RespArg = string | readonly string[] | number | Uint8Array;

const CR = 13;
const LF = 10;
const ARRAY = 42;
const BULK = 36;

/**
 * Appends one command, its name first. Data lane: per command; no array is made and nothing is kept of `args`.
 */
export function encodeCommand(outbox: Outbox, args: readonly RespArg[]): void {
  outbox.byte(ARRAY);
  outbox.decimal(args.length);
  outbox.byte(CR);
  outbox.byte(LF);
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (typeof arg === "string") encodeText(outbox, arg, null);
    else if (typeof arg === "number") encodeText(outbox, String(arg), null);
    else if (arg instanceof Uint8Array) encodeBytes(outbox, arg);
    else encodeText(outbox, "", arg);
  }
}

function encodeText(outbox: Outbox, text: string, parts: readonly string[] | null): void {
  // The length goes before the text and counts bytes. Room is left for it as if the text were ASCII, and moved by
  // a digit in the rare case that this was wrong.
  let length = text.length;
  if (parts !== null) { for (let i = 0; i < parts.length; i++) length += parts[i]!.length; }
  const guess = digitsOf(length);
  const at = outbox.skip(guess + 3);
  let written = outbox.text(text);
  if (parts !== null) { for (let i = 0; i < parts.length; i++) written += outbox.text(parts[i]!); }
  const digits = written === length ? guess : digitsOf(written);
  if (digits !== guess) outbox.shift(at + guess + 3, digits - guess);
  outbox.writeByte(at, BULK);
  outbox.writeDecimal(at + 1, written, digits);
  outbox.writeByte(at + 1 + digits, CR);
  outbox.writeByte(at + 2 + digits, LF);
  outbox.byte(CR);
  outbox.byte(LF);
}

function encodeBytes(outbox: Outbox, bytes: Uint8Array): void {
  outbox.byte(BULK);
  outbox.decimal(bytes.length);
  outbox.byte(CR);
  outbox.byte(LF);
  outbox.bytes(bytes);
  outbox.byte(CR);
  outbox.byte(LF);
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let bound = 10; bound <= value; bound *= 10) digits++;
  return digits;
}
