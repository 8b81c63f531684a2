/**
 * Waits until replicas have received writes (WAIT). A master that dies may lose writes that it has confirmed
 * and not yet replicated.
 *
 * Source: Redis command WAIT.
 */

import type { Clock } from "../base/mod.ts";
import { type Reply, RespError } from "../wire/mod.ts";
import { isUnavailable } from "./errors.ts";

/** The longest time of one wait, milliseconds. */
const WAIT_MS = "1000";
/** After a wait that failed, no command waits for this long, milliseconds. */
const PAUSE_MS = 10_000;

/**
 * The outcome of a wait. `reached`: the replicas have the writes. `behind`: too few replicas did in time.
 * `refused`: the server cannot wait now. `unavailable`: it never can, as with a service that replicates by
 * its own means.
 */
export type ReplicaWaitOutcome = "reached" | "behind" | "refused" | "unavailable";

/** The waits on one connection. */
export class ReplicaWait {
  readonly #clock: Clock;
  readonly #count: number;
  readonly #command: readonly string[];
  #pausedUntilMs = 0;

  /** `count` is the number of replicas, at least 1. */
  constructor(clock: Clock, count: number) {
    this.#clock = clock;
    this.#count = count;
    this.#command = ["WAIT", String(count), WAIT_MS];
  }

  /** The command that waits for the replication of everything sent before it; null while waits are paused. */
  get command(): readonly string[] | null {
    return this.#clock.monoMs() < this.#pausedUntilMs ? null : this.#command;
  }

  /** Reads the reply to the command. Pauses later waits after `behind`, and ends them after `unavailable`. */
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
