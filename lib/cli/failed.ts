/**
 * `lovage failed list|show|retry|drop`: tasks that failed for good, kept by Lovage's workers (`failed_keep`).
 * A retried task is sent with its original message, a new id and a retry count of 0.
 */

import { UsageError } from "../base/mod.ts";
import { decodeEnvelope, DecodeError, parseIso, resendEnvelope } from "../wire/mod.ts";
import { type LetterKind, lettersCommand } from "./letters.ts";

/** The kind of letters; `lovage dead` looks them up too. */
export const FAILED: LetterKind = {
  name: "failed",
  noun: "failed task",
  retried: "Sent again:",
  open({ world }, { failedTasks, transport }) {
    if (failedTasks === undefined) {
      throw new UsageError(`Cannot read failed tasks: ${transport} keeps none`);
    }
    return {
      count: () => failedTasks.count(),
      list: (limit) => failedTasks.list(limit),
      async retry(task, queueName) {
        const { body, headers } = decodeEnvelope(task.envelope).message;
        if (body.length === 0) {
          throw new UsageError(
            `Cannot send failed task ${task.id} again: its message was longer than failed_keep allows, so its ` +
              "arguments were not kept",
          );
        }
        const { envelope, id } = resendEnvelope(task.envelope, () => world.random.id());
        if (!await failedTasks.retry(task, queueName, envelope)) return false;
        if (isExpired(headers["expires"], world.clock.wallMs())) {
          world.terminal.err(`Warning: workers will discard it: it expired at ${headers["expires"]}\n`);
        }
        return { taskId: id };
      },
      drop: (task) => failedTasks.drop(task),
    };
  },
};

/** The command. */
export const failed = lettersCommand(FAILED, []);

function isExpired(expires: unknown, nowMs: number): boolean {
  if (typeof expires !== "string") return false;
  try {
    return parseIso(expires) < nowMs;
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}
