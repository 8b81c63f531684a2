/**
 * The step of remote control: listens to the control exchange on a subscription of its own, apart from the
 * data lane.
 *
 * Source: celery 5.2.6 worker/consumer/control.py, worker/pidbox.py; kombu 5.2.4 pidbox.py Node.listen.
 */

import { assert } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import { mailboxSettings, replyExchange, requestQueue } from "../../mailbox/mod.ts";
import type { Connection, Subscription } from "../../transport/mod.ts";
import { Panel } from "../control/panel.ts";
import type { Consumer } from "./consumer.ts";

/** Answers remote commands, unless `worker_enable_remote_control` is off. */
export class ControlStep extends StartStopStep<Consumer> {
  readonly name = "Control";
  override readonly requires = ["Tasks"];
  #subscription: Subscription | null = null;

  override isIncluded(consumer: Consumer): boolean {
    return consumer.worker.support.app.conf.worker_enable_remote_control;
  }

  override async start(consumer: Consumer): Promise<void> {
    const { connection, worker } = consumer;
    assert(connection, "the Connection step has started");
    const settings = mailboxSettings(worker.support.app.conf);
    const declared = new Set<string>();
    const panel = new Panel(worker, async ({ exchange, routingKey, message }) => {
      if (!declared.has(exchange)) {
        await connection.declareExchange({ ...replyExchange(settings), name: exchange });
        // Limited, since a remote peer may name many.
        if (declared.size < EXCHANGES_MAX) declared.add(exchange);
      }
      await connection.publish([{ exchange, routingKey, message }]);
    });
    this.#subscription = await connection.subscribe(
      requestQueue(worker.hostname, settings),
      (note) => panel.onNote(note),
    );
  }

  override async stop(consumer: Consumer): Promise<void> {
    await this.#close(consumer.connection);
  }

  /** Closes the subscription, after the pool has ended. */
  override async shutdown(consumer: Consumer): Promise<void> {
    await this.#close(consumer.connection);
  }

  async #close(connection: Connection | null): Promise<void> {
    const subscription = this.#subscription;
    this.#subscription = null;
    // If the connection is gone, so is the subscription.
    if (connection !== null) await subscription?.close();
  }
}

const EXCHANGES_MAX = 100;
