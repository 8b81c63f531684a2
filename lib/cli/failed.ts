/**
 * `lovage failed list|show|retry|drop`: tasks that failed for good, as our workers keep them (`failed_keep`). One that
 * is retried is sent as it came, under an id of its own and with no retries.
 */

import { UsageError } from "../base/mod.ts";
import { decodeEnvelope, DecodeError, parseIso, resendEnvelope } from "../wire/mod.ts";
import { type LetterKind, lettersCommand } from "./letters.ts";

/** The kind, which `lovage dead` looks into as well. */
export const FAILED: LetterKind = {
  name: "failed",
  noun: "failed task",
  retried: "Sent again:",
  open({ world }, { failedTasks, transport }) {
    if (failedTasks === undefined) {
      throw new UsageError(`Cannot look at failed tasks: ${transport} keeps none`);
    }
    return {
      count: () => failedTasks.count(),
      list: (limit) => failedTasks.list(limit),
      async retry(task, queueName) {
        const { body, headers } = decodeEnvelope(task.envelope).message;
        if (body.length === 0) {
          throw new UsageError(
            `Cannot send failed task ${task.id} again: its message was longer than failed_keep allows, and its ` +
              "arguments are not kept",
          );
        }
        // Protocol 1 has the id in the body, and is sent as it came.
        const taskId = typeof headers["id"] === "string" ? world.random.id() : null;
        const envelope = taskId === null ? task.envelope : resendEnvelope(task.envelope, taskId);
        if (!await failedTasks.retry(task, queueName, envelope)) return false;
        if (isExpired(headers["expires"], world.clock.wallMs())) {
          world.terminal.err(`Warning: workers will discard it: it expired at ${headers["expires"]}\n`);
        }
        return { taskId };
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
