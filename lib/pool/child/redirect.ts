/**
 * Brings into the log, with its task, what user code reports otherwise: console output, uncaught errors of
 * timers, and unhandled rejections.
 *
 * Source: celery 5.2.6 app/log.py redirect_stdouts_to_logger: everything at one level, WARNING unless set
 * otherwise.
 */

import { errorText, nodeUtil, userStack } from "../../base/mod.ts";
import type { TaskLabel } from "../runner.ts";

const METHODS = ["log", "info", "debug", "warn", "error", "trace"] as const;

/** Returns the task in which the calling code runs, or which started it; null if unknown. */
export type Label = () => TaskLabel | null;

/**
 * Sends console output to `emit`. If `isEverything` is false, only output from inside a task (solo, whose
 * process prints other output as well). Returns a function that undoes it.
 */
export function captureConsole(
  label: Label,
  emit: (text: string, task: TaskLabel | null) => void,
  isEverything: boolean,
): () => void {
  const target = globalThis.console as unknown as Record<string, (...args: unknown[]) => void>;
  const before = METHODS.map((name) => [name, target[name]!] as const);
  for (const [name, original] of before) {
    target[name] = (...args: unknown[]) => {
      const task = label();
      if (task === null && !isEverything) original(...args);
      else emit(nodeUtil().format(...args), task);
    };
  }
  return () => {
    for (const [name, original] of before) target[name] = original;
  };
}

/**
 * Returns the log line for an event of an uncaught error or unhandled rejection. `ofError` returns the
 * error's task, if it is known.
 */
export function describeUncaught(
  event: Event,
  label: Label,
  ofError: (error: unknown) => TaskLabel | null,
): { text: string; task: TaskLabel | null } {
  const isRejection = event.type === "unhandledrejection";
  const thrown = isRejection ? (event as PromiseRejectionEvent).reason : (event as ErrorEvent).error;
  const what = isRejection ? "Unhandled rejection" : "Uncaught error";
  return { text: `${what} outside a task: ${uncaughtText(thrown)}`, task: ofError(thrown) ?? label() };
}

function uncaughtText(thrown: unknown): string {
  try {
    return thrown instanceof Error ? userStack(thrown) : nodeUtil().format(thrown);
  } catch {
    return errorText(thrown); // reading the error throws
  }
}
