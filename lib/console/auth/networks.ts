/** Networks in CIDR notation, for trusted proxies. */

import { UsageError } from "../../base/mod.ts";

/** A set of networks, such as `10.0.0.0/8, ::1`. */
export class Networks {
  readonly #all: readonly { readonly bits: bigint; readonly length: number; readonly size: number }[];

  /** Throws UsageError for a text that is not a network. */
  constructor(texts: readonly string[]) {
    this.#all = texts.map((text) => {
      const [address = "", length] = text.trim().split("/");
      const bits = bitsOf(address);
      const size = bits?.size ?? 0;
      const prefix = length === undefined ? size : Number(length);
      if (bits === null || !Number.isInteger(prefix) || prefix < 0 || prefix > size) {
        throw new UsageError(`Cannot use "${text}" as a network: write it like 10.0.0.0/8 or ::1`);
      }
      return { bits: bits.value, length: prefix, size };
    });
  }

  /** Returns true if an address is in one of the networks. */
  has(address: string): boolean {
    const bits = bitsOf(address);
    if (bits === null) return false;
    return this.#all.some(({ bits: network, length, size }) =>
      size === bits.size && network >> BigInt(size - length) === bits.value >> BigInt(size - length)
    );
  }
}

function bitsOf(text: string): { readonly value: bigint; readonly size: number } | null {
  // A dual-stack socket reports IPv4 addresses as ::ffff:1.2.3.4.
  const address = text.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) {
    if (address.split(".").some((part) => Number(part) > 255)) return null;
    return { value: address.split(".").reduce((sum, part) => sum << 8n | BigInt(part), 0n), size: 32 };
  }
  if (!address.includes(":") || !URL.canParse(`http://[${address}]/`)) return null;
  const [head = "", tail] = address.split("::");
  const words = (part: string) => part === "" ? [] : part.split(":");
  const front = words(head), back = tail === undefined ? [] : words(tail);
  const zeros = tail === undefined ? [] : new Array<string>(8 - front.length - back.length).fill("0");
  const all = [...front, ...zeros, ...back];
  return { value: all.reduce((sum, word) => sum << 16n | BigInt(`0x${word}`), 0n), size: 128 };
}
