/**
 * Short texts read before: names of headers, tasks and hosts come again and again. One is found by its bytes and not
 * made anew; a message's dozens of names are found by their order, which is that of the message before.
 *
 * The bytes lie side by side in one buffer: a worker that was idle finds nothing in the processor's caches, and every
 * object to be followed is a wait for memory.
 */

const SLOTS = 2048;
/** Texts of up to so many bytes are kept. */
const KNOWN_BYTES_MAX = 32;
/** Texts up to this are read without the decoder where they are ASCII. */
const ASCII_BYTES_MAX = 256;

const looseUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** The table. A newer text takes the place of an older one whose hash is the same. */
export class KnownTexts {
  readonly #texts: string[] = new Array(SLOTS).fill("");
  readonly #lengths = new Uint8Array(SLOTS);
  readonly #bytes = new Uint8Array(SLOTS * KNOWN_BYTES_MAX);
  /** The slot of the name that came after a name the last time. */
  readonly #next = new Uint16Array(SLOTS);
  /** The slot of the name read last. */
  #last = 0;

  /** The text of some bytes; longer ones are not kept. Bytes that are not UTF-8 are replaced. */
  text(bytes: Uint8Array, at: number, length: number): string {
    if (length > KNOWN_BYTES_MAX) return looseText(bytes, at, length);
    return this.#texts[this.#slotOf(bytes, at, length)]!;
  }

  /** As `text` where it is ASCII alone; null: other text, or one too long to be read here. */
  ascii(bytes: Uint8Array, at: number, length: number): string | null {
    if (length > KNOWN_BYTES_MAX) return asciiText(bytes, at, length);
    for (let i = at; i < at + length; i++) if (bytes[i]! > 127) return null;
    return this.text(bytes, at, length);
  }

  /** As `text`, for the names of a table, one after the other. */
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

/** A text; bytes that are not UTF-8 are replaced. */
function looseText(bytes: Uint8Array, at: number, length: number): string {
  return asciiText(bytes, at, length) ?? looseUtf8.decode(bytes.subarray(at, at + length));
}

/**
 * A text of up to `ASCII_BYTES_MAX` bytes of ASCII alone (ids, names, the body of a small call); null: it is longer, or
 * other text. Half the cost of the decoder.
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
  // A call for nine: the engine makes one short text of them, and fewer to be joined.
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
