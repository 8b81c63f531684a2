/** Python's truth of values. Source: Python's truth value testing. */

/**
 * Returns true if Python's `if value:` would: programs send 1, "yes" or a list for true, and 0, "" or null
 * for false.
 */
export function isTruthy(value: unknown): boolean {
  switch (typeof value) {
    case "object":
      if (value === null) return false;
      if (Array.isArray(value) || value instanceof Uint8Array) return value.length > 0;
      return Object.getPrototypeOf(value) !== Object.prototype || Object.keys(value).length > 0;
    case "number":
      // NaN is true.
      return value !== 0;
    default:
      return Boolean(value);
  }
}
