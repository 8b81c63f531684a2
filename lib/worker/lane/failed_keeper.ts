/**
 * Keeps the messages of tasks that failed for good at the broker, for `lovage failed`. Only failures pay: they are
 * gathered for a turn of the loop and leave in one write, outside the data lane.
 */

import type { World } from "../../base/mod.ts";
import type { Connection, FailedEntry, FailedLimits } from "../../transport/mod.ts";
import { decodeEnvelope, encodeEnvelope, fromCarriedJson } from "../../wire/mod.ts";
import type { Finalizer } from "./finalizer.ts";
import type { Request } from "./request.ts";

/** Failures gathered at most while there is no connection; past that, the oldest are not kept. */
const PENDING_MAX = 1000;
/** Characters of the reason that are kept. */
const REASON_CHARS_MAX = 1000;
/** How often a broker that is away is tried again. */
const AGAIN_MS = 1000;

/** The setting `failed_keep`, as it is given: 0 off. */
export type FailedKeep = 0 | { readonly count?: number; readonly seconds?: number; readonly bytes?: number };

/** What is kept at most; `bytes` of one message. */
export interface KeepLimits extends FailedLimits {
  readonly bytes: number;
}

const DEFAULTS: KeepLimits = { count: 10_000, seconds: 604_800, bytes: 65_536 };

/** The setting with its defaults; null: nothing is kept. */
export function keepLimits(given: FailedKeep): KeepLimits | null {
  if (given === 0) return null;
  const limits = { ...DEFAULTS, ...given };
  return limits.count > 0 && limits.seconds > 0 && limits.bytes > 0 ? limits : null;
}

/** What the keeper stands on. */
export interface FailedKeeperParts {
  readonly world: World;
  readonly finalizer: Finalizer;
  readonly limits: KeepLimits;
  /** The worker's connection of the moment, or null. */
  readonly connection: () => Connection | null;
}

/** One worker's keeper. */
export class FailedKeeper {
  #parts: FailedKeeperParts;
  #pending: FailedEntry[] = [];
  #isScheduled = false;
  #isWarned = false;

  constructor(parts: FailedKeeperParts) {
    this.#parts = parts;
  }

  /** A task has failed for good. */
  add(request: Request, reason: string): void {
    const envelope = this.#envelopeOf(request);
    if (envelope === null) return;
    this.#pending.push({
      queue: request.queue,
      reason: reason.length > REASON_CHARS_MAX ? `${reason.slice(0, REASON_CHARS_MAX - 1)}…` : reason,
      atMs: this.#parts.world.clock.wallMs(),
      envelope,
    });
    if (this.#pending.length > PENDING_MAX) this.#pending.shift();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Counted as under way from now on: a worker that stops waits for it.
    this.#parts.finalizer.begin(() => this.#flush(), "failed tasks that are to be kept");
  }

  async #flush(): Promise<void> {
    // Those of the same turn leave together.
    await Promise.resolve();
    this.#isScheduled = false;
    const connection = this.#parts.connection();
    if (connection === null) return this.#later();
    const tasks = this.#pending.splice(0);
    if (tasks.length === 0 || connection.failedTasks === undefined) return;
    try {
      await connection.failedTasks.keep(tasks, this.#parts.limits);
      this.#isWarned = false;
    } catch (error) {
      // Once until it works again: else a broker that refuses it would be logged with every failure.
      if (this.#isWarned) return;
      this.#isWarned = true;
      throw error;
    }
  }

  #later(): void {
    const { clock } = this.#parts.world;
    clock.arm(clock.monoMs() + AGAIN_MS, () => this.#pending.length > 0 && this.#schedule());
  }

  /** The message as it came; without its body if it is too long, and null if it is too long even then. */
  #envelopeOf({ envelope }: Request): string | null {
    const { bytes } = this.#parts.limits;
    // Envelopes are ASCII except for what a sender writes into headers by another rule.
    if (envelope.length <= bytes) return envelope;
    const { message, info } = decodeEnvelope(envelope, fromCarriedJson);
    const bare = encodeEnvelope({ ...message, body: "" }, { ...info, deliveryTag: "" });
    return bare.length <= bytes ? bare : null;
  }
}
