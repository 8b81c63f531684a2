/** Maps and sets that forget what was added first. */

/** Removes the entry that was added first, if there are more than `max`. Call it after each addition. */
export function forgetOldest<K>(
  collection: { readonly size: number; keys(): Iterable<K>; delete(key: K): boolean },
  max: number,
): void {
  if (collection.size <= max) return;
  for (const oldest of collection.keys()) {
    collection.delete(oldest);
    return;
  }
}
