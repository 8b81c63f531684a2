/**
 * A cache of short texts: names of headers, tasks and hosts occur again and again. A text is found by its
 * bytes instead of being decoded again. The dozens of names in a message are found by their order, which is
 * the same as in the previous message.
 *
 * The bytes lie next to each other in one buffer: after idle time the processor's caches are cold, and each
 * reference that is followed waits for memory.
 */

const SLOTS = 2048;
/** Texts of up to this many bytes are kept. */
const KNOWN_BYTES_MAX = 32;
/** ASCII texts of up to this many bytes are read without the decoder. */
const ASCII_BYTES_MAX = 256;

const looseUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** The cache. A new text replaces an older one with the same hash. */
export class KnownTexts {
  readonly #texts: string[] = new Array(SLOTS).fill("");
  readonly #lengths = new Uint8Array(SLOTS);
  readonly #bytes = new Uint8Array(SLOTS * KNOWN_BYTES_MAX);
  /** For each name's slot: the slot of the name that followed it last time. */
  readonly #next = new Uint16Array(SLOTS);
  /** The slot of the last name. */
  #last = 0;

  /** Returns the text of some bytes; only short texts are kept. Bytes that are not UTF-8 are replaced. */
  text(bytes: Uint8Array, at: number, length: number): string {
    if (length > KNOWN_BYTES_MAX) return looseText(bytes, at, length);
    return this.#texts[this.#slotOf(bytes, at, length)]!;
  }

  /** Like `text`, for ASCII only; null for any other text, or one that is too long. */
  ascii(bytes: Uint8Array, at: number, length: number): string | null {
    if (length > KNOWN_BYTES_MAX) return asciiText(bytes, at, length);
    for (let i = at; i < at + length; i++) if (bytes[i]! > 127) return null;
    return this.text(bytes, at, length);
  }

  /** Like `text`, for the names of a table in order. */
  name(bytes: Uint8Array, at: number, length: number): string {
    if (length > KNOWN_BYTES_MAX) return looseText(bytes, at, length);
    let slot = this.#next[this.#last]!;
    if (!this.#holds(slot, bytes, at, length)) {
      slot = this.#slotOf(bytes, at, length);
      this.#next[this.#last] = slot;
    }
    this.#last = slot;
    return this.#texts[slot]!;
  }

  #slotOf(bytes: Uint8Array, at: number, length: number): number {
    let hash = length;
    for (let i = at; i < at + length; i++) hash = (hash * 31 + bytes[i]!) | 0;
    const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
    if (!this.#holds(slot, bytes, at, length)) {
      this.#texts[slot] = looseText(bytes, at, length);
      this.#lengths[slot] = length;
      const start = slot * KNOWN_BYTES_MAX;
      for (let i = 0; i < length; i++) this.#bytes[start + i] = bytes[at + i]!;
    }
    return slot;
  }

  #holds(slot: number, bytes: Uint8Array, at: number, length: number): boolean {
    if (this.#lengths[slot] !== length) return false;
    const own = this.#bytes;
    const start = slot * KNOWN_BYTES_MAX;
    for (let i = 0; i < length; i++) if (own[start + i] !== bytes[at + i]) return false;
    return true;
  }
}

/** Decodes a text; bytes that are not UTF-8 are replaced. */
function looseText(bytes: Uint8Array, at: number, length: number): string {
  return asciiText(bytes, at, length) ?? looseUtf8.decode(bytes.subarray(at, at + length));
}

/**
 * Reads up to `ASCII_BYTES_MAX` bytes of ASCII (ids, names, the body of a small call); null if the text is
 * longer or not ASCII. Takes half the time of the decoder.
 */
export function asciiText(b: Uint8Array, at: number, length: number): string | null {
  if (length > ASCII_BYTES_MAX) return null;
  const end = at + length;
  let all = 0;
  for (let i = at; i < end; i++) all |= b[i]!;
  if (all > 127) return null;
  const from = String.fromCharCode;
  let text = "";
  let i = at;
  // Nine at a time: the engine makes one short string of them, so that fewer strings are joined.
  for (; i + 9 <= end; i += 9) {
    text += from(
      b[i]!,
      b[i + 1]!,
      b[i + 2]!,
      b[i + 3]!,
      b[i + 4]!,
      b[i + 5]!,
      b[i + 6]!,
      b[i + 7]!,
      b[i + 8]!,
    );
  }
  let rest = "";
  for (; i < end; i++) rest += from(b[i]!);
  return text + rest;
}
