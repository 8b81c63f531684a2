/**
 * Mingle: shares revoked ids and clocks with the workers that already run.
 *
 * Celery's worker waits a second here. This one asks, continues, and merges each reply when it comes.
 *
 * Source: celery 5.2.6 worker/consumer/mingle.py; protocol.md 7.1.
 */

import { errorText, logFrom, shownLine } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import { Mailbox } from "../../mailbox/mod.ts";
import type { Connection } from "../../transport/mod.ts";
import { mergeRevoked, revokedToWire } from "../control/revoked_wire.ts";
import type { Consumer } from "./consumer.ts";

/** The logger that Celery uses for these lines. */
const FROM = { logger: "celery.worker.consumer.mingle" };

/** How long to wait for another reply, after the last one. */
const TIMEOUT_MS = 1000;

/** The step. */
export class MingleStep extends StartStopStep<Consumer> {
  readonly name = "Mingle";
  override readonly requires = ["Events"];
  override readonly conditional = true;
  #asking: AbortController | null = null;
  /** Resolves when the replies of the last start are merged; for tests. */
  done: Promise<void> = Promise.resolve();

  override isIncluded(consumer: Consumer): boolean {
    return consumer.worker.options.withMingle;
  }

  override start(consumer: Consumer): void {
    const { connection, worker } = consumer;
    logFrom(worker.world.log, FROM).info("mingle: searching for neighbors");
    if (connection === null) return;
    this.#asking = new AbortController();
    this.done = this.#sync(consumer, connection, this.#asking.signal);
  }

  override async stop(): Promise<void> {
    this.#asking?.abort(new Error("the worker is stopping"));
    this.#asking = null;
    await this.done;
  }

  async #sync(consumer: Consumer, connection: Connection, abort: AbortSignal): Promise<void> {
    const { app, hostname, revoked, support, world } = consumer.worker;
    const log = logFrom(world.log, FROM);
    const mailbox = new Mailbox(world, connection, { settings: support.mailbox, clock: app.clock });
    let count = 0;
    try {
      await mailbox.ask({
        command: "hello",
        arguments: { from_node: hostname, revoked: revokedToWire(world, revoked) },
        timeoutMs: TIMEOUT_MS,
        abort,
        onReply: (node, reply) => {
          // This worker receives its own request, and replies null.
          if (node === hostname || reply === null) return;
          count++;
          log.debug(`mingle: processing reply from ${shownLine(node, 200)}`);
          try {
            this.#merge(consumer, reply);
          } catch (error) {
            log.error(
              `mingle: sync with ${shownLine(node, 200)} failed: ${shownLine(errorText(error), 200)}`,
            );
          }
        },
      });
      if (count === 0) return log.info("mingle: all alone");
      log.info(`mingle: sync with ${count} nodes`);
      log.info("mingle: sync complete");
    } catch (error) {
      // A lost connection is handled by the consumer, which starts again and mingles again.
      if (!abort.aborted && !consumer.isLost) log.warning(`Cannot mingle: ${errorText(error)}`);
    } finally {
      await mailbox.close().catch((error: unknown) => log.debug(`mingle: ${errorText(error)}`));
    }
  }

  #merge(consumer: Consumer, reply: unknown): void {
    const { app, world } = consumer.worker;
    if (typeof reply !== "object" || Array.isArray(reply)) throw new TypeError("the reply is not an object");
    const { clock, revoked } = reply as { clock?: unknown; revoked?: unknown };
    if (typeof clock === "number" && Number.isSafeInteger(clock) && clock > 0) app.clock.adjust(clock);
    else app.clock.forward();
    mergeRevoked(world, consumer.worker.revoked, revoked);
  }
}
