/**
 * Exchanges and bindings of the transports that route for themselves (memory, sqlite): direct, topic, fanout and the
 * default exchange, as kombu's virtual transports route.
 */

import { LinearPattern, UsageError } from "../base/mod.ts";
import type { Binding, Exchange, ExchangeType, Queue } from "./entity.ts";

/** How many routes are remembered; past it the memory starts anew. */
const ROUTES_MAX = 10_000;

/** Where a message goes. `isFanout`: it also goes to subscribers of the exchange. */
export interface Route {
  readonly queues: readonly string[];
  readonly isFanout: boolean;
}

/** The table. Reading costs one map look-up per message once a route is known. */
export class RoutingTable {
  #types = new Map<string, ExchangeType>();
  /** By exchange; each binding once. */
  #bindings = new Map<string, Binding[]>();
  #routes = new Map<string, Route>();

  /** Records an exchange; the last declaration holds, so that a type can be corrected. */
  setExchange(name: string, type: ExchangeType): void {
    if (name === "") return;
    mustBeRoutable(name, type);
    this.#types.set(name, type);
    this.#routes.clear();
  }

  /** Binds a queue; again is not an error. A queue on the default exchange needs no binding. */
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

  /** The type of an exchange; direct if it was never declared. */
  typeOf(exchangeName: string): ExchangeType {
    return this.#types.get(exchangeName) ?? "direct";
  }

  /**
   * The queues of a message. The default exchange names the queue by the routing key. A message that nothing is
   * bound for goes nowhere. Source: kombu 5.2.4 transport/virtual/base.py Channel._lookup, exchange.py.
   */
  route(exchangeName: string, routingKey: string): Route {
    const key = `${exchangeName}\0${routingKey}`;
    let route = this.#routes.get(key);
    if (route) return route;
    route = this.#look(exchangeName, routingKey);
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
    this.#routes.set(key, route);
    return route;
  }

  /** Every binding. */
  bindings(): Binding[] {
    return [...this.#bindings.values()].flat();
  }

  #look(exchangeName: string, routingKey: string): Route {
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
 * A topic binding's key as a pattern of routing keys: the word `*` stands for some text that does not end in a dot,
 * the word `#` for any text. Looser than AMQP's on purpose: it is what kombu matches with.
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
 * Whether a subscription to a fanout wants a message of this routing key. A key without wildcards is a name and wants
 * all, as a fanout exchange does; one with wildcards is a pattern, as on Redis.
 */
export function fanoutFilter(key: string): LinearPattern | null {
  return key.split(".").some((word) => word === "*" || word === "#") ? topicPattern(key) : null;
}

/** What declaring a queue binds; null on the default exchange. */
export function bindingOf(queue: Queue): Binding | null {
  if (queue.exchange.name === "") return null;
  return { queue: queue.name, exchange: queue.exchange.name, routingKey: queue.routingKey };
}

/** Throws UsageError for an exchange that only an AMQP server can be. */
export function mustBeRoutable(name: string, type: Exchange["type"]): void {
  if (type === "headers") {
    throw new UsageError(`Cannot declare exchange "${name}": a headers exchange needs an AMQP broker`);
  }
}

/** Kombu's steps of priority. */
export const PRIORITY_STEPS: readonly number[] = [0, 3, 6, 9];

/**
 * The step of a priority: the largest that is not above it. Step 0 is taken first, so 0 is the most urgent, as on
 * Redis. Source: kombu 5.2.4 transport/redis.py Channel.priority, _q_for_pri.
 */
export function priorityStep(priority: number, steps: readonly number[]): number {
  let step = steps[0] ?? 0;
  for (const one of steps) {
    if (one > priority) break;
    step = one;
  }
  return step;
}

/** The steps of `priority_steps` in `broker_transport_options`, or kombu's. Throws UsageError if not a list. */
export function priorityStepsOf(options: Readonly<Record<string, unknown>>): readonly number[] {
  const given = options["priority_steps"] ?? options["prioritySteps"];
  if (given === undefined || given === null) return PRIORITY_STEPS;
  if (!Array.isArray(given) || given.length === 0 || !given.every((step) => Number.isInteger(step))) {
    throw new UsageError("Cannot use priority_steps: it must be a list of whole numbers");
  }
  return [...given as number[]].sort((a, b) => a - b);
}
