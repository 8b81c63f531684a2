/**
 * The connection that tasks come over.
 *
 * Source: celery 5.2.6 worker/consumer/connection.py.
 */

import { ConnectionLost, logFrom } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import type { Connection } from "../../transport/mod.ts";
import type { Consumer } from "./consumer.ts";

/** The logger that Celery uses for these lines. */
const FROM = { logger: "celery.worker.consumer.connection" };

/** Connects, retrying as the settings say. */
export class ConnectionStep extends StartStopStep<Consumer> {
  readonly name = "Connection";

  override async start(consumer: Consumer): Promise<void> {
    const connection = await consumer.takeConnection();
    consumer.connection = connection;
    consumer.connections++;
    logFrom(consumer.worker.world.log, FROM).info(`Connected to ${connection.url}`);
    void connection.lost.then((error) => {
      // Ignore the end of an older connection.
      if (consumer.connection !== connection || error === null) return;
      consumer.lost(error ?? new ConnectionLost("the connection ended"));
    });
  }

  override async stop(consumer: Consumer): Promise<void> {
    // In a shutdown the connection is still needed, to settle what runs. After a loss it is useless.
    if (consumer.isLost) await close(consumer);
  }

  /** Closes the connection, after the pool has ended. */
  override async shutdown(consumer: Consumer): Promise<void> {
    await close(consumer);
  }

  override info(consumer: Consumer): Record<string, unknown> {
    const { connection } = consumer;
    return { broker: connection ? { transport: connection.transport, hostname: connection.url } : "N/A" };
  }
}

async function close(consumer: Consumer): Promise<void> {
  const connection: Connection | null = consumer.connection;
  consumer.connection = null;
  await connection?.close();
}
