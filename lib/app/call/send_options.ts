/**
 * The options of a call, and calls as data: the interface between the code that calls (task.ts,
 * send/canvas_send.ts) and the code that sends (send/producer.ts).
 *
 * Source: celery 5.2.6 app/base.py send_task, app/task.py apply_async; protocol.md 1.1, 8.11.
 */

import { isRecord, namesOf, UsageError } from "../../base/mod.ts";
import { refuseWrongArguments, SIGNATURE_OPTIONS, type SignatureLike } from "../../canvas/mod.ts";
import type { Exchange, OutgoingMessage, Queue } from "../../transport/mod.ts";
import { ChainSteps, shownJson, type WireSignature } from "../../wire/mod.ts";

/** The maximum priority in AMQP, where it is a byte. */
export const PRIORITY_MAX = 255;

/** How often, and after which delays, a failed publish is retried. Seconds. */
export interface PublishRetryPolicy {
  /** Attempts after the first; null: for ever. */
  max_retries?: number | null;
  interval_start?: number;
  interval_step?: number;
  interval_max?: number;
  /** Kept for shared configuration: every operating error that is retryable is retried. */
  retry_errors?: unknown;
}

/**
 * The options of `applyAsync` and `sendTask`, Celery's in camelCase. Null and undefined mean "not given".
 * Durations are seconds.
 */
export interface SendOptions {
  /** Seconds from now before which the task does not run. */
  countdown?: number | null | undefined;
  /**
   * The time before which the task does not run. Text must be ISO 8601 and is sent as it is; without an
   * offset it is in the worker's time zone.
   */
  eta?: Date | string | null | undefined;
  /** Seconds from now, or the time, after which the task does not run any more. Text must be ISO 8601. */
  expires?: number | Date | string | null | undefined;
  /** A queue of `task_queues`, any name if `task_create_missing_queues` is set, or a queue object. */
  queue?: string | Queue | null | undefined;
  /** An exchange, or its name. Default: by the queue or route. */
  exchange?: string | Exchange | null | undefined;
  /** Type of the exchange, if only its name is given. */
  exchangeType?: string | null | undefined;
  /** Routing key. Default: by the queue or route. */
  routingKey?: string | null | undefined;
  /** 0 to 9: the most urgent is 9 on RabbitMQ, 0 on Redis. */
  priority?: number | null | undefined;
  /** Name of a serializer; default `task_serializer`. */
  serializer?: string | null | undefined;
  /** Name of a compressor; default `task_compression`. */
  compression?: string | null | undefined;
  /** 2: persistent, 1: transient. */
  deliveryMode?: 1 | 2 | null | undefined;
  /** The caller's own headers. They override Celery's of the same name. */
  headers?: Record<string, unknown> | null | undefined;
  /** Default: a new UUID. */
  taskId?: string | null | undefined;
  /** Signatures to send with the result when the task succeeds. */
  link?: SignatureLike | readonly SignatureLike[] | null | undefined;
  /** Signatures to send when the task fails finally. */
  linkError?: SignatureLike | readonly SignatureLike[] | null | undefined;
  /** Hard limit, seconds. */
  timeLimit?: number | null | undefined;
  /** Soft limit, seconds; at most the hard one. */
  softTimeLimit?: number | null | undefined;
  /** False: a failed publish is not retried. Default `task_publish_retry`. */
  retry?: boolean | null | undefined;
  /** Merged over `task_publish_retry_policy`. */
  retryPolicy?: PublishRetryPolicy | null | undefined;
  /** True: the result is not stored. Default: as the task says. */
  ignoreResult?: boolean | null | undefined;
  /** A name for logs and monitors instead of the task's. */
  shadow?: string | null | undefined;
  /** Queue for the result, over rpc. */
  replyTo?: string | null | undefined;
  /** Correlation id of the message. Default: the task id. */
  correlationId?: string | null | undefined;
  /** Id of the root of the tree. Default: that of the current task, else the task id. */
  rootId?: string | null | undefined;
  /** Id of the parent. Default: the current task. */
  parentId?: string | null | undefined;
  /** Id of the group that it is a member of. */
  groupId?: string | null | undefined;
  /** Its position in the group. */
  groupIndex?: number | null | undefined;
  /** The signature of the chord's body. */
  chord?: SignatureLike | null | undefined;
  /** The steps that run after the task, reversed: the last element runs next. */
  chain?: readonly SignatureLike[] | ChainSteps | null | undefined;
  /** Number of retries so far. Default 0. */
  retries?: number | null | undefined;
  /** False: the call is not recorded among the current task's children. Default true. */
  addToParent?: boolean | null | undefined;
  /** Names of the stamps. */
  stampedHeaders?: readonly string[] | null | undefined;
  /** Stamp name to value. */
  stamps?: Record<string, unknown> | null | undefined;
  /** The arguments as monitors show them. */
  argsrepr?: string | null | undefined;
  /** The keyword arguments as monitors show them. */
  kwargsrepr?: string | null | undefined;
  /** How many replacements led to this call. Default 0. */
  replacedTaskNesting?: number | null | undefined;
  /** Default `gen<pid>@<host>`. */
  origin?: string | null | undefined;
  /** The name to look up routes by, if it is not the task's. */
  routeName?: string | null | undefined;
}

