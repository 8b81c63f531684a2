/** Ports for servers that a test starts, and waiting for what another process does. */

/** How long a test waits for what must come: long enough for a machine that is many times slower, and it ends early. */
export const PATIENCE_MS = 120_000;

/** A TCP port of 127.0.0.1 that nothing listens on right now. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

/** Whether something accepts connections on a port of 127.0.0.1. */
export async function answers(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

/**
 * Looks every `everyMs` until `look` gives something truthy, and resolves with that; past `withinMs` it rejects with
 * what was waited for. For what only another process knows: inside one process await a signal.
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
