/** A broken promise between our own parts: a programmer's error, never the world's. */
export class AssertionError extends Error {
  override name = "AssertionError";
}

/** Throws `AssertionError` unless `condition` holds. `must` says what must hold. Stays on in release. */
export function assert(condition: unknown, must: string): asserts condition {
  if (!condition) throw new AssertionError(must);
}
