/**
 * How much the broker may push to a consumer: `basic.qos`, which follows the owner's window.
 *
 * The count is of the channel, or of each of its consumers: if a quorum queue is consumed, and on brokers that have no
 * other way. A consumer keeps the count it began with, so others take the place of all when the window has
 * doubled or halved, or when what is held for long (tasks that are not due) has used up the count.
 *
 * Source: RabbitMQ "Consumer Prefetch"; protocol.md 3.4.
 */

import type { AmqpChannel } from "../../amqp/mod.ts";
import type { Clock, Disarm } from "../../base/mod.ts";

/** What a prefetch works on. */
export interface AmqpPrefetchOptions {
  readonly clock: Clock;
  readonly channel: AmqpChannel;
  readonly isPerConsumer: boolean;
  /** Starts all consumers again after calling `before`. */
  restart(before: () => void): Promise<void>;
  /** Consumers could not be started again. */
  onFailed(error: unknown): void;
}

const PREFETCH_MAX = 65_535;
/** A count this much (1/8) beside the wanted one is left as it is. */
const PREFETCH_SLACK = 3;
/** How often consumers that count for themselves are started again at most, milliseconds; and if nothing more comes. */
const RESTART_EVERY_MS = 1000;
const USED_UP_EVERY_MS = 50;

/** The prefetch of one channel. */
export class AmqpPrefetch {
  #options: AmqpPrefetchOptions;
  #count = -1;
  #restarting: Promise<void> | null = null;
  #restartedMs = -Infinity;
  #lookAgain: Disarm | null = null;
  #isStopped = false;

  constructor(options: AmqpPrefetchOptions) {
    this.#options = options;
  }

  /** What `basic.qos` says now. */
  get args(): Record<string, unknown> {
    return { "prefetch-count": Math.max(0, this.#count), global: !this.#options.isPerConsumer };
  }

  /** Resolves when consumers are not being started again. */
  get idle(): Promise<void> {
    return this.#restarting ?? Promise.resolve();
  }

  /** Asks for a count; Infinity: no limit. Consumers that run and count for themselves keep theirs. */
  set(wanted: number): void {
    // No limit is 0 on the wire.
    const count = wanted === Infinity ? 0 : Math.max(1, Math.min(PREFETCH_MAX, wanted));
    if (count === this.#count) return;
    this.#count = count;
    this.#options.channel.callUnheard("basic.qos", this.args);
  }

  /**
   * Follows the window: `room` more messages may come, `unsettled` are with their owner, `held` of the broker's are not
   * acknowledged. Data lane: per chunk and write.
   */
  follow(room: number, unsettled: number, held: number): void {
    // A window that is closed for a moment opens again: the backlog holds what comes until then.
    if (room <= 0) return;
    const wanted = unsettled + room;
    const now = this.#count;
    if (!this.#options.isPerConsumer) {
      if (Math.abs(wanted - now) > now >> PREFETCH_SLACK) this.set(wanted);
      return;
    }
    const left = now - held;
    if (wanted < now * 2 && wanted * 2 > now && left * 2 > room) return;
    this.#restart(wanted, left <= 0 ? USED_UP_EVERY_MS : RESTART_EVERY_MS);
  }

  /** Starts nothing more. */
  stop(): void {
    this.#isStopped = true;
    this.#lookAgain?.();
  }

  #restart(wanted: number, everyMs: number): void {
    const { clock, channel } = this.#options;
    const nowMs = clock.monoMs();
    if (this.#restarting !== null || this.#isStopped) return;
    if (Math.min(PREFETCH_MAX, wanted) === this.#count || (wanted === Infinity && this.#count === 0)) return;
    this.#lookAgain?.();
    this.#lookAgain = null;
    if (nowMs - this.#restartedMs < everyMs) {
      this.#lookAgain = clock.arm(this.#restartedMs + everyMs, () => channel.connection.touch());
      return;
    }
    this.#restartedMs = nowMs;
    this.#restarting = this.#options.restart(() => this.set(wanted))
      .catch((error) => this.#options.onFailed(error))
      .finally(() => this.#restarting = null);
  }
}
