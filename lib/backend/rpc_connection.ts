/** The broker as `rpc://` sees it. The app provides it, so that this room does not depend on transports. */

import type { DeliveryInfo, EncodedMessage } from "../wire/mod.ts";

/** A queue as a connection declares it; transport's Queue. */
export interface RpcQueue {
  readonly name: string;
  readonly exchange: {
    readonly name: string;
    readonly type: "direct";
    readonly durable: boolean;
    readonly autoDelete: boolean;
    readonly arguments: Readonly<Record<string, unknown>>;
  };
  readonly routingKey: string;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly noAck: boolean;
  readonly queueArguments: Readonly<Record<string, unknown>>;
  readonly bindingArguments: Readonly<Record<string, unknown>>;
  readonly consumerArguments: Readonly<Record<string, unknown>>;
  readonly alias: string | null;
}

/** The part of a broker connection that results need; a transport's Connection implements it. */
export interface RpcConnection {
  readonly lost: Promise<Error | null>;
  publish(
    batch: readonly {
      readonly exchange: string;
      readonly routingKey: string;
      readonly message: EncodedMessage;
    }[],
  ): Promise<void>;
  subscribe(
    queue: RpcQueue,
    onNote: (note: { readonly message: EncodedMessage; readonly info: DeliveryInfo }) => void,
  ): Promise<{ close(): Promise<void> }>;
  close(): Promise<void>;
}

/** Options of `rpc://`, which the app provides. */
export interface RpcOptions {
  /** Opens one connection to the app's broker, or rejects; called again after a loss. */
  connect(): Promise<RpcConnection>;
  /** `result_persistent`. */
  readonly isPersistent: boolean;
}
