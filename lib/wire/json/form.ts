/** Finds objects that no serializer can represent: written as their fields, they would be lost. */

/** What to use instead of some classes. */
const INSTEAD: Readonly<Record<string, string>> = {
  Map: "use a plain object",
  Set: "use an array",
  Promise: "await it",
  Response: "await its json() or text()",
  Request: "await its json() or text()",
  Blob: "await its bytes()",
  File: "await its bytes()",
  Headers: "use Object.fromEntries",
  FormData: "use Object.fromEntries",
  URLSearchParams: "use Object.fromEntries",
};

/**
 * Returns the kind of an object that would be lost silently; null for an array, a record, or an instance of a
 * class with enumerable fields. Check for `toJSON` first. Throws what the object throws when it is read.
 */
export function lostKind(value: object): string | null {
  if (value instanceof Error) return `an error (${value.name})`;
  if (value instanceof RegExp) return "a RegExp";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return `${value.constructor.name} (use Uint8Array)`;
  }
  const isLost = value instanceof Map || value instanceof Set || value instanceof Promise ||
    value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef ||
    value instanceof EventTarget;
  return isLost || isHollow(value) ? nameOf(value) : null;
}

/** Returns true for boxed values such as `new Number(1)`, which stand for the result of `valueOf`. */
export function isBoxed(value: object): boolean {
  return value instanceof Number || value instanceof String || value instanceof Boolean ||
    value instanceof BigInt;
}

/** Returns true for an object that is not a record and has no field that could be written. */
function isHollow(value: object): boolean {
  if (Array.isArray(value) || Object.keys(value).length > 0) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  const isRecord = prototype === Object.prototype || prototype === null;
  // Math, JSON and similar objects have the prototype of a record.
  return !isRecord || (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] !== undefined;
}

function nameOf(value: object): string {
  const tag = Object.prototype.toString.call(value).slice("[object ".length, -1);
  if (tag === "Object") {
    const name: unknown = value.constructor?.name;
    return `an instance of ${typeof name === "string" && name !== "" ? name : "a class"} ` +
      "that has no enumerable fields and no toJSON()";
  }
  const instead = Object.hasOwn(INSTEAD, tag)
    ? INSTEAD[tag]!
    : /Generator|Iterator/.test(tag)
    ? "use an array"
    : "it has no JSON form";
  return `${/^[AEIO]/.test(tag) ? "an" : "a"} ${tag} (${instead})`;
}
