/** Free ports for servers that a test starts, and waiting for what another process does. */

/**
 * How long a test waits for an expected event: enough for a machine that is many times slower. The wait ends
 * early.
 */
export const PATIENCE_MS = 120_000;

/** Returns a TCP port of 127.0.0.1 on which nothing listens now. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

/** Whether a port of 127.0.0.1 accepts connections. */
export async function answers(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

/**
 * Calls `look` every `everyMs` until it returns something truthy, and resolves with that; after `withinMs` it
 * rejects with `what`. For changes that only another process knows; inside one process await a signal.
 */
export async function eventually<T>(
  look: () => T | Promise<T>,
  what: string | (() => string),
  { withinMs = PATIENCE_MS, everyMs = 5 } = {},
): Promise<NonNullable<T>> {
  const end = performance.now() + withinMs;
  for (;;) {
    const got = await look();
    if (got) return got;
    if (performance.now() > end) {
      throw new Error(`within ${withinMs} ms not: ${typeof what === "string" ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
