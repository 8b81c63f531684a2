/** Free ports for servers that a test starts, and waiting for what another process does. */

/**
 * How long a test waits for an expected event: enough for a machine that is many times slower. The wait ends
 * early.
 */
export const PATIENCE_MS = 120_000;

/** The lowest port given out here: all have five digits, as the file has them. */
const FIRST_PORT = 10_000;
/** The file with the port that was given out last, shared by all test processes of this user. It stays. */
const LAST_PORT_FILE = `${Deno.env.get("TMPDIR") ?? "/tmp"}/lovage-test-port-${Deno.uid()}`;

/**
 * Returns a TCP port of 127.0.0.1 on which nothing listens, for a server that is started soon. Until then nothing else
 * takes it: the system does not give it out by itself, and other test processes get the ports after it.
 */
export function freePort(): number {
  using file = Deno.openSync(LAST_PORT_FILE, { read: true, write: true, create: true, mode: 0o600 });
  file.lockSync(true);
  const bytes = new Uint8Array(5);
  const last = file.readSync(bytes) === 5 ? Number(new TextDecoder().decode(bytes)) : FIRST_PORT;
  const end = firstOfSystem();
  let port = last;
  do {
    port = port + 1 < end ? port + 1 : FIRST_PORT;
    if (port === last) throw new Error(`no port from ${FIRST_PORT} to ${end - 1} is free`);
  } while (!isFree(port));
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(String(port)));
  return port;
}

/** The first port that the system gives out by itself, to clients and for port 0. */
function firstOfSystem(): number {
  try {
    return Number(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range").split(/\s/)[0]);
  } catch {
    return 32_768;
  }
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
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
