/** Ids of tasks as the database keeps them: a UUID in its 16 bytes, anything else as text. */

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** An id as it is stored. */
export function packId(id: string): Uint8Array | string {
  if (!UUID.test(id)) return id;
  return Uint8Array.fromHex(id.replaceAll("-", ""));
}

/** The id of what is stored; null for null. */
export function unpackId(stored: unknown): string | null {
  if (typeof stored === "string") return stored;
  if (!(stored instanceof Uint8Array)) return null;
  const hex = stored.toHex();
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  return parts.join("-");
}

/**
 * The span of stored ids that begin like a UUID's beginning: from the first, up to but not including the second. Null
 * if nothing that begins so is a UUID.
 */
export function prefixRange(prefix: string): [Uint8Array, Uint8Array] | null {
  const hex = prefix.toLowerCase().replaceAll("-", "");
  if (!/^[0-9a-f]{1,31}$/.test(hex) || !UUID.test(`${prefix.toLowerCase()}${ZERO.slice(prefix.length)}`)) {
    return null;
  }
  const from = Uint8Array.fromHex(hex.padEnd(32, "0"));
  // One byte longer than any, so that the last one is below it.
  const to = new Uint8Array(17);
  to.set(Uint8Array.fromHex(hex.padEnd(32, "f")));
  return [from, to];
}

const ZERO = "00000000-0000-0000-0000-000000000000";
