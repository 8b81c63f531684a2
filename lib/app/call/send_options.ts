/**
 * What a call may ask of its sending, and the calls themselves as data: the agreement between those who call
 * (task.ts, send/canvas_send.ts) and those who send (send/sending.ts).
 *
 * Source: celery 5.2.6 app/base.py send_task, app/task.py apply_async; protocol.md 1.1, 8.11.
 */

import { isRecord, namesOf, UsageError } from "../../base/mod.ts";
import { refuseWrongArguments, SIGNATURE_OPTIONS, type SignatureLike } from "../../canvas/mod.ts";
import type { Exchange, OutgoingMessage, Queue } from "../../transport/mod.ts";
import { ChainSteps, shownJson, type WireSignature } from "../../wire/mod.ts";

/** AMQP's priorities are bytes. */
export const PRIORITY_MAX = 255;

/** How often, and after how long, a publish that failed is tried again. Seconds. */
export interface PublishRetryPolicy {
  /** Attempts after the first; null: for ever. */
  max_retries?: number | null;
  interval_start?: number;
  interval_step?: number;
  interval_max?: number;
  /** Kept for shared configuration; every operating error that is retryable is retried. */
  retry_errors?: unknown;
}

/**
 * The options of `applyAsync` and `sendTask`, Celery's in camelCase. Null and undefined mean "not given".
 * Durations are seconds.
 */
export interface SendOptions {
  /** Seconds from now until it may run. */
  countdown?: number | null | undefined;
  /**
   * The moment from which it may run. Text must be ISO 8601 and is passed on as it is; without offset it is the
   * worker's zone.
   */
  eta?: Date | string | null | undefined;
  /** Seconds from now, or the moment, after which it is not run any more. Text must be ISO 8601. */
  expires?: number | Date | string | null | undefined;
  /** A queue of `task_queues`, any name where `task_create_missing_queues`, or a queue itself. */
  queue?: string | Queue | null | undefined;
  exchange?: string | Exchange | null | undefined;
  exchangeType?: string | null | undefined;
  routingKey?: string | null | undefined;
  /** 0 to 9: most urgent is 9 on RabbitMQ, 0 on Redis. */
  priority?: number | null | undefined;
  /** A serializer's name; default `task_serializer`. */
  serializer?: string | null | undefined;
  /** A compressor's name; default `task_compression`. */
  compression?: string | null | undefined;
  /** 2 persistent, 1 transient. */
  deliveryMode?: 1 | 2 | null | undefined;
  /** The caller's own headers; they travel beside Celery's and win over them. */
  headers?: Record<string, unknown> | null | undefined;
  /** Default: a new UUID. */
  taskId?: string | null | undefined;
  /** Signatures to send with the result when it succeeds. */
  link?: SignatureLike | readonly SignatureLike[] | null | undefined;
  /** Signatures to send when it fails for good. */
  linkError?: SignatureLike | readonly SignatureLike[] | null | undefined;
  /** Hard limit, seconds. */
  timeLimit?: number | null | undefined;
  /** Soft limit, seconds; at most the hard one. */
  softTimeLimit?: number | null | undefined;
  /** False: a publish that fails is not tried again. Default `task_publish_retry`. */
  retry?: boolean | null | undefined;
  /** Merged over `task_publish_retry_policy`. */
  retryPolicy?: PublishRetryPolicy | null | undefined;
  ignoreResult?: boolean | null | undefined;
  /** A name for logs and monitors instead of the task's. */
  shadow?: string | null | undefined;
  replyTo?: string | null | undefined;
  correlationId?: string | null | undefined;
  rootId?: string | null | undefined;
  parentId?: string | null | undefined;
  groupId?: string | null | undefined;
  groupIndex?: number | null | undefined;
  /** The body's signature. */
  chord?: SignatureLike | null | undefined;
  /** What runs after it, reversed: the last element runs next. */
  chain?: readonly SignatureLike[] | ChainSteps | null | undefined;
  retries?: number | null | undefined;
  /** False: it is not recorded among the current task's children. Default true. */
  addToParent?: boolean | null | undefined;
  stampedHeaders?: readonly string[] | null | undefined;
  /** Stamp name to value. */
  stamps?: Record<string, unknown> | null | undefined;
  /** What monitors see in place of the arguments. */
  argsrepr?: string | null | undefined;
  kwargsrepr?: string | null | undefined;
  replacedTaskNesting?: number | null | undefined;
  /** Default `gen<pid>@<host>`. */
  origin?: string | null | undefined;
  /** The name that routes are looked up by, where it is not the task's. */
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

/** One call on its way to be sent: task options and call options merged already. */
export interface SendCall {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: SendOptions | null;
}

/** A call made into a message, not yet published. */
export interface PreparedSend {
  readonly taskId: string;
  readonly outgoing: OutgoingMessage;
  /** The queue it goes to, where one is known by name. */
  readonly queue: string | null;
  /** No result will be stored. */
  readonly ignored: boolean;
}

/** What `sendTask` takes: the arguments beside the options. */
export interface SendTaskOptions extends SendOptions {
  args?: readonly unknown[] | null;
  kwargs?: Readonly<Record<string, unknown>> | null;
}

/** The wire form of a signature or of what gives one. Throws UsageError for anything else: no worker could read it. */
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

/** Throws UsageError for a call without a name, and for arguments that are not a list or an object of keywords. */
export function checkCall(name: unknown, args: unknown, kwargs: unknown): void {
  if (typeof name !== "string" || name === "") {
    throw new UsageError(
      `Cannot send a task: its name must be a text that is not empty, not ${shownJson(name)}`,
    );
  }
  refuseWrongArguments("send task", name, args, kwargs);
}

/** True for whole numbers that a byte holds, and for none. */
export function isPriority(priority: number | null | undefined): boolean {
  if (priority === null || priority === undefined) return true;
  return Number.isInteger(priority) && priority >= 0 && priority <= PRIORITY_MAX;
}

/** Throws UsageError for a priority that no broker could carry; null and undefined mean none. */
export function checkPriority(name: string, priority: number | null | undefined): void {
  if (isPriority(priority)) return;
  throw new UsageError(
    `Cannot send task "${name}": priority ${
      shownJson(priority)
    } must be a whole number from 0 to ${PRIORITY_MAX}`,
  );
}

/** What runs after a task, as its message carries it; null if nothing does. */
export function chainSteps(chain: SendOptions["chain"]): ChainSteps | null {
  if (chain instanceof ChainSteps) return chain;
  const steps = wireSignatures(chain);
  return steps === null ? null : ChainSteps.of(steps);
}

/** One signature or many, as a list in wire form; null if none. */
export function wireSignatures(
  given: SignatureLike | readonly SignatureLike[] | null | undefined,
): WireSignature[] | null {
  if (given === null || given === undefined) return null;
  const list = Array.isArray(given) ? given as readonly SignatureLike[] : [given as SignatureLike];
  return list.length === 0 ? null : list.map(wireSignature);
}

/**
 * Options that are texts, of which an empty one says nothing, as in Celery: `queue: Deno.env.get("QUEUE") ?? ""`.
 * True: those that may be something else than a text.
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
 * The options without those that come as an empty text; the same object where there is none. Throws UsageError for an
 * option that is to be a text and is something else. Cost: per message.
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
