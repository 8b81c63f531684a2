/**
 * Encodes Redis commands as RESP arrays of bulk strings, appended directly to an outbox.
 *
 * Source: Redis serialization protocol specification, "Sending commands to a Redis server".
 */

import { Outbox } from "../../base/mod.ts";

/**
 * One argument of a command. Texts are sent as UTF-8, a list of texts as one argument, and numbers in
 * decimal, as JavaScript writes them.
 */
export type RespArg = string | readonly string[] | number | Uint8Array | EncodedArgs;

/** Several encoded arguments, which can be used in several commands. */
export class EncodedArgs {
  readonly count: number;
  readonly bytes: Uint8Array;

  /** `count` is the number of arguments in `bytes`. */
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
 * Appends one command; its name is the first argument. Data lane: once per command; allocates no array and
 * keeps no reference to `args`.
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
 * Encodes the arguments `<prefix><number>`, one for each number. The prefix must be ASCII, the numbers whole
 * and not negative. Data lane: once per message; creates no strings.
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
  // The length in bytes precedes the text. Space is reserved as if the text were ASCII. If the length then
  // has more digits, which is rare, the text is moved.
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
