/**
 * Native delayed delivery, as data: 28 levels of exchanges and queues in which a message waits until it is
 * due.
 *
 * A message due in 5 seconds is published to `celery_delayed_27` with the key `0.0.….1.0.1.<key>`: 28 binary
 * digits. At each level its digit sends it to the level's queue, where it waits 2^level seconds, or past that
 * queue. After the last level comes `celery_delayed_delivery`, to which the task queues are bound.
 *
 * It routes in two ways. Celery's publishers keep the task's routing key, for which the queue's exchange is
 * bound. A message parked by a worker has a key of one word that names its queue, and returns to that queue
 * only, whatever its exchange.
 *
 * Source: protocol.md 3.5; kombu 5.5 transport/native_delayed_delivery.py.
 */

import { type Exchange, exchange, type Queue } from "../entity.ts";

/** Binary digits of the delay; 2^28 - 1 seconds are eight and a half years. */
const LEVELS = 28;
/** The longest delay, seconds. */
export const DELAY_SECONDS_MAX = 2 ** LEVELS - 1;
const DIGITS = /^(?:[01]\.){28}/;
const PARKED = "lovage-queue:";

/** One level: its exchange, queue and bindings. */
export interface DelayLevel {
  /** The name of the exchange and of the queue. */
  readonly name: string;
  readonly queueArguments: Readonly<Record<string, unknown>>;
  /** The queue is bound to the exchange of its level for this key: its digit is 1. */
  readonly waitKey: string;
  /** The next exchange is bound to the exchange of this level for this key: its digit is 0. */
  readonly passKey: string;
  /** The exchange after this level. */
  readonly next: string;
}

/**
 * Returns the exchange that delayed messages are published to. `prefix` is
 * `broker_native_delayed_delivery_queue_prefix`; "": none.
 */
export function entryExchange(prefix: string): string {
  return levelName(LEVELS - 1, prefix);
}

/** Returns the exchange that due messages come to. */
export function deliveryExchange(prefix: string): string {
  return prefixed("celery_delayed_delivery", prefix);
}

/** Returns the levels, the longest wait first. `queueType` is `broker_native_delayed_delivery_queue_type`. */
export function delayLevels(queueType: "classic" | "quorum", prefix: string): DelayLevel[] {
  return Array.from({ length: LEVELS }, (_, index) => {
    const level = LEVELS - 1 - index;
    const next = level === 0 ? deliveryExchange(prefix) : levelName(level - 1, prefix);
    return {
      name: levelName(level, prefix),
      queueArguments: {
        "x-queue-type": queueType,
        "x-overflow": "reject-publish",
        "x-message-ttl": 2 ** level * 1000,
        "x-dead-letter-exchange": next,
        ...(queueType === "quorum" ? { "x-dead-letter-strategy": "at-least-once" } : {}),
      },
      waitKey: "*.".repeat(index) + "1.#",
      passKey: "*.".repeat(index) + "0.#",
      next,
    };
  });
}

/** Returns an exchange of delayed delivery. */
export function delayExchange(name: string): Exchange {
  return exchange(name, { type: "topic" });
}

/** Returns the routing key of a message that waits for whole seconds, clamped to 0 to DELAY_SECONDS_MAX. */
export function delayKey(seconds: number, routingKey: string): string {
  const whole = Math.max(0, Math.min(Math.trunc(seconds), DELAY_SECONDS_MAX));
  return `${[...whole.toString(2).padStart(LEVELS, "0")].join(".")}.${routingKey}`;
}

/** Returns the key that was given to `delayKey`; null for any other key. */
export function withoutDelay(routingKey: string): string | null {
  return routingKey.length > LEVELS * 2 && DIGITS.test(routingKey) ? routingKey.slice(LEVELS * 2) : null;
}

/** Returns the key of a message that a worker parks for a queue: one word, whatever the queue's name. */
export function parkedKey(queueName: string): string {
  return PARKED + queueName.replaceAll("%", "%25").replaceAll(".", "%2E");
}

/** Returns the keys by which a queue, or its exchange, is bound to the delivery exchange. */
export function deliveryKeys(queue: Queue): { parked: string; routed: string | null } {
  return {
    parked: `#.${parkedKey(queue.name)}`,
    // A direct exchange compares whole keys, and a delayed message's key never matches.
    routed: queue.exchange.type === "direct" || queue.exchange.name === "" ? null : `#.${queue.routingKey}`,
  };
}

/**
 * Whether messages for a queue can be delayed. Broadcasts cannot: each consumer gets a copy in a queue of its
 * own.
 */
export function isDelayable(queue: Queue): boolean {
  return queue.exchange.type !== "fanout";
}

function levelName(level: number, prefix: string): string {
  return prefixed(`celery_delayed_${level}`, prefix);
}

function prefixed(name: string, prefix: string): string {
  return prefix === "" ? name : `${prefix}_${name}`;
}
