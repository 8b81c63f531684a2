/**
 * `app.amqp`: queues and routes according to the settings in force, and the destination of each message.
 *
 * Source: celery 5.2.6 app/amqp.py AMQP, _create_task_sender; protocol.md 3.2, 3.3.
 */

import {
  type Exchange,
  exchange as makeExchange,
  type ExchangeType,
  type Queue,
  queue as makeQueue,
  type TransportKind,
} from "../../transport/mod.ts";
import { shownJson } from "../../wire/mod.ts";
import type { Configured } from "./conf.ts";
import { exchangeType, listQueues, Queues } from "./queues.ts";
import { Router } from "./routing.ts";
import type { SendOptions } from "../call/send_options.ts";

/** The destination of a message, and the other options of its route. */
export interface Destination {
  /** "" sends to the queue named by `routingKey`. */
  readonly exchange: string;
  readonly routingKey: string;
  /** The queue that was named, or the default queue. */
  readonly queue: Queue | null;
  /**
   * The same queue, if the message reaches it by its exchange; it is declared before publishing. Null:
   * another exchange is used.
   */
  readonly target: Queue | null;
  /** False for a fanout exchange, which may have no queue at the moment (a broadcast without receivers). */
  readonly isMandatory: boolean;
  /** The call's options over those of the route; for a cached destination (`isKept`) the route's alone. */
  readonly options: SendOptions;
  readonly isKept: boolean;
  /** Other options of a cached destination's route; null if it has no others. */
  readonly extras: SendOptions | null;
  readonly serializer: string;
  readonly compression: string | null;
  readonly deliveryMode: 1 | 2;
  /** Null if none was given anywhere. */
  readonly priority: number | null;
}

const NO_OPTIONS: SendOptions = {};
/** Maximum cached destinations: one for each task name that was sent. */
const KEPT_MAX = 10_000;
/** The options that determine the destination and the form of a message. */
const WAY: ReadonlySet<string> = new Set(
  [
    "queue",
    "exchange",
    "routingKey",
    "exchangeType",
    "priority",
    "deliveryMode",
    "serializer",
    "compression",
  ] as const,
);

/** Routing of one App. Cached values are computed again when a setting changes. */
export class Amqp {
  readonly #app: Configured;
  #queues: Queues | null = null;
  #router: Router | null = null;
  #version = -1;
  #queuesVersion = "";
  #constant = new Map<string, Destination>();

  constructor(app: Configured) {
    this.#app = app;
  }

  /** The queues. Selections (`-Q`) and added queues are kept until a setting about queues changes. */
  get queues(): Queues {
    this.#refresh();
    return this.#queues!;
  }

  /** The exchange of queues that name none. */
  get defaultExchange(): Exchange {
    const { conf } = this.#app;
    return makeExchange(String(conf.task_default_exchange), {
      type: exchangeType(conf.task_default_exchange_type),
    });
  }

  /** The queue of tasks that have no other by a route. */
  get defaultQueue(): Queue {
    return this.queues.get(this.#app.conf.task_default_queue);
  }

  /**
   * Returns the destination of a call. Throws `UsageError` for a queue that does not exist and may not be
   * created.
   */
  route(
    name: string,
    args: readonly unknown[] = [],
    kwargs: Readonly<Record<string, unknown>> = {},
    options: SendOptions | null = null,
  ): Destination {
    this.#refresh();
    const router = this.#router!;
    const routeName = options?.routeName ?? name;
    if (options === null || !namesWay(options)) {
      const known = this.#constant.get(routeName);
      if (known) return known;
      if (router.isConstant) {
        const found = this.#destination(router.route(NO_OPTIONS, routeName, args, kwargs, null), true);
        if (this.#constant.size < KEPT_MAX) this.#constant.set(routeName, found);
        return found;
      }
    }
    options ??= NO_OPTIONS;
    const task = router.isConstant ? null : this.#app.tasks.get(name) ?? null;
    return this.#destination(router.route(options, routeName, args, kwargs, task), false);
  }

  #destination(options: SendOptions & { queue?: Queue | null }, isKept: boolean): Destination {
    const conf = this.#app.conf;
    const queue = this.#named(options);
    const given = options.exchangeType ?? exchangeOf(options)?.type ?? null;
    const type = given ?? queue?.exchange.type ?? "direct";
    let exchange = typeof options.exchange === "string" ? options.exchange : options.exchange?.name ?? null;
    let routingKey = options.routingKey ?? null;
    // A message for a direct exchange uses the default exchange instead, which routes by queue name.
    if ((!exchange || !routingKey) && type === "direct") {
      if (queue || !exchange) {
        exchange = "";
        routingKey = (queue ?? this.defaultQueue).name;
      } else {
        routingKey ??= conf.task_default_routing_key;
      }
    } else if (!exchange) {
      exchange = queue?.exchange.name || String(conf.task_default_exchange);
      routingKey = routingKey || queue?.routingKey || conf.task_default_routing_key;
    }
    return {
      exchange: exchange ?? "",
      routingKey: routingKey ?? "",
      queue,
      target: isTarget(queue, exchange ?? "", routingKey) ? queue : null,
      isMandatory: !exchange || (given ?? this.#typeOf(exchange)) !== "fanout",
      options,
      isKept,
      extras: isKept ? extrasOf(options) : null,
      serializer: options.serializer || conf.task_serializer,
      compression: options.compression || conf.task_compression || null,
      deliveryMode: options.deliveryMode ?? conf.task_default_delivery_mode,
      priority: options.priority ?? conf.task_default_priority,
    };
  }

  /** Returns the type of an exchange that belongs to one of the queues; null if it is not known here. */
  #typeOf(exchange: string): ExchangeType | null {
    for (const queue of this.queues) if (queue.exchange.name === exchange) return queue.exchange.type;
    return null;
  }

  #named(options: SendOptions & { queue?: Queue | null }): Queue | null {
    const { queue } = options;
    if (!queue) return options.exchange ? null : this.defaultQueue;
    // Register a queue given as an object, so that the publisher can declare it.
    return this.queues.peek(queue.name) ?? this.queues.addSentTo(queue);
  }

