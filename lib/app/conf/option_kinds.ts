/**
 * The kinds of values that a task's options may have. Options with a check of their own are not listed here.
 *
 * Source: celery 5.2.6 app/task.py Task attributes.
 */

import { UsageError } from "../../base/mod.ts";
import { shownJson } from "../../wire/mod.ts";
import { PRIORITY_MAX } from "../call/send_options.ts";
import { amount, count, flag, orNull, rate, REFUSED, type Setting, shaped, text } from "./kinds.ts";

const isSet = orNull(flag(false));
const someText = orNull(text(""));
const someSeconds = orNull(amount(0, "seconds"));
const hook = orNull(shaped("a function", null, (value) => typeof value === "function"));
const errorClasses = orNull(
  shaped(
    "an array of error classes",
    [],
    (value) => Array.isArray(value) && value.every((one) => typeof one === "function"),
  ),
);
const OPTION_KINDS: Readonly<Record<string, Setting<unknown>>> = {
  bind: isSet,
  typing: isSet,
  maxRetries: orNull(shaped("a number", 3, (value) => typeof value === "number" && !Number.isNaN(value))),
  defaultRetryDelay: someSeconds,
  autoretryFor: errorClasses,
  dontAutoretryFor: errorClasses,
  throws: errorClasses,
  retryBackoff: orNull(
    shaped(
      "true, false or a number of seconds",
      false,
      (value) => typeof value === "boolean" || (typeof value === "number" && value >= 0),
    ),
  ),
  retryBackoffMax: someSeconds,
  retryJitter: isSet,
  rateLimit: orNull(rate()),
  timeLimit: someSeconds,
  softTimeLimit: someSeconds,
  ignoreResult: isSet,
  storeErrorsEvenIfIgnored: isSet,
  storeEagerResult: isSet,
  trackStarted: isSet,
  acksLate: isSet,
  acksOnFailureOrTimeout: isSet,
  acksOnFailure: isSet,
  acksOnTimeout: isSet,
  rejectOnWorkerLost: isSet,
  priority: orNull(count(0, 0, PRIORITY_MAX)),
  serializer: someText,
  compression: someText,
  queue: someText,
  exchange: someText,
  exchangeType: someText,
  routingKey: someText,
  sendEvents: isSet,
  trail: isSet,
  resultreprMaxsize: orNull(count(1024)),
  shadowName: hook,
  params: orNull(
    shaped(
      "an array of names",
      [],
      (value) => Array.isArray(value) && value.every((one) => typeof one === "string"),
    ),
  ),
  beforeStart: hook,
  onSuccess: hook,
  onFailure: hook,
  onRetry: hook,
  afterReturn: hook,
  onReplace: hook,
};

/** Throws UsageError for a value that an option of the task `name` cannot have. */
export function checkOptionValues(name: string, options: object): void {
  for (const [option, value] of Object.entries(options) as [string, unknown][]) {
    const kind = OPTION_KINDS[option];
    if (kind === undefined || kind.accept(value) !== REFUSED) continue;
    throw new UsageError(
      `Option "${option}" of task "${name}" must be ${kind.expected}, not ${shownJson(value)}`,
    );
  }
}
