/**
 * `lovage dead list|show|retry|drop`: messages that nobody could handle, or whose workers died too often. An
 * id that is not among them is looked up among the tasks that failed for good.
 */

import { UsageError } from "../base/mod.ts";
import { FAILED } from "./failed.ts";
import { type LetterKind, lettersCommand } from "./letters.ts";

const DEAD: LetterKind = {
  name: "dead",
  noun: "dead letter",
  retried: "Put back",
  open(_context, { deadLetters, transport }) {
    if (deadLetters === undefined) {
      throw new UsageError(`Cannot look at dead letters: ${transport} keeps them in exchanges of its own`);
    }
    return {
      count: () => deadLetters.count(),
      list: (limit) => deadLetters.list(limit),
      retry: async (letter, queueName) => await deadLetters.retry(letter, queueName) && { taskId: null },
      drop: (letter) => deadLetters.drop(letter),
    };
  },
};

/** The command. */
export const dead = lettersCommand(DEAD, [FAILED]);