/** The names of `SendOptions`. */
export const SEND_OPTION_NAMES: ReadonlySet<string> = namesOf<SendOptions>(SIGNATURE_OPTIONS);
/** The names of `SendTaskOptions`. */
export const SEND_TASK_OPTION_NAMES: ReadonlySet<string> = namesOf<SendTaskOptions>({
  ...SIGNATURE_OPTIONS,
  args: true,
  kwargs: true,
});
/** The names of `PublishRetryPolicy`. */
export const RETRY_POLICY_NAMES: ReadonlySet<string> = namesOf<PublishRetryPolicy>({
  max_retries: true,
  interval_start: true,
  interval_step: true,
  interval_max: true,
  retry_errors: true,
});

/** A call to be sent, with the options of task and call merged. */
export interface SendCall {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: SendOptions | null;
}

/** A call that was made into a message and is not published yet. */
export interface PreparedSend {
  readonly taskId: string;
  readonly outgoing: OutgoingMessage;
  /** The queue that the message goes to, if it is known by name. */
  readonly queue: string | null;
  /** True if no result will be stored. */
  readonly ignored: boolean;
}

/** The options of `sendTask`: arguments and send options. */
export interface SendTaskOptions extends SendOptions {
  /** Positional arguments. Default []. */
  args?: readonly unknown[] | null;
  /** Keyword arguments. Default {}. */
  kwargs?: Readonly<Record<string, unknown>> | null;
}

/**
 * Returns the wire form of a signature. Throws UsageError for any other value, which no worker could read.
 */
export function wireSignature(signature: SignatureLike): WireSignature {
  const given = signature as { toJSON?: unknown } | null | undefined;
  const wire = typeof given?.toJSON === "function"
    ? (given.toJSON as () => unknown).call(signature)
    : given as unknown;
  if (isRecord(wire) && typeof wire["task"] === "string" && wire["task"] !== "") {
    return wire as unknown as WireSignature;
  }
  throw new UsageError(
    `Cannot use ${shownJson(signature)} as a signature: task.s() or app.signature("name") makes one`,
  );
}

/**
 * Throws UsageError for a call without a name, and for arguments that are not a list or an object of
 * keywords.
 */
export function checkCall(name: unknown, args: unknown, kwargs: unknown): void {
  if (typeof name !== "string" || name === "") {
    throw new UsageError(
      `Cannot send a task: its name must be a text that is not empty, not ${shownJson(name)}`,
    );
  }
  refuseWrongArguments("send task", name, args, kwargs);
}

/** Returns true for a whole number that fits in a byte, and for null and undefined. */
function isPriority(priority: number | null | undefined): boolean {
  if (priority === null || priority === undefined) return true;
  return Number.isInteger(priority) && priority >= 0 && priority <= PRIORITY_MAX;
}

/** Throws UsageError for a priority that no broker can carry; null and undefined mean none. */
export function checkPriority(name: string, priority: number | null | undefined): void {
  if (isPriority(priority)) return;
  throw new UsageError(
    `Cannot send task "${name}": priority ${
      shownJson(priority)
    } must be a whole number from 0 to ${PRIORITY_MAX}`,
  );
}

/** Returns the steps that run after a task, as its message carries them; null if there are none. */
export function chainSteps(chain: SendOptions["chain"]): ChainSteps | null {
  if (chain instanceof ChainSteps) return chain;
  const steps = wireSignatures(chain);
  return steps === null ? null : ChainSteps.of(steps);
}

/** Returns one or many signatures as a list in wire form; null if there are none. */
export function wireSignatures(
  given: SignatureLike | readonly SignatureLike[] | null | undefined,
): WireSignature[] | null {
  if (given === null || given === undefined) return null;
  const list = Array.isArray(given) ? given as readonly SignatureLike[] : [given as SignatureLike];
  return list.length === 0 ? null : list.map(wireSignature);
}

/**
 * Options whose values are texts. An empty text means "not given", as in Celery: `queue:
 * Deno.env.get("QUEUE") ?? ""`. True: the option also accepts other types.
 */
const TEXT_OPTIONS = {
  compression: false,
  correlationId: false,
  eta: true,
  exchange: true,
  exchangeType: false,
  expires: true,
  groupId: false,
  origin: false,
  parentId: false,
  queue: true,
  replyTo: false,
  rootId: false,
  routeName: false,
  routingKey: false,
  serializer: false,
  shadow: false,
  taskId: false,
} as const satisfies { readonly [name in keyof SendOptions]?: boolean };

/**
 * Returns the options without those that are empty texts; the same object if there are none. Throws
 * UsageError if a text option has another type. Cost: per message.
 */
export function withoutEmpty(options: SendOptions | null): SendOptions | null {
  if (options === null) return null;
  let given: Record<string, unknown> | null = null;
  // Few options are given, and often none.
  for (const name in options) {
    const value = options[name as keyof SendOptions];
    if (value === null || value === undefined || typeof value === "string" && value !== "") continue;
    if (!Object.hasOwn(TEXT_OPTIONS, name)) continue;
    if (value === "") delete (given ??= { ...options })[name];
    else if (!TEXT_OPTIONS[name as keyof typeof TEXT_OPTIONS]) {
      throw new UsageError(`Cannot send a task: ${name} must be a text, not ${shownJson(value)}`);
    }
  }
  return given ?? options;
}
