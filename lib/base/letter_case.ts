/**
 * Converts names between JavaScript's spelling (`rateLimit`), Python's (`rate_limit`) and that of options
 * (`--rate-limit`).
 */

/** Returns `rateLimit` for `rate_limit`. */
export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Returns `rate_limit` for `rateLimit`. */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Returns the option `--rate-limit` for `rateLimit` or `rate_limit`. */
export function longName(name: string): string {
  return `--${snakeCase(name).replaceAll("_", "-")}`;
}
