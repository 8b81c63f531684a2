/** The error of a failed assertion: a programmer's error, never caused by input or by a server. */
export class AssertionError extends Error {
  override name = "AssertionError";
}

/**
 * Throws `AssertionError` unless `condition` holds. `must` names the condition that must hold. Also checked
 * in released builds.
 */
export function assert(condition: unknown, must: string): asserts condition {
  if (!condition) throw new AssertionError(must);
}
