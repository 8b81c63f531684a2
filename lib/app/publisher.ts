/**
 * Where the producer's messages go: a broker connection, or, inside a pool slot, the worker's main isolate.
 */

import type { OutgoingMessage } from "../transport/mod.ts";

/** Takes encoded messages. */
export interface Publisher {
  /**
   * Publishes a batch in order; resolves when the broker has it. Rejects with an operating error (base/errors.ts)
   * after the retries of `task_publish_retry_policy`.
   */
  publish(batch: readonly OutgoingMessage[]): Promise<void>;
  close(): Promise<void>;
}
