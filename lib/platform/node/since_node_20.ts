/**
 * Fills in the features of the standard library that this program uses and Node 20 lacks. They are not
 * enumerable, as the standard requires. Existing features are kept.
 */

import { Buffer } from "node:buffer";

type Loose = Record<string, unknown>;

fillIn(Promise as unknown as Loose, "withResolvers", function (this: PromiseConstructor) {
  let resolve: (value: unknown) => void;
  let reject: (reason: unknown) => void;
  const promise = new this((first, second) => {
    resolve = first;
    reject = second;
  });
  return { promise, resolve: resolve!, reject: reject! };
});

fillIn(
  Map as unknown as Loose,
  "groupBy",
  (items: Iterable<unknown>, keyOf: (item: unknown, at: number) => unknown) => {
    const groups = new Map<unknown, unknown[]>();
    let at = 0;
    for (const item of items) {
      const key = keyOf(item, at++);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [item]);
      else group.push(item);
    }
    return groups;
  },
);

const bytes = Uint8Array as unknown as Loose;
const proto = Uint8Array.prototype as unknown as Loose;

fillIn(bytes, "fromBase64", (text: string, options: { alphabet?: "base64" | "base64url" } = {}) => {
  const isUrl = options.alphabet === "base64url";
  const plain = text.replaceAll(/[\t\n\f\r ]/g, "");
  if (
    !(isUrl ? /^[\w-]*={0,2}$/ : /^[A-Za-z0-9+/]*={0,2}$/).test(plain) ||
    plain.replace(/=+$/, "").length % 4 === 1
  ) {
    throw new SyntaxError("Invalid base64");
  }
  return new Uint8Array(Buffer.from(plain, isUrl ? "base64url" : "base64"));
});
fillIn(bytes, "fromHex", (text: string) => {
  if (text.length % 2 !== 0 || !/^[\da-fA-F]*$/.test(text)) throw new SyntaxError("Invalid hexadecimal");
  return new Uint8Array(Buffer.from(text, "hex"));
});
fillIn(proto, "toBase64", function (this: Uint8Array) {
  return Buffer.from(this.buffer, this.byteOffset, this.byteLength).toString("base64");
});
fillIn(proto, "toHex", function (this: Uint8Array) {
  return Buffer.from(this.buffer, this.byteOffset, this.byteLength).toString("hex");
});

fillIn(
  DataView.prototype as unknown as Loose,
  "getFloat16",
  function (this: DataView, at: number, isLittle = false) {
    const bits = this.getUint16(at, isLittle);
    const sign = bits >> 15 === 0 ? 1 : -1;
    const exponent = bits >> 10 & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  },
);

function fillIn(target: Loose, name: string, value: unknown): void {
  if (target[name] !== undefined) return;
  Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
}
