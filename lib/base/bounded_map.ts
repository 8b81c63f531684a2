/** Bounds for maps and sets: the oldest entry is forgotten. */

/** Removes the oldest entry if there are more than `max`. To be called after each addition. */
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
