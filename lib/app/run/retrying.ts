/**
 * Retries: when, how often, and the message that is sent.
 *
 * Source: celery 5.2.6 app/task.py retry, signature_from_request, app/autoretry.py, utils/time.py
 * get_exponential_backoff_interval; protocol.md 8.6.
 */

import { type Random, refuseUnknown } from "../../base/mod.ts";
import {
  argsRepr,
  Ignore,
  kwargsRepr,
  MaxRetriesExceededError,
  Reject,
  Retry,
  SoftTimeLimitExceeded,
  ValidationError,
} from "../../wire/mod.ts";
import type { Execution } from "./execution.ts";
import type { TaskRequest } from "../call/request.ts";
import type { SendCall, SendOptions } from "../call/send_options.ts";
import { type ErrorClass, RETRY_OPTION_NAMES, type RetryOptions } from "../conf/task_options.ts";
import { formOptions } from "../conf/call_options.ts";

/**
 * Implements `self.retry`: returns the Retry to throw, which the run also keeps. If no retries are left,
 * throws `exc` or MaxRetriesExceededError; outside a worker, throws `exc` or the Retry.
 */
export function requestRetry(run: Execution, options: RetryOptions): Retry {
  const { request } = run;
  refuseUnknown(options, RETRY_OPTION_NAMES, `a retry of task "${run.name}"`);
  const { exc = null } = options;
  if (request.calledDirectly) throw exc ?? new Retry("Task can be retried");
  const most = options.maxRetries ?? (run.maxRetries === undefined ? run.options.maxRetries : run.maxRetries);
  if (options.maxRetries !== null && options.maxRetries !== undefined) run.maxRetries = options.maxRetries;
  const call = retryCall(run, options);
  if (most !== null && request.retries + 1 > most) {
    if (exc !== null) throw exc;
    throw new MaxRetriesExceededError(
      `Can't retry ${run.name}[${request.id}] args:${argsRepr(call.args)} kwargs:${kwargsRepr(call.kwargs)}`,
    );
  }
  const { eta, countdown } = call.options as SendOptions;
  const when = eta instanceof Date ? eta.toISOString() : eta ?? countdown ?? null;
  const retry = new Retry(null, { exc, when, isEager: request.isEager, signature: call });
  run.retry = retry;
  return retry;
}

/**
 * Returns the call that runs a task again: the original call in the form of the task's own messages, with one
 * retry more.
 */
function retryCall(run: Execution, options: RetryOptions): SendCall {
  const { request } = run;
  const { args, kwargs, exc: _exc, maxRetries: _most, ...more } = options;
  const send: SendOptions = {
    ...formOptions(run.options),
    ...executionOptions(request),
    retries: request.retries + 1,
  };
  for (const [name, value] of Object.entries(more)) {
    if (value !== null && value !== undefined && value !== "") {
      (send as Record<string, unknown>)[name] = value;
    }
  }
  if (!send.queue) Object.assign(send, originOf(request));
  if (!send.eta && (send.countdown === null || send.countdown === undefined)) {
    send.countdown = run.options.defaultRetryDelay;
  }
  for (const name of ["chord", "chain", "link", "linkError", "headers", "stamps"] as const) {
    if (send[name]) Object.assign(send, { [name]: run.restored(send[name]) });
  }
  const again = run.restored([args ?? request.args, kwargs ?? request.kwargs] as const);
  return { name: run.name, args: again[0], kwargs: again[1], options: send };
}

/**
 * Converts a request to options of the message that runs it again. Source: celery 5.2.6 app/task.py
 * as_execution_options.
 */
function executionOptions(request: TaskRequest): SendOptions {
  return {
    taskId: request.id,
    rootId: request.rootId,
    parentId: request.parentId ?? request.id,
    groupId: request.group,
    groupIndex: request.groupIndex,
    shadow: request.shadow,
    chord: request.chord,
    chain: request.chain,
    link: request.callbacks,
    linkError: request.errbacks,
    expires: request.expires,
    timeLimit: request.timeLimit,
    softTimeLimit: request.softTimeLimit,
    headers: request.headers,
    priority: request.deliveryInfo.priority,
    replyTo: request.replyTo,
    ignoreResult: request.ignoreResult,
    replacedTaskNesting: request.replacedTaskNesting,
    stampedHeaders: request.stampedHeaders,
    stamps: request.stamps,
    origin: request.origin,
  };
}

function originOf(request: TaskRequest): SendOptions {
  const { exchange, routingKey } = request.deliveryInfo;
  if (exchange === "" && routingKey !== "") return { queue: routingKey };
  if (exchange === "" && routingKey === "") return {};
  return { exchange, routingKey };
}

/**
 * Returns the retry for an error that `autoretryFor` covers, or null. Throws like `requestRetry` if no
 * retries are left.
 */
export function autoRetry(run: Execution, error: unknown, random: Random): Retry | null {
  const { autoretryFor, dontAutoretryFor, retryBackoff, retryKwargs } = run.options;
  if (autoretryFor.length === 0) return null;
  if (error instanceof Retry || error instanceof Ignore || error instanceof Reject) return null;
  // A retry would have the same invalid arguments.
  if (error instanceof ValidationError) return null;
  if (isOneOf(error, dontAutoretryFor) || !isOneOf(error, autoretryFor)) return null;
  const options: RetryOptions = { ...retryKwargs, exc: error };
  if (retryBackoff !== false && retryBackoff !== 0) {
    options.countdown = backoffSeconds(run.request.retries, {
      factor: Math.trunc(Math.max(1, Number(retryBackoff))),
      maximum: run.options.retryBackoffMax,
      jitter: run.options.retryJitter ? random : null,
    });
  }
  return requestRetry(run, options);
}

/**
 * Returns the seconds before retry `retries + 1`: the factor, doubled for each retry, at most `maximum`; with
 * jitter a random integer from 0 to that.
 */
export function backoffSeconds(
  retries: number,
  options: { factor: number; maximum: number; jitter: Random | null },
): number {
  const full = Math.min(options.maximum, options.factor * 2 ** retries);
  return options.jitter === null ? full : Math.floor(options.jitter.fraction() * (full + 1));
}

/** Returns true if the error is an instance of one of the classes. */
export function isOneOf(error: unknown, classes: readonly ErrorClass[]): boolean {
  for (const one of classes) if (error instanceof one) return true;
  return false;
}

/** Returns true for the error of the soft time limit. */
export function isSoftLimit(error: unknown): boolean {
  return error instanceof SoftTimeLimitExceeded;
}
