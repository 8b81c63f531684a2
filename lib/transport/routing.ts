/**
 * Exchanges and bindings of the transports that route for themselves (memory, sqlite): direct, topic, fanout and the
 * default exchange, as kombu's virtual transports route.
 */

import { LinearPattern, UsageError } from "../base/mod.ts";
import type { Binding, Exchange, ExchangeType, Queue } from "./entity.ts";

/** How many routes are cached; beyond that the cache is emptied. */
const ROUTES_MAX = 10_000;

/** Where a message goes. `isFanout`: it also goes to subscribers of the exchange. */
export interface Route {
  readonly queues: readonly string[];
  readonly isFanout: boolean;
}

/** The exchanges and bindings. A cached route costs one map look-up per message. */
export class RoutingTable {
  #types = new Map<string, ExchangeType>();
  /** By exchange, without duplicates. */
  #bindings = new Map<string, Binding[]>();
  #routes = new Map<string, Route>();

  /** Records an exchange; the last declaration wins, so that a type can be corrected. */
  setExchange(name: string, type: ExchangeType): void {
    if (name === "") return;
    mustBeRoutable(name, type);
    this.#types.set(name, type);
    this.#routes.clear();
  }

  /**
   * Binds a queue; idempotent. Returns true if the binding is new. A queue on the default exchange needs no
   * binding.
   */
  bind(binding: Binding): boolean {
    if (binding.exchange === "") return false;
    let list = this.#bindings.get(binding.exchange);
    if (!list) this.#bindings.set(binding.exchange, list = []);
    for (const one of list) {
      if (one.queue === binding.queue && one.routingKey === binding.routingKey) return false;
    }
    list.push(binding);
    this.#routes.clear();
    return true;
  }

  /** Removes every binding of a queue. */
  unbind(queueName: string): void {
    for (const [exchangeName, list] of this.#bindings) {
      const rest = list.filter((binding) => binding.queue !== queueName);
      if (rest.length === 0) this.#bindings.delete(exchangeName);
      else this.#bindings.set(exchangeName, rest);
    }
    this.#routes.clear();
  }

  /** Returns the type of an exchange; direct if it was never declared. */
  typeOf(exchangeName: string): ExchangeType {
    return this.#types.get(exchangeName) ?? "direct";
  }

  /**
   * Returns the queues that a message goes to. On the default exchange the routing key is the queue's name. A
   * message that matches no binding goes nowhere. Source: kombu 5.2.4 transport/virtual/base.py
   * Channel._lookup, exchange.py.
   */
  route(exchangeName: string, routingKey: string): Route {
    const key = `${exchangeName}\0${routingKey}`;
    let route = this.#routes.get(key);
    if (route) return route;
    route = this.#match(exchangeName, routingKey);
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
    this.#routes.set(key, route);
    return route;
  }

  /** Lists every binding. */
  bindings(): Binding[] {
    return [...this.#bindings.values()].flat();
  }

  #match(exchangeName: string, routingKey: string): Route {
    if (exchangeName === "") return { queues: [routingKey], isFanout: false };
    const type = this.typeOf(exchangeName);
    const queues = new Set<string>();
    for (const binding of this.#bindings.get(exchangeName) ?? []) {
      const isMatch = type === "fanout" ||
        (type === "topic"
          ? topicPattern(binding.routingKey).test(routingKey)
          : binding.routingKey === routingKey);
      if (isMatch) queues.add(binding.queue);
    }
    return { queues: [...queues], isFanout: type === "fanout" };
  }
}

/**
 * Compiles a topic binding's key to a pattern of routing keys: the word `*` matches text that does not end in
 * a dot, the word `#` any text. It is looser than AMQP on purpose: kombu matches in the same way.
 * Source: kombu 5.2.4 transport/virtual/exchange.py TopicExchange.key_to_pattern.
 */
export function topicPattern(key: string): LinearPattern {
  const words = key.split(".").map((word) => {
    if (word === "*") return ".*?[^\\.]";
    if (word === "#") return ".*?";
    return word.replace(/[^\p{L}\p{N}_]/gu, (letter) => `\\u{${letter.codePointAt(0)!.toString(16)}}`);
  });
  return new LinearPattern(`${words.join("\\.")}$`);
}

/**
 * Returns the pattern of the routing keys that a fanout subscription receives; null: all. A key with
 * wildcards is a pattern, as on Redis. A key without wildcards filters nothing, as on a fanout exchange.
 */
export function fanoutFilter(key: string): LinearPattern | null {
  return key.split(".").some((word) => word === "*" || word === "#") ? topicPattern(key) : null;
}

/** Returns the binding that declaring a queue makes; null on the default exchange. */
export function bindingOf(queue: Queue): Binding | null {
  if (queue.exchange.name === "") return null;
  return { queue: queue.name, exchange: queue.exchange.name, routingKey: queue.routingKey };
}

/** Throws UsageError for an exchange of a type that only AMQP servers have. */
export function mustBeRoutable(name: string, type: Exchange["type"]): void {
  if (type === "headers") {
    throw new UsageError(`Cannot declare exchange "${name}": a headers exchange needs an AMQP broker`);
  }
}

/** Kombu's steps of priority. */
export const PRIORITY_STEPS: readonly number[] = [0, 3, 6, 9];

/**
 * Returns the step of a priority: the largest step that is not above it. Step 0 is fetched first, so priority
 * 0 is the most urgent, as on Redis. Source: kombu 5.2.4 transport/redis.py Channel.priority, _q_for_pri.
 */
export function priorityStep(priority: number, steps: readonly number[]): number {
  let step = steps[0] ?? 0;
  for (const one of steps) {
    if (one > priority) break;
    step = one;
  }
  return step;
}

/**
 * Returns `priority_steps` of `broker_transport_options`, or kombu's steps. Throws UsageError if it is not a
 * list.
 */
export function priorityStepsOf(options: Readonly<Record<string, unknown>>): readonly number[] {
  const given = options["priority_steps"] ?? options["prioritySteps"];
  if (given === undefined || given === null) return PRIORITY_STEPS;
  if (!Array.isArray(given) || given.length === 0 || !given.every((step) => Number.isInteger(step))) {
    throw new UsageError("Cannot use priority_steps: it must be a list of whole numbers");
  }
  return [...given as number[]].sort((a, b) => a - b);
}
