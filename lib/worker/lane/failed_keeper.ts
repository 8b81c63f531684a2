/**
 * Keeps the messages of failed tasks at the broker, for `lovage failed`. Only failures cost anything: those
 * of one turn of the event loop leave in one write, outside the data lane.
 */

import type { World } from "../../base/mod.ts";
import type { Connection, FailedEntry, FailedLimits } from "../../transport/mod.ts";
import { decodeEnvelope, encodeEnvelope, fromCarriedJson } from "../../wire/mod.ts";
import type { Finalizer } from "./finalizer.ts";
import type { Request } from "./request.ts";

/** Failures held at most while there is no connection; the oldest are dropped first. */
const PENDING_MAX = 1000;
/** Characters of the reason that are kept. */
const REASON_CHARS_MAX = 1000;
/** How often a lost connection is looked for again. */
const AGAIN_MS = 1000;

/** The setting `failed_keep`; 0: off. */
export type FailedKeep = 0 | { readonly count?: number; readonly seconds?: number; readonly bytes?: number };

/** Limits of what is kept; `bytes` of one message. */
export interface KeepLimits extends FailedLimits {
  readonly bytes: number;
}

const DEFAULTS: KeepLimits = { count: 10_000, seconds: 604_800, bytes: 65_536 };

/** Returns the setting with its defaults; null: nothing is kept. */
export function keepLimits(given: FailedKeep): KeepLimits | null {
  if (given === 0) return null;
  const limits = { ...DEFAULTS, ...given };
  return limits.count > 0 && limits.seconds > 0 && limits.bytes > 0 ? limits : null;
}

/** Parts that the keeper uses. */
export interface FailedKeeperParts {
  readonly world: World;
  readonly finalizer: Finalizer;
  readonly limits: KeepLimits;
  /** The worker's current connection, or null. */
  readonly connection: () => Connection | null;
}

/** Keeps the failed tasks of one worker. */
export class FailedKeeper {
  #parts: FailedKeeperParts;
  #pending: FailedEntry[] = [];
  #isScheduled = false;
  #isWarned = false;

  constructor(parts: FailedKeeperParts) {
    this.#parts = parts;
  }

  /** Keeps a task that has failed for good. */
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
    // Counted as under way from now on, so that a worker that stops waits for it.
    this.#parts.finalizer.begin(() => this.#flush(), "failed tasks that are to be kept");
  }

  async #flush(): Promise<void> {
    // Failures of the same turn leave together.
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
      // Logged once until it works again: a broker that refuses it must not fill the log.
      if (this.#isWarned) return;
      this.#isWarned = true;
      throw error;
    }
  }

  #later(): void {
    const { clock } = this.#parts.world;
    clock.arm(clock.monoMs() + AGAIN_MS, () => this.#pending.length > 0 && this.#schedule());
  }

  /**
   * Returns the message as it came; without its body if it is too long, and null if it is too long even then.
   */
  #envelopeOf({ envelope }: Request): string | null {
    const { bytes } = this.#parts.limits;
    // Characters are counted as bytes: an envelope is ASCII, unless its sender writes headers in another way.
    if (envelope.length <= bytes) return envelope;
    const { message, info } = decodeEnvelope(envelope, fromCarriedJson);
    const bare = encodeEnvelope({ ...message, body: "" }, { ...info, deliveryTag: "" });
    return bare.length <= bytes ? bare : null;
  }
}
