/**
 * The options of a call of a registered task: what the task says of all its calls, and over it what the call says.
 *
 * Source: celery 5.2.6 app/task.py extract_exec_options, apply_async; celery main app/base.py send_task.
 */

import type { SendOptions } from "../call/send_options.ts";
import type { ResolvedTaskOptions } from "./task_options.ts";

/** What a task adds to each of its calls. */
export function execOptions(options: ResolvedTaskOptions): SendOptions {
  const send: SendOptions = { ignoreResult: options.ignoreResult };
  if (options.queue !== null) send.queue = options.queue;
  if (options.exchange !== null) send.exchange = options.exchange;
  if (options.exchangeType !== null) send.exchangeType = options.exchangeType;
  if (options.routingKey !== null) send.routingKey = options.routingKey;
  if (options.priority !== null) send.priority = options.priority;
  if (options.expires !== null) send.expires = options.expires;
  if (options.timeLimit !== null) send.timeLimit = options.timeLimit;
  if (options.softTimeLimit !== null) send.softTimeLimit = options.softTimeLimit;
  return Object.assign(send, formOptions(options));
}

/** The form a task gives to each of its messages, its retries included. */
export function formOptions(options: ResolvedTaskOptions): SendOptions {
  const send: SendOptions = {};
  if (options.serializer !== null) send.serializer = options.serializer;
  if (options.compression !== null) send.compression = options.compression;
  if (options.deliveryMode !== null) send.deliveryMode = options.deliveryMode;
  return send;
}

/** A task, as far as the options of its calls go. */
type CalledTask = { readonly options: ResolvedTaskOptions; readonly sendOptions: SendOptions };

/**
 * The options of one call of a registered task: the task's own, and over them those of the call. Null and undefined
 * mean "not given".
 */
export function callOptions(
  task: CalledTask,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: SendOptions | null,
): SendOptions {
  const merged = options === null ? task.sendOptions : overlaid(task.sendOptions, options);
  const { shadowName } = task.options;
  return shadowName && !merged.shadow ? { ...merged, shadow: shadowName(args, kwargs) } : merged;
}

/**
 * The options of one call by name: as `callOptions` if the task is registered here, but its `ignoreResult` and
 * `shadowName` do not count.
 *
 * Source: celery main app/base.py send_task (after 5.6.3), app/task.py extract_exec_options.
 */
export function optionsByName(task: CalledTask | undefined, options: SendOptions | null): SendOptions | null {
  if (task === undefined) return options;
  const { ignoreResult: _, ...own } = task.sendOptions;
  return options === null ? own : overlaid(own, options);
}

function overlaid(own: SendOptions, options: SendOptions): SendOptions {
  const over: Record<string, unknown> = { ...own };
  for (const [name, value] of Object.entries(options)) {
    if (value !== null && value !== undefined) over[name] = value;
  }
  return over as SendOptions;
}
