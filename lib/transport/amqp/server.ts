/**
 * Which broker a connection leads to, and what follows from that for queues, prefetch and deliveries.
 *
 * RabbitMQ 4.0 has no mirrored queues, and its quorum queues drop messages that were returned 20 times; a
 * virtual host may make quorum queues of queues without a type. RabbitMQ 4.3 refuses `basic.qos` for a whole
 * channel, queues that are neither durable nor exclusive, and some arguments. LavinMQ is known by its product
 * name.
 *
 * Source: RabbitMQ 4.3.0 release notes, "Deprecated Features", "Quorum Queues"; kombu main #2481, #2531.
 */

import { AmqpProduct } from "../../amqp/mod.ts";
import { errorText, OperatingError, UsageError } from "../../base/mod.ts";
import type { AmqpTable } from "../../wire/mod.ts";
import type { Queue } from "../entity.ts";

/** How often a quorum queue of RabbitMQ 4 redelivers a message before it drops it, by default. */
const DELIVERY_LIMIT = 20;
/** Levels of priority of a quorum queue from RabbitMQ 4.3 on: 0 to this. */
const QUORUM_PRIORITY_MAX = 31;

/** Queue arguments that RabbitMQ 4.3 no longer accepts, with the value if only one is refused. */
const WITHDRAWN: readonly (readonly [name: string, value: unknown])[] = [
  ["x-queue-mode", undefined],
  ["x-queue-version", 1],
  ["x-queue-master-locator", undefined],
];

/** The broker at the other end of one connection. */
export class AmqpServer {
  readonly #product: AmqpProduct;

  /** `properties` are those of `connection.start`. */
  constructor(properties: AmqpTable) {
    this.#product = new AmqpProduct(properties);
  }

  /** Whether prefetch is counted per consumer, whatever the queues. */
  get countsPerConsumer(): boolean {
    return this.#product.isLavin || this.#product.isRabbitFrom(4, 0);
  }

  /** Whether queues that a single process uses are exclusive, unless a setting says otherwise. */
  get wantsExclusive(): boolean {
    return this.#product.isLavin || this.#product.isRabbitFrom(4, 0);
  }

  /**
   * Whether a queue is a quorum queue, or may be one: without a type it has its virtual host's default, which
   * clients cannot ask for.
   */
  mayBeQuorum(queue: Queue): boolean {
    const type = queue.queueArguments["x-queue-type"];
    if (type !== undefined) return type === "quorum";
    if (!this.#product.isRabbitFrom(4, 0)) return false;
    // RabbitMQ makes a quorum queue only of a queue that can be one.
    return queue.durable && !this.#isExclusive(queue) && !queue.autoDelete;
  }

  /** Returns how often the broker redelivers a message of a queue at most; Infinity: no limit. */
  deliveryLimit(queue: Queue): number {
    if (!this.mayBeQuorum(queue)) return Infinity;
    const given = queue.queueArguments["x-delivery-limit"];
    if (typeof given === "number") return given < 0 ? Infinity : given;
    return this.#product.isRabbitFrom(4, 0) ? DELIVERY_LIMIT : Infinity;
  }

  /** Returns a queue as it is declared on this broker. */
  shaped(queue: Queue): Queue {
    const queueArguments = this.#arguments(queue);
    const exclusive = this.#isExclusive(queue);
    if (queueArguments === queue.queueArguments && exclusive === queue.exclusive) return queue;
    return { ...queue, exclusive, queueArguments };
  }

  /**
   * Returns the error of a queue that could not be declared: if the broker no longer supports what the queue
   * asks for, a UsageError with the broker's message, the name of the setting and what to do; else the error
   * itself.
   */
  refused(queue: Queue, error: unknown): unknown {
    if (!(error instanceof OperatingError) || error instanceof UsageError) return error;
    const said = errorText(error);
    const withdrawn = WITHDRAWN.filter(([name, value]) => {
      const given = queue.queueArguments[name];
      return given !== undefined && (value === undefined || given === value);
    });
    const isShared = !queue.durable && !this.#isExclusive(queue) && said.includes("transient_nonexcl_queues");
    const isArgument = withdrawn.length > 0 && this.#product.isRabbitFrom(4, 0);
    if (!isShared && !isArgument) return error;
    const names = withdrawn.map(([name, value]) => value === undefined ? `"${name}"` : `"${name}": ${value}`);
    const advice = isArgument ? `remove ${names.join(" and ")} from its queue_arguments` : adviceFor(queue);
    const words = said.replace(/^(?:Cannot [^:]*|Lost the connection to \S+): /, "")
      .replace(/\. The feature will be removed .*\((\d+)\)$/, " ($1)");
    return new UsageError(`Cannot declare queue "${queue.name}": ${words}; ${advice}`, { cause: error });
  }

  #isExclusive({ exclusive, isPersonal, durable }: Queue): boolean {
    return exclusive || (isPersonal === true && !durable && this.wantsExclusive);
  }

  /**
   * Returns the arguments of a queue. Priorities are one of classic queues, and of quorum queues from 4.3 on.
   */
  #arguments(queue: Queue): Queue["queueArguments"] {
    const { queueArguments } = queue;
    const max = queueArguments["x-max-priority"];
    if (max === undefined || !this.#product.isRabbitFrom(4, 0)) return queueArguments;
    const type = queueArguments["x-queue-type"];
    if (this.#product.isRabbitFrom(4, 3)) {
      const isTooHigh = type === "quorum" && typeof max === "number" && max > QUORUM_PRIORITY_MAX;
      return isTooHigh ? { ...queueArguments, "x-max-priority": QUORUM_PRIORITY_MAX } : queueArguments;
    }
    if (type === "quorum") {
      // Such a queue has two priorities without an argument.
      const { "x-max-priority": _, ...rest } = queueArguments;
      return rest;
    }
    // As a quorum queue, its virtual host's default, it would be refused.
    return type === undefined && this.mayBeQuorum(queue)
      ? { ...queueArguments, "x-queue-type": "classic" }
      : queueArguments;
  }
}

/** Returns what to change so that RabbitMQ 4.3 accepts a queue. */
function adviceFor({ exchange, name }: Queue): string {
  if (exchange.name.endsWith(".pidbox")) return "set control_queue_exclusive to true";
  if (exchange.name === "celeryev" || name.startsWith("celeryev.")) {
    return "set event_queue_exclusive to true";
  }
  return "let it be durable, or exclusive";
}
