/**
 * A signature's options: Celery's names on the wire, camelCase here.
 *
 * Any name that Celery does not have is the caller's own (a stamp) and is sent unchanged.
 * Source: celery 5.2.6 canvas.py Signature.options, app/task.py apply_async; protocol.md 8.3.
 */

import { isRecord, namesOf, unknownName, UsageError } from "../base/mod.ts";
import { ChainSteps, EncodeError, shownJson, toJson, type WireSignature } from "../wire/mod.ts";

/** A signature, or anything with the wire form of one. */
export type SignatureLike = WireSignature | { toJSON(): WireSignature };

/**
 * Options of a signature: those of `applyAsync`, and stamps under their own names. Durations are seconds.
 * Null means "not given", unless null is a value of the option.
 */
export interface SignatureOptions {
  taskId?: string | null;
  replyTo?: string | null;
  groupId?: string | null;
  groupIndex?: number | null;
  rootId?: string | null;
  parentId?: string | null;
  chord?: SignatureLike | null;
  /** Reversed: the last element runs next. */
  chain?: readonly SignatureLike[] | ChainSteps | null;
  link?: SignatureLike | readonly SignatureLike[] | null;
  linkError?: SignatureLike | readonly SignatureLike[] | null;
  countdown?: number | null;
  eta?: Date | string | null;
  expires?: number | Date | string | null;
  queue?: unknown;
  exchange?: unknown;
  exchangeType?: string | null;
  routingKey?: string | null;
  priority?: number | null;
  serializer?: string | null;
  compression?: string | null;
  deliveryMode?: 1 | 2 | null;
  headers?: Record<string, unknown> | null;
  timeLimit?: number | null;
  softTimeLimit?: number | null;
  retry?: boolean | null;
  retryPolicy?: Record<string, unknown> | null;
  ignoreResult?: boolean | null;
  shadow?: string | null;
  retries?: number | null;
  addToParent?: boolean | null;
  stampedHeaders?: readonly string[] | null;
  replacedTaskNesting?: number | null;
  argsrepr?: string | null;
  kwargsrepr?: string | null;
  origin?: string | null;
  routeName?: string | null;
  correlationId?: string | null;
  stamps?: Record<string, unknown> | null;
  /** Stamps, and options of other versions. */
  [stamp: string]: unknown;
}

/**
 * Throws UsageError, `Cannot <verb> "<name>": …`, for arguments that are not an array and keyword arguments that are
 * not an object; null means none.
 */
export function refuseWrongArguments(verb: string, name: string, args: unknown, kwargs: unknown): void {
  if (args !== null && args !== undefined && !Array.isArray(args)) {
    throw new UsageError(`Cannot ${verb} "${name}": its arguments must be an array, not ${shownJson(args)}`);
  }
  if (kwargs !== null && kwargs !== undefined && !isRecord(kwargs)) {
    throw new UsageError(
      `Cannot ${verb} "${name}": its keyword arguments must be an object, not ${shownJson(kwargs)}`,
    );
  }
}

/**
 * The names of all options of a signature, which are those of sending. Longer lists of names include them.
 */
export const SIGNATURE_OPTIONS = {
  taskId: true,
  replyTo: true,
  groupId: true,
  groupIndex: true,
  rootId: true,
  parentId: true,
  chord: true,
  chain: true,
  link: true,
  linkError: true,
  countdown: true,
  eta: true,
  expires: true,
  queue: true,
  exchange: true,
  exchangeType: true,
  routingKey: true,
  priority: true,
  serializer: true,
  compression: true,
  deliveryMode: true,
  headers: true,
  timeLimit: true,
  softTimeLimit: true,
  retry: true,
  retryPolicy: true,
  ignoreResult: true,
  shadow: true,
  retries: true,
  addToParent: true,
  stampedHeaders: true,
  replacedTaskNesting: true,
  argsrepr: true,
  kwargsrepr: true,
  origin: true,
  routeName: true,
  correlationId: true,
  stamps: true,
} as const;
const OPTION_NAMES = namesOf<SignatureOptions>(SIGNATURE_OPTIONS);

