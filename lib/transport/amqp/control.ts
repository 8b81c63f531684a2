/**
 * A channel for declaring, asking and deleting: one operation after the other, since an error ends the
 * channel for all. The next operation opens a lost channel again.
 */

import type { AmqpChannel, AmqpConnection } from "../../amqp/mod.ts";
import { AccessRefused } from "../../base/mod.ts";
import type { Exchange, Queue } from "../entity.ts";
import type { AmqpServer } from "./server.ts";

/** The control channel of one connection. */
export class AmqpControl {
  #connection: AmqpConnection;
  #channel: AmqpChannel | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(connection: AmqpConnection) {
    this.#connection = connection;
  }

  /**
   * Runs `fn` when all earlier operations have ended, and again with a new login, as `withLogin` does.
   * Rejects as `fn` does.
   */
  run<T>(fn: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const result = this.#last.then(() =>
      withLogin(this.#connection, async () => {
        if (this.#channel === null || this.#channel.isLost) {
          this.#channel = await this.#connection.openChannel();
        }
        return await fn(this.#channel);
      })
    );
    this.#last = result.catch(() => {
      // The caller gets the error.
    });
    return result;
  }
}

/**
 * Runs an operation. If the server refuses it and the login rotates, the login is renewed and the operation
 * runs once more: a token may have expired before the next one came. Rejects as `run` does, or as the
 * renewal.
 */
export async function withLogin<T>(connection: AmqpConnection, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof AccessRefused) || connection.renewLogin === null) throw error;
    await connection.renewLogin();
    return await run();
  }
}

/**
 * Declares an exchange, unless the server has it already: "" and `amq.*`. Rejects with the server's refusal.
 */
export async function declareExchange(channel: AmqpChannel, exchange: Exchange): Promise<void> {
  if (exchange.name === "" || exchange.name.startsWith("amq.") || exchange.noDeclare) return;
  await channel.call("exchange.declare", {
    exchange: exchange.name,
    type: exchange.type,
    durable: exchange.durable,
    "auto-delete": exchange.autoDelete,
    arguments: exchange.arguments,
  }, `declare exchange "${exchange.name}"`);
}

/**
 * Counts the messages that wait in a queue, and its consumers. Rejects with ServerError 404 if there is no
 * such queue.
 */
export async function inspectQueue(
  channel: AmqpChannel,
  name: string,
): Promise<{ ready: number; consumers: number }> {
  const args = { queue: name, passive: true };
  const answer = await channel.call("queue.declare", args, `look at queue "${name}"`);
  return { ready: answer["message-count"] as number, consumers: answer["consumer-count"] as number };
}

/**
 * Declares exchange, queue and binding as `server` shapes them, in one write; resolves with the number of
 * waiting messages. A `noDeclare` queue is only looked up. Rejects with the server's refusal, and with
 * UsageError for arguments that the server no longer supports.
 */
export async function declareQueue(channel: AmqpChannel, given: Queue, server: AmqpServer): Promise<number> {
  if (given.noDeclare) return (await inspectQueue(channel, given.name)).ready;
  const queue = server.shaped(given);
  try {
    return await declareShaped(channel, queue);
  } catch (error) {
    throw server.refused(queue, error);
  }
}

async function declareShaped(channel: AmqpChannel, queue: Queue): Promise<number> {
  const { exchange, name } = queue;
  const [, declared] = await Promise.all([
    declareExchange(channel, exchange),
    channel.call("queue.declare", {
      queue: name,
      durable: queue.durable,
      exclusive: queue.exclusive,
      "auto-delete": queue.autoDelete,
      arguments: queue.queueArguments,
    }, `declare queue "${name}"`),
    exchange.name === "" ? null : channel.call("queue.bind", {
      queue: name,
      exchange: exchange.name,
      "routing-key": queue.routingKey,
      arguments: queue.bindingArguments,
    }, `bind queue "${name}" to exchange "${exchange.name}"`),
  ]);
  return declared["message-count"] as number;
}
