/** What a connection of several sockets is besides: lost if one of them is, and closed once and in order. */

import { UsageError } from "../base/mod.ts";
import type { Consumer, Subscription } from "./transport.ts";

/** The base of such connections. */
export abstract class JointConnection {
  readonly lost: Promise<Error | null>;
  protected consumer: (Consumer & { fail(error: Error): void }) | null = null;
  protected readonly subscriptions: Set<Subscription> = new Set();
  protected isLost = false;
  #isClosing = false;
  readonly #resolveLost: (error: Error | null) => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.lost = promise;
    this.#resolveLost = resolve;
  }

  /** Closes every socket; `error` is what ended the connection, or null. */
  protected abstract closeSockets(error: Error | null): Promise<unknown>;

  /** Throws UsageError if there is a consumer. */
  protected mustHaveNoConsumer(): void {
    if (this.consumer !== null) throw new UsageError("Cannot consume twice on one connection");
  }

  /** If this socket is lost, the whole connection is. */
  protected watch(socket: { readonly lost: Promise<Error | null> }): void {
    void socket.lost.then((error) => {
      if (error === null || this.#isClosing || this.isLost) return;
      this.isLost = true;
      void this.#end(error);
    });
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

  async #end(error: Error | null): Promise<void> {
    this.#resolveLost(error);
    if (error !== null) this.consumer?.fail(error);
    await this.closeSockets(error);
  }
}
