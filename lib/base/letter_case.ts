/** Converts names between JavaScript's spelling (`rateLimit`) and Python's (`rate_limit`). */

/** Returns `rateLimit` for `rate_limit`. */
export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Returns `rate_limit` for `rateLimit`. */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
