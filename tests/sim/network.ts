/**
 * A network in memory, on a fake clock and seeded randomness: bytes arrive late, in pieces and in order.
 * Connections can be cut (bytes in transit may still arrive), stall silently, and end with their process.
 */

import {
  type ByteStream,
  type Clock,
  ConnectionLost,
  type Dialer,
  DialError,
  type Disarm,
  type Random,
} from "../../lib/base/mod.ts";
import { DoubleClient, type RedisDouble } from "./redis_double.ts";

/** How long bytes are in transit, milliseconds. */
const LATENCY_MIN_MS = 0.1;
const LATENCY_SPREAD_MS = 2;

/** The network of one simulation. */
export class Network {
  isUp = true;
  readonly links = new Set<Link>();
  #armed = new Set<Disarm>();
  #clock: Clock;
  #random: Random;
  #server: RedisDouble;

  constructor(clock: Clock, random: Random, server: RedisDouble) {
    this.#clock = clock;
    this.#random = random;
    this.#server = server;
  }

  /** Returns the dialer of one node. */
  dialer(node: string): Dialer {
    return {
      dial: async (_address, { timeoutMs }) => {
        await this.#clock.sleep(this.latency());
        if (!this.isUp && node !== "producer") {
          throw new DialError("Cannot connect to redis: refused", { isRetryable: true });
        }
        void timeoutMs;
        const link = new Link(this, node, this.#clock, this.#random, this.#server);
        this.links.add(link);
        return link;
      },
    };
  }

  /** Calls `fn` once at a time of the clock. */
  arm(atMs: number, fn: () => void): void {
    const disarm = this.#clock.arm(atMs, () => {
      this.#armed.delete(disarm);
      fn();
    });
    this.#armed.add(disarm);
  }

  /** Drops all bytes in transit. */
  close(): void {
    for (const disarm of this.#armed) disarm();
    this.#armed.clear();
  }

  latency(): number {
    return LATENCY_MIN_MS + this.#random.fraction() * LATENCY_SPREAD_MS;
  }

  /** Returns every open link of a node; null: of all workers. */
  of(node: string | null): Link[] {
    return [...this.links].filter((link) => node === null ? link.node !== "producer" : link.node === node);
  }
}

/** One connection. */
export class Link implements ByteStream {
  readonly node: string;
  #network: Network;
  #clock: Clock;
  #random: Random;
  #server: RedisDouble;
  #client: DoubleClient;
  #arrived: Uint8Array[] = [];
  #reader:
    | { buffer: Uint8Array; resolve: (count: number | null) => void; reject: (error: Error) => void }
    | null = null;
  #upAtMs = 0;
  #downAtMs = 0;
  /** Each timer takes the oldest piece: timers of a real clock may be late, but bytes stay in order. */
  #underWay: { up: Uint8Array[]; down: Uint8Array[] } = { up: [], down: [] };
  #isStalled = false;
  /** The client side is closed. */
  #isClosed = false;
  /** The server side is closed. */
  #isForgotten = false;

  constructor(network: Network, node: string, clock: Clock, random: Random, server: RedisDouble) {
    this.node = node;
    this.#network = network;
    this.#clock = clock;
    this.#random = random;
    this.#server = server;
    this.#client = new DoubleClient(server, (bytes) => this.#down(bytes));
    server.clients.add(this.#client);
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new ConnectionLost("the connection is closed"));
      this.#reader = { buffer, resolve, reject };
      this.#hand();
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) throw new ConnectionLost("the connection is closed");
    this.#up(bytes.slice());
    await Promise.resolve();
  }

  /** Closes the client's side; bytes that were written may still arrive at the server. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#network.links.delete(this);
    const reader = this.#reader;
    this.#reader = null;
    reader?.reject(new ConnectionLost("the connection is closed"));
    const atMs = Math.max(this.#upAtMs, this.#clock.monoMs()) + this.#network.latency();
    this.#network.arm(atMs, () => this.#forget());
  }

  /** Cuts the connection for both sides. `arrives`: bytes in transit to the server still arrive. */
  cut(arrives: boolean): void {
    if (!arrives) this.#forget();
    const reader = this.#reader;
    this.#reader = null;
    this.close();
    reader?.reject(new ConnectionLost("reset by peer"));
  }

  get isStalled(): boolean {
    return this.#isStalled;
  }

  /** Carries nothing any more, without an error on either side. */
  stall(): void {
    this.#isStalled = true;
  }

  #forget(): void {
    this.#isForgotten = true;
    this.#server.clients.delete(this.#client);
  }

  #up(bytes: Uint8Array): void {
    if (this.#isStalled) return;
    for (const piece of this.#pieces(bytes)) {
      this.#upAtMs = Math.max(this.#upAtMs, this.#clock.monoMs() + this.#network.latency());
      this.#underWay.up.push(piece);
      this.#network.arm(this.#upAtMs, () => {
        const next = this.#underWay.up.shift()!;
        if (!this.#isForgotten && !this.#isStalled) this.#client.feed(next);
      });
    }
  }

  #down(bytes: Uint8Array): void {
    if (this.#isStalled) return;
    for (const piece of this.#pieces(bytes)) {
      this.#downAtMs = Math.max(this.#downAtMs, this.#clock.monoMs() + this.#network.latency());
      this.#underWay.down.push(piece);
      this.#network.arm(this.#downAtMs, () => {
        const next = this.#underWay.down.shift()!;
        if (this.#isClosed || this.#isStalled) return;
        this.#arrived.push(next);
        this.#hand();
      });
    }
  }

  #pieces(bytes: Uint8Array): Uint8Array[] {
    if (bytes.length < 2 || this.#random.fraction() < 0.8) return [bytes];
    const at = 1 + this.#random.u32() % (bytes.length - 1);
    return [bytes.subarray(0, at), bytes.subarray(at)];
  }

  #hand(): void {
    const reader = this.#reader;
    const piece = this.#arrived[0];
    if (reader === null || piece === undefined) return;
    this.#reader = null;
    const count = Math.min(piece.length, reader.buffer.length);
    reader.buffer.set(piece.subarray(0, count));
    if (count < piece.length) this.#arrived[0] = piece.subarray(count);
    else this.#arrived.shift();
    reader.resolve(count);
  }
}