/**
 * Throws UsageError for an unknown option that a program gives a signature. A name in `stampedHeaders`, of
 * `given` or of the signature's `own` options, is a stamp.
 */
export function refuseUnknownInSignature(
  given: SignatureOptions,
  task: string,
  own: SignatureOptions = {},
): void {
  for (const name of Object.keys(given)) {
    if (OPTION_NAMES.has(name)) continue;
    if (given.stampedHeaders?.includes(name) || own.stampedHeaders?.includes(name)) continue;
    throw unknownName(name, OPTION_NAMES, `signature "${task}"`);
  }
}

const NAMES: readonly (readonly [string, string])[] = [
  ["taskId", "task_id"],
  ["replyTo", "reply_to"],
  ["groupId", "group_id"],
  ["groupIndex", "group_index"],
  ["rootId", "root_id"],
  ["parentId", "parent_id"],
  ["linkError", "link_error"],
  ["exchangeType", "exchange_type"],
  ["routingKey", "routing_key"],
  ["deliveryMode", "delivery_mode"],
  ["timeLimit", "time_limit"],
  ["softTimeLimit", "soft_time_limit"],
  ["retryPolicy", "retry_policy"],
  ["ignoreResult", "ignore_result"],
  ["addToParent", "add_to_parent"],
  ["stampedHeaders", "stamped_headers"],
  ["replacedTaskNesting", "replaced_task_nesting"],
  ["correlationId", "correlation_id"],
  ["routeName", "route_name"],
  ["bodyEncoding", "body_encoding"],
];
const TO_WIRE: ReadonlyMap<string, string> = new Map(NAMES);
const FROM_WIRE: ReadonlyMap<string, string> = new Map(NAMES.map(([ours, wire]) => [wire, ours]));

/** Returns the wire's name of an option: "task_id" for "taskId"; any other name unchanged. */
export function optionToWire(name: string): string {
  return TO_WIRE.get(name) ?? name;
}

/** Returns our name of an option of the wire. */
function optionFromWire(name: string): string {
  return FROM_WIRE.get(name) ?? name;
}

/** Returns the option `chain` as a list. */
export function chainList(chain: SignatureOptions["chain"]): readonly SignatureLike[] {
  return chain instanceof ChainSteps ? chain.all() : chain ?? [];
}

/** Returns an option as a list, whether it is one value, a list or absent. */
export function optionList<T>(value: T | readonly T[] | null | undefined): T[] {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? [...value as readonly T[]] : [value as T];
}

/** Converts options of the wire to our names. */
export function optionsFromWire(wire: Record<string, unknown> | null | undefined): SignatureOptions {
  const options: SignatureOptions = {};
  if (!wire) return options;
  for (const name of Object.keys(wire)) options[optionFromWire(name)] = wire[name];
  return options;
}

/** Returns `own` with the options of `over`; a group id and stamps in `own` are kept. */
export function mergeOptions(own: SignatureOptions, over: SignatureOptions): SignatureOptions {
  const merged: SignatureOptions = { ...own };
  const stamped = own.stampedHeaders ?? [];
  for (const name of Object.keys(over)) {
    const value = over[name];
    if (value === undefined || value === null) continue;
    const isKept = name in own && (name === "groupId" || name === "stampedHeaders" || stamped.includes(name));
    if (!isKept) merged[name] = value;
  }
  return merged;
}

/** Adds a link, unless the list has it already. */
export function appendLink(
  options: SignatureOptions,
  name: "link" | "linkError",
  value: SignatureLike,
): void {
  const list = optionList<SignatureLike>(options[name]);
  const text = linkText(value);
  if (!list.some((item) => item === value || text !== null && linkText(item) === text)) list.push(value);
  options[name] = list;
}

/** Returns a link as text for comparisons; null if it cannot be encoded, which sending it reports. */
function linkText(link: SignatureLike): string | null {
  try {
    return toJson(link);
  } catch (error) {
    if (error instanceof EncodeError) return null;
    throw error;
  }
}
