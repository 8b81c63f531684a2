/** Stores and compares secrets: passwords hashed with scrypt, tokens with SHA-256, and signed texts. */

import { nodeCrypto } from "../../base/mod.ts";

/** Cost of new hashes: 2^15 rounds of 8 blocks, 32 MiB and about 100 ms. */
const LOG_N = 15, BLOCKS = 8, LANES = 1;
const HASH_BYTES = 32;
const SALT_BYTES = 16;
const MEMORY_MAX = 256 << 20;

/** Returns the hash of a password in passlib's format: `$scrypt$ln=15,r=8,p=1$salt$hash`. */
export async function hashPassword(password: string): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES));
  const hash = await derive(password, salt, { logN: LOG_N, blocks: BLOCKS, lanes: LANES, bytes: HASH_BYTES });
  return `$scrypt$ln=${LOG_N},r=${BLOCKS},p=${LANES}$${plain(salt)}$${plain(hash)}`;
}

/** Returns true for a text in the format of `hashPassword`. */
export function isHashed(text: string): boolean {
  return SHAPE.test(text);
}

/** Returns true if a password matches a hash, or a plain password. Takes equally long if not. */
export async function isPassword(password: string, known: string): Promise<boolean> {
  const found = SHAPE.exec(known);
  if (found === null) return isSame(password, known);
  const [, logN, blocks, lanes, salt, hash] = found;
  const wanted = bytesOf(hash!);
  const parameters = {
    logN: Number(logN),
    blocks: Number(blocks),
    lanes: Number(lanes),
    bytes: wanted.length,
  };
  const derived = await derive(password, bytesOf(salt!), parameters);
  return nodeCrypto().timingSafeEqual(derived, wanted);
}

/** Compares two texts in a time that does not depend on where they differ. */
export function isSame(a: string, b: string): boolean {
  return nodeCrypto().timingSafeEqual(digest(a), digest(b));
}

/** Returns the SHA-256 in hexadecimal. */
export function sha256(text: string): string {
  return nodeCrypto().createHash("sha256").update(text).digest("hex");
}

/** Returns 32 random bytes in base64url. */
export function randomText(): string {
  return inUrl(crypto.getRandomValues(new Uint8Array(32)));
}

/** Decodes the `user:password` of a basic authorization header; null if it is not base64. */
export function readBasic(value: string): string | null {
  try {
    return new TextDecoder().decode(Uint8Array.fromBase64(value));
  } catch {
    return null; // a malformed header
  }
}

/** Signs and verifies texts kept in cookies. */
export class Signer {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  /** Returns the text with its signature. A text signed for one `use` is not valid for another. */
  sign(use: string, text: string): string {
    const body = inUrl(new TextEncoder().encode(text));
    return `${body}.${this.#mac(use, body)}`;
  }

  /** Returns the text that was signed; null if the signature is not valid. */
  read(use: string, signed: string): string | null {
    const dot = signed.indexOf(".");
    if (dot < 0) return null;
    const body = signed.slice(0, dot);
    return isSame(signed.slice(dot + 1), this.#mac(use, body))
      ? new TextDecoder().decode(Uint8Array.fromBase64(body, { alphabet: "base64url" }))
      : null;
  }

  #mac(use: string, body: string): string {
    return nodeCrypto().createHmac("sha256", this.#key).update(`${use}.${body}`).digest("base64url");
  }
}

const SHAPE = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z\d.+/]+)\$([A-Za-z\d.+/]+)$/;

function digest(text: string): Uint8Array {
  return nodeCrypto().createHash("sha256").update(text).digest();
}

/** Encodes to passlib's base64: no padding, a dot instead of the plus. */
function plain(bytes: Uint8Array): string {
  return bytes.toBase64({ omitPadding: true }).replaceAll("+", ".");
}

/** Decodes the text of `plain`. A surplus last character is ignored: it cannot encode a byte. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const whole = text.length % 4 === 1 ? text.slice(0, -1) : text;
  return Uint8Array.fromBase64(whole.replaceAll(".", "+"));
}

/** Encodes to base64url without padding. */
function inUrl(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

function derive(
  password: string,
  salt: Uint8Array,
  { logN, blocks, lanes, bytes }: { logN: number; blocks: number; lanes: number; bytes: number },
): Promise<Uint8Array> {
  const options = { N: 2 ** logN, r: blocks, p: lanes, maxmem: MEMORY_MAX };
  return new Promise((resolve, reject) => {
    nodeCrypto().scrypt(
      password,
      salt,
      bytes,
      options,
      (error, key) => error === null ? resolve(key) : reject(error),
    );
  });
}
