/** Connections over several sockets: lost as soon as one socket is lost, and closed once and in order. */

import { ConnectionLost, UsageError } from "../base/mod.ts";
import type { Consumer, Subscription } from "./transport.ts";

/** One of the sockets. */
interface Socket {
  readonly lost: Promise<Error | null>;
  close(): Promise<unknown>;
}

/** The base of connections over several sockets. */
export abstract class JointConnection {
  readonly lost: Promise<Error | null>;
  protected consumer: (Consumer & { fail(error: Error): void }) | null = null;
  protected readonly subscriptions: Set<Subscription> = new Set();
  #failure: Error | null = null;
  #isClosing = false;
  readonly #resolveLost: (error: Error | null) => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.lost = promise;
    this.#resolveLost = resolve;
  }

  /** Closes every socket; `error`: why the connection ended, or null. */
  protected abstract closeSockets(error: Error | null): Promise<unknown>;

  /** Throws UsageError if there is a consumer already. */
  protected mustHaveNoConsumer(): void {
    if (this.consumer !== null) throw new UsageError("Cannot consume twice on one connection");
  }

  protected get isLost(): boolean {
    return this.#failure !== null;
  }

  /** Watches a socket: if it is lost, the whole connection is. */
  protected watch(socket: Pick<Socket, "lost">): void {
    void socket.lost.then((error) => {
      if (error === null || this.#isClosing || this.#failure !== null) return;
      this.#failure = error;
      void this.#end(error);
    });
  }

  /**
   * Opens one more socket and watches it. If the connection has ended, or ends meanwhile, the new socket is
   * closed: nobody would notice its loss or close it. Rejects with the reason of that end, or as `open` does.
   */
  protected async join<T extends Socket>(open: () => Promise<T>): Promise<T> {
    this.#mustBeOpen();
    const socket = await open();
    try {
      this.#mustBeOpen();
    } catch (error) {
      void socket.close();
      throw error;
    }
    this.watch(socket);
    return socket;
  }

  async close(): Promise<void> {
    if (this.#isClosing) {
      await this.lost;
      return;
    }
    this.#isClosing = true;
    await this.consumer?.close();
    await Promise.all([...this.subscriptions].map((subscription) => subscription.close()));
    await this.#end(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #mustBeOpen(): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#isClosing) throw new ConnectionLost("The connection is closed");
  }

  async #end(error: Error | null): Promise<void> {
    this.#resolveLost(error);
    if (error !== null) this.consumer?.fail(error);
    await this.closeSockets(error);
  }
}
