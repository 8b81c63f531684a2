/**
 * The options of a call of a registered task: the task's own options, overridden by those of the call.
 *
 * Source: celery 5.2.6 app/task.py extract_exec_options, apply_async; celery main app/base.py send_task.
 */

import type { SendOptions } from "../call/send_options.ts";
import type { ResolvedTaskOptions } from "./task_options.ts";

/** Returns the send options that a task adds to each of its calls. */
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

/** Returns the options that determine the form of each of a task's messages, including retries. */
export function formOptions(options: ResolvedTaskOptions): SendOptions {
  const send: SendOptions = {};
  if (options.serializer !== null) send.serializer = options.serializer;
  if (options.compression !== null) send.compression = options.compression;
  if (options.deliveryMode !== null) send.deliveryMode = options.deliveryMode;
  return send;
}

/** The parts of a task that are needed here. */
type CalledTask = { readonly options: ResolvedTaskOptions; readonly sendOptions: SendOptions };

/**
 * Returns the options of one call of a registered task: the task's, overridden by the call's. Null and
 * undefined mean "not given".
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
 * Returns the options of one call by name: like `callOptions` if the task is registered here, except that its
 * `ignoreResult` and `shadowName` do not apply.
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
