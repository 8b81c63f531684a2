/**
 * The destination of the producer's messages: a broker connection, or, inside a pool slot, the worker's main
 * isolate.
 */

import type { OutgoingMessage } from "../../transport/mod.ts";
import type { PublishRetryPolicy } from "./send_options.ts";

/** How to retry one batch, if the call says so; otherwise the settings decide. */
export interface PublishOptions {
  readonly retry?: boolean | null | undefined;
  readonly retryPolicy?: PublishRetryPolicy | null | undefined;
  /** True for a single message that a task sends as its last act: a worker may run it itself (App.handOn). */
  readonly handOn?: boolean;
}

/** Publishes encoded messages. */
export interface Publisher {
  /**
   * Publishes a batch in order. Resolves when the broker has confirmed it. Rejects with an operating error
   * (base/errors.ts) after the retries of `task_publish_retry_policy`. A batch that is retried may arrive
   * twice.
   */
  publish(batch: readonly OutgoingMessage[], options?: PublishOptions): Promise<void>;
  /** Closes the connection. Idempotent; never rejects. */
  close(): Promise<void>;
}
