/**
 * Redis commands as bytes: RESP arrays of bulk strings, appended straight to an outbox.
 *
 * Source: Redis serialization protocol specification, "Sending commands to a Redis server".
 */

import { Outbox } from "../../base/mod.ts";

/**
 * One argument of a command. Texts travel as UTF-8, those in parts as one; numbers in decimal, as JavaScript writes
 * them.
 */
export type RespArg = string | readonly string[] | number | Uint8Array | EncodedArgs;

/** Several arguments, encoded once for every command that has them. */
export class EncodedArgs {
  readonly count: number;
  readonly bytes: Uint8Array;

  /** `count`: how many arguments `bytes` are. */
  constructor(count: number, bytes: Uint8Array) {
    this.count = count;
    this.bytes = bytes;
  }
}

const CR = 13;
const LF = 10;
const ARRAY = 42;
const BULK = 36;

/**
 * Appends one command, its name first. Data lane: per command; no array is made and nothing is kept of `args`.
 */
export function encodeCommand(outbox: Outbox, args: readonly RespArg[]): void {
  outbox.byte(ARRAY);
  let count = args.length;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg instanceof EncodedArgs) count += arg.count - 1;
  }
  outbox.decimal(count);
  outbox.byte(CR);
  outbox.byte(LF);
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (typeof arg === "string") encodeText(outbox, arg, null);
    else if (typeof arg === "number") encodeText(outbox, String(arg), null);
    else if (arg instanceof Uint8Array) encodeBytes(outbox, arg);
    else if (arg instanceof EncodedArgs) outbox.bytes(arg.bytes);
    else encodeText(outbox, "", arg);
  }
}

const scratch = new Outbox();

/**
 * The arguments `<prefix><number>`, one for each number. The prefix is ASCII, the numbers whole from 0. Data lane: per
 * message; no text is made of any of them.
 */
export function numberedArgs(prefix: string, numbers: readonly number[]): EncodedArgs {
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i]!;
    scratch.byte(BULK);
    scratch.decimal(prefix.length + digitsOf(number));
    scratch.byte(CR);
    scratch.byte(LF);
    scratch.text(prefix);
    scratch.decimal(number);
    scratch.byte(CR);
    scratch.byte(LF);
  }
  const view = scratch.take();
  const bytes = view.slice();
  scratch.release(view);
  return new EncodedArgs(numbers.length, bytes);
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
