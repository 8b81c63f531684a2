/**
 * Waiting until replicas have what was written (WAIT): a master that dies takes along what only it had, and says
 * before that that it has it.
 *
 * Source: Redis command WAIT.
 */

import type { Clock } from "../base/mod.ts";
import { type Reply, RespError } from "../wire/mod.ts";
import { isUnavailable } from "./errors.ts";

/** How long one wait lasts at most, milliseconds. */
const WAIT_MS = "1000";
/** After a wait in vain nothing is waited for so long. */
const PAUSE_MS = 10_000;

/**
 * What came of a wait: `reached` the replicas have it; `behind` they do not follow; `refused` this server cannot wait
 * now; `unavailable` it never can: a service that keeps its replicas by its own means.
 */
export type ReplicaWaitOutcome = "reached" | "behind" | "refused" | "unavailable";

/** The waits on one connection. */
export class ReplicaWait {
  readonly #clock: Clock;
  readonly #count: number;
  readonly #command: readonly string[];
  #pausedUntilMs = 0;

  /** `count`: replicas, at least 1. */
  constructor(clock: Clock, count: number) {
    this.#clock = clock;
    this.#count = count;
    this.#command = ["WAIT", String(count), WAIT_MS];
  }

  /** What waits for everything sent before it; null: nothing is waited for now. */
  get command(): readonly string[] | null {
    return this.#clock.monoMs() < this.#pausedUntilMs ? null : this.#command;
  }

  /** Reads the reply to it. */
  read(reply: Reply): ReplicaWaitOutcome {
    if (reply instanceof RespError) {
      if (!isUnavailable(reply)) return "refused";
      this.#pausedUntilMs = Infinity;
      return "unavailable";
    }
    if (typeof reply !== "number" || reply >= this.#count) return "reached";
    this.#pausedUntilMs = this.#clock.monoMs() + PAUSE_MS;
    return "behind";
  }
}
