/** Task ids as the database stores them: a UUID as 16 bytes, any other id as text. */

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Returns the stored form of an id. */
export function packId(id: string): Uint8Array | string {
  if (!UUID.test(id)) return id;
  return Uint8Array.fromHex(id.replaceAll("-", ""));
}

/** Returns the id of a stored form; null for null. */
export function unpackId(stored: unknown): string | null {
  if (typeof stored === "string") return stored;
  if (!(stored instanceof Uint8Array)) return null;
  const hex = stored.toHex();
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  return parts.join("-");
}

/**
 * Returns the range of stored UUIDs that begin with `prefix`: from the first, up to but not including the
 * second. Null if no UUID begins so.
 */
export function prefixRange(prefix: string): [Uint8Array, Uint8Array] | null {
  const hex = prefix.toLowerCase().replaceAll("-", "");
  if (!/^[0-9a-f]{1,31}$/.test(hex) || !UUID.test(`${prefix.toLowerCase()}${ZERO.slice(prefix.length)}`)) {
    return null;
  }
  const from = Uint8Array.fromHex(hex.padEnd(32, "0"));
  // One byte longer than an id, so that the highest id is below it.
  const to = new Uint8Array(17);
  to.set(Uint8Array.fromHex(hex.padEnd(32, "f")));
  return [from, to];
}

const ZERO = "00000000-0000-0000-0000-000000000000";
