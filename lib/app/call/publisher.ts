/**
 * Where the producer's messages go: a broker connection, or, inside a pool slot, the worker's main isolate.
 */

import type { OutgoingMessage } from "../../transport/mod.ts";
import type { PublishRetryPolicy } from "./send_options.ts";

/** How one batch is to be retried, where the call says so; else by the settings. */
export interface PublishOptions {
  readonly retry?: boolean | null | undefined;
  readonly retryPolicy?: PublishRetryPolicy | null | undefined;
  /** One message, by a task that has nothing else to do: a worker may take it into its own hands (App.handOn). */
  readonly handOn?: boolean;
}

/** Takes encoded messages. */
export interface Publisher {
  /**
   * Publishes a batch in order; resolves when the broker has it. Rejects with an operating error
   * (base/errors.ts) after the retries of `task_publish_retry_policy`. A batch that is tried again may
   * arrive twice.
   */
  publish(batch: readonly OutgoingMessage[], options?: PublishOptions): Promise<void>;
  close(): Promise<void>;
}
