/**
 * A TCP proxy between us and a real server that a test controls: cut, stall, throttle, delay, refuse.
 *
 *     await using proxy = startProxy(redis.port);
 *     connect(`redis://127.0.0.1:${proxy.port}`)
 *     proxy.cut();       // every open connection is reset; new ones are let through
 *     proxy.stall();     // open connections stay open and carry nothing any more, as if the machine were gone
 */

/** Direction of bytes: from client to server, from server to client, or both. */
export type Direction = "up" | "down" | "both";

/** A proxy on its own port. */
export interface Proxy extends AsyncDisposable {
  readonly port: number;
  /** Number of open connections. */
  readonly open: number;
  /** Number of connections accepted so far. */
  readonly accepted: number;
  /** Bytes carried so far in each direction. */
  readonly bytes: { readonly up: number; readonly down: number };
  /** Ends every open connection at once on both sides, and returns their number. */
  cut(): number;
  /** Cuts each new connection after that many bytes in that direction; null: no longer. */
  cutAfter(bytes: number | null, direction?: Direction): void;
  /** Drops everything that arrives on the connections open now, until they are cut. No FIN is sent. */
  stall(direction?: Direction): void;
  /** Holds everything back until `resume` passes it on in order. */
  pause(direction?: Direction): void;
  resume(): void;
  /** Limits the bytes per second in each direction; null: no limit. */
  throttle(bytesPerSecond: number | null): void;
  /** Delays each chunk by that many milliseconds, in each direction. */
  delay(ms: number): void;
  /** Closes new connections as soon as they are accepted, until `accept()`. */
  refuse(): void;
  accept(): void;
  /** Connects new connections to another port. */
  redirect(port: number): void;
  /** Resolves when at least that many connections are open. */
  untilOpen(count?: number): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy to a port of 127.0.0.1. */
export function startProxy(targetPort: number): Proxy {
  return new TcpProxy(targetPort);
}

const CHUNK_BYTES = 64 * 1024;

interface Side {
  stalled: boolean;
  carried: number;
}

interface Pair {
  readonly client: Deno.TcpConn;
  server: Deno.TcpConn | null;
  readonly up: Side;
  readonly down: Side;
  isCut: boolean;
}

class TcpProxy implements Proxy {
  readonly port: number;
  accepted = 0;
  readonly bytes = { up: 0, down: 0 };
  #listener: Deno.TcpListener;
  #target: number;
  #pairs = new Set<Pair>();
  #running = new Set<Promise<void>>();
  #cutAfter: { bytes: number; direction: Direction } | null = null;
  #paused: { up: boolean; down: boolean } = { up: false, down: false };
  #wakers: (() => void)[] = [];
  #openWaiters: { count: number; resolve: () => void }[] = [];
  #rate: number | null = null;
  #delayMs = 0;
  #isRefusing = false;
  #isClosed = false;
  #sleeps = new Set<{ timer: ReturnType<typeof setTimeout>; resolve: () => void }>();

  constructor(target: number) {
    this.#target = target;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = (this.#listener.addr as Deno.NetAddr).port;
    this.#track(this.#acceptLoop());
  }

  get open(): number {
    return this.#pairs.size;
  }