  #refresh(): void {
    const { conf } = this.#app;
    if (this.#version === conf.version && this.#queues) return;
    this.#version = conf.version;
    this.#constant = new Map();
    const wanted = shownJson([
      conf.task_queues,
      conf.task_default_queue,
      conf.task_default_exchange,
      conf.task_default_exchange_type,
      conf.task_default_routing_key,
      conf.task_default_queue_type,
      conf.task_create_missing_queues,
      conf.task_create_missing_queue_type,
      conf.task_create_missing_queue_exchange_type,
      conf.task_queue_max_priority,
    ]);
    if (!this.#queues || wanted !== this.#queuesVersion) {
      this.#queuesVersion = wanted;
      this.#queues = this.#makeQueues();
    }
    this.#router = new Router(conf.task_routes, this.#queues, conf.task_default_queue);
  }

  #makeQueues(): Queues {
    const { conf, world } = this.#app;
    const exchange = this.defaultExchange;
    const given = listQueues(conf.task_queues);
    if (given.length === 0) {
      const queueArguments = conf.task_default_queue_type === "quorum" ? { "x-queue-type": "quorum" } : {};
      given.push(
        makeQueue(conf.task_default_queue, {
          exchange,
          routingKey: String(conf.task_default_routing_key),
          queueArguments,
        }),
      );
    }
    return new Queues({
      exchange,
      routingKey: String(conf.task_default_routing_key),
      createMissing: conf.task_create_missing_queues,
      missingType: conf.task_create_missing_queue_type,
      missingExchangeType: conf.task_create_missing_queue_exchange_type,
      maxPriority: conf.task_queue_max_priority,
      newId: () => world.random.id(),
    }, given);
  }
}

/** Returns the exchange that was given as an object, whose type then applies. */
function exchangeOf(options: SendOptions): Exchange | null {
  return typeof options.exchange === "object" ? options.exchange ?? null : null;
}

function isTarget(queue: Queue | null, exchange: string, routingKey: string | null): boolean {
  return queue !== null && (exchange === "" ? queue.name === routingKey : queue.exchange.name === exchange);
}

/** Returns true if the options themselves determine the destination or the form. */
function namesWay(options: SendOptions): boolean {
  for (const option in options) {
    if (WAY.has(option) && (options[option as keyof SendOptions] ?? null) !== null) return true;
  }
  return false;
}

function extrasOf(options: SendOptions): SendOptions | null {
  const extras = Object.entries(options).filter(([option]) => !WAY.has(option));
  return extras.length === 0 ? null : Object.fromEntries(extras);
}

/**
 * Returns the exchange of events: topic on AMQP, else fanout. Source: celery 5.2.6 events/event.py
 * get_exchange.
 */
export function eventExchange(app: Configured, transport: TransportKind): Exchange {
  return makeExchange(app.conf.event_exchange, { type: transport === "amqp" ? "topic" : "fanout" });
}
