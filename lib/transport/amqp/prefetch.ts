/**
 * How much the broker may push to a consumer: `basic.qos`, which follows the owner's window.
 *
 * The count applies to the channel, or to each of its consumers if a quorum queue is consumed or the broker
 * has no other prefetch. A consumer keeps the count that it started with. So all consumers are replaced when
 * the window has doubled or halved, or when messages held for long (tasks that are not due) have used up the
 * count.
 *
 * Source: RabbitMQ "Consumer Prefetch"; protocol.md 3.4.
 */

import type { AmqpChannel } from "../../amqp/mod.ts";
import type { Clock, Disarm } from "../../base/mod.ts";

/** Options of `AmqpPrefetch`. */
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
/** A right shift: a change of the count by up to 1/8 is not sent. */
const PREFETCH_SLACK = 3;
/**
 * The shortest time between two restarts of consumers with counts of their own, milliseconds; and if the
 * count is used up, so that no more messages arrive.
 */
const RESTART_EVERY_MS = 1000;
const USED_UP_EVERY_MS = 50;

/** The prefetch of one channel. */
export class AmqpPrefetch {
  #options: AmqpPrefetchOptions;
  #count = -1;
  #restarting: Promise<void> | null = null;
  #restartedMs = -Infinity;
  #disarmRestart: Disarm | null = null;
  #isStopped = false;

  constructor(options: AmqpPrefetchOptions) {
    this.#options = options;
  }

  /** The arguments of the latest `basic.qos`. */
  get args(): Record<string, unknown> {
    return { "prefetch-count": Math.max(0, this.#count), global: !this.#options.isPerConsumer };
  }

  /** Resolves when no restart of consumers is under way. */
  get idle(): Promise<void> {
    return this.#restarting ?? Promise.resolve();
  }

  /** Sets the count; Infinity: no limit. Running consumers with counts of their own keep theirs. */
  set(wanted: number): void {
    // No limit is 0 on the wire.
    const count = wanted === Infinity ? 0 : Math.max(1, Math.min(PREFETCH_MAX, wanted));
    if (count === this.#count) return;
    this.#count = count;
    this.#options.channel.callUnheard("basic.qos", this.args);
  }

  /**
   * Follows the window: `room` more messages may come, the owner has `unsettled`, and `held` are not
   * acknowledged to the broker. Data lane: per chunk and write.
   */
  follow(room: number, unsettled: number, held: number): void {
    // A window that is closed for a moment opens again; the backlog holds the messages that arrive until
    // then.
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

  /** Ends restarts. */
  stop(): void {
    this.#isStopped = true;
    this.#disarmRestart?.();
  }

  #restart(wanted: number, everyMs: number): void {
    const { clock, channel } = this.#options;
    const nowMs = clock.monoMs();
    if (this.#restarting !== null || this.#isStopped) return;
    if (Math.min(PREFETCH_MAX, wanted) === this.#count || (wanted === Infinity && this.#count === 0)) return;
    this.#disarmRestart?.();
    this.#disarmRestart = null;
    if (nowMs - this.#restartedMs < everyMs) {
      this.#disarmRestart = clock.arm(this.#restartedMs + everyMs, () => channel.connection.touch());
      return;
    }
    this.#restartedMs = nowMs;
    this.#restarting = this.#options.restart(() => this.set(wanted))
      .catch((error) => this.#options.onFailed(error))
      .finally(() => this.#restarting = null);
  }
}