  cut(): number {
    const pairs = [...this.#pairs];
    for (const pair of pairs) this.#end(pair);
    return pairs.length;
  }

  cutAfter(bytes: number | null, direction: Direction = "both"): void {
    this.#cutAfter = bytes === null ? null : { bytes, direction };
  }

  stall(direction: Direction = "both"): void {
    for (const pair of this.#pairs) {
      if (direction !== "down") pair.up.stalled = true;
      if (direction !== "up") pair.down.stalled = true;
    }
  }

  pause(direction: Direction = "both"): void {
    if (direction !== "down") this.#paused.up = true;
    if (direction !== "up") this.#paused.down = true;
  }

  resume(): void {
    this.#paused = { up: false, down: false };
    this.#wake();
  }

  throttle(bytesPerSecond: number | null): void {
    this.#rate = bytesPerSecond;
  }

  delay(ms: number): void {
    this.#delayMs = ms;
  }

  refuse(): void {
    this.#isRefusing = true;
  }

  accept(): void {
    this.#isRefusing = false;
  }

  redirect(port: number): void {
    this.#target = port;
  }

  untilOpen(count = 1): Promise<void> {
    if (this.#pairs.size >= count) return Promise.resolve();
    return new Promise((resolve) => this.#openWaiters.push({ count, resolve }));
  }

  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#listener.close();
      this.cut();
      this.#wake();
      for (const { timer, resolve } of this.#sleeps) {
        clearTimeout(timer);
        resolve();
      }
    }
    await Promise.all(this.#running);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #track(running: Promise<void>): void {
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  async #acceptLoop(): Promise<void> {
    for (;;) {
      let client: Deno.TcpConn;
      try {
        client = await this.#listener.accept();
      } catch {
        // The listener is closed.
        return;
      }
      this.accepted++;
      if (this.#isRefusing || this.#isClosed) quietly(() => client.close());
      else this.#track(this.#carry(client));
    }
  }

  async #carry(client: Deno.TcpConn): Promise<void> {
    const pair: Pair = {
      client,
      server: null,
      up: { stalled: false, carried: 0 },
      down: { stalled: false, carried: 0 },
      isCut: false,
    };
    this.#pairs.add(pair);
    try {
      pair.server = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
    } catch {
      // If the server cannot be reached, end the connection.
      return this.#end(pair);
    }
    const { server } = pair;
    if (pair.isCut) return quietly(() => server.close());
    client.setNoDelay(true);
    server.setNoDelay(true);
    this.#openWaiters = this.#openWaiters.filter(({ count, resolve }) => {
      if (this.#pairs.size < count) return true;
      resolve();
      return false;
    });
    await Promise.all([this.#pump(pair, "up", client, server), this.#pump(pair, "down", server, client)]);
    this.#end(pair);
  }

  async #pump(pair: Pair, direction: "up" | "down", from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const buffer = new Uint8Array(CHUNK_BYTES);
    const side = pair[direction];
    try {
      for (;;) {
        const count = await from.read(buffer);
        if (count === null) break;
        if (side.stalled) continue;
        if (this.#delayMs > 0) await this.#sleep(this.#delayMs);
        while (this.#paused[direction] && !pair.isCut) {
          await new Promise<void>((resolve) => this.#wakers.push(resolve));
        }
        if (this.#rate !== null) await this.#sleep(count / this.#rate * 1000);
        if (side.stalled) continue;
        const limit = this.#limitOf(direction) - side.carried;
        const part = buffer.subarray(0, Math.min(count, Math.max(0, limit)));
        for (let at = 0; at < part.length;) at += await to.write(part.subarray(at));
        side.carried += part.length;
        this.bytes[direction] += part.length;
        if (part.length < count) break;
      }
    } catch {
      // If one side is gone, end the other.
    }
    // A stalled connection does not report that its other side has gone.
    if (!side.stalled) this.#end(pair);
  }

  #limitOf(direction: "up" | "down"): number {
    const limit = this.#cutAfter;
    return limit === null || (limit.direction !== "both" && limit.direction !== direction)
      ? Infinity
      : limit.bytes;
  }

  #end(pair: Pair): void {
    if (pair.isCut) return;
    pair.isCut = true;
    this.#pairs.delete(pair);
    quietly(() => pair.client.close());
    quietly(() => pair.server?.close());
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const sleep: { timer: ReturnType<typeof setTimeout>; resolve: () => void } = {
        timer: setTimeout(() => {
          this.#sleeps.delete(sleep);
          resolve();
        }, ms),
        resolve,
      };
      this.#sleeps.add(sleep);
    });
  }
}

function quietly(close: () => void): void {
  try {
    close();
  } catch {
    // closed already
  }
}
