/**
 * What user code says outside the log, brought into the log with its task: console output, errors thrown by
 * stray timers, promises rejected with nobody to catch them.
 *
 * Source: celery 5.2.6 app/log.py redirect_stdouts_to_logger: everything at one level, WARNING unless set otherwise.
 */

import { errorText, nodeUtil, userStack } from "../../base/mod.ts";
import type { TaskLabel } from "../runner.ts";

const METHODS = ["log", "info", "debug", "warn", "error", "trace"] as const;

/** The task that the calling code runs in, or that started it; null where unknown. */
export type Label = () => TaskLabel | null;

/**
 * Sends console output to `emit`. `isEverything` false: only what is printed inside a task (solo, whose
 * process prints things of its own). Returns what undoes it.
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

/** The log line of a stray error or rejection event. `ofError`: whose error it is, where that is known. */
export function describeStray(
  event: Event,
  label: Label,
  ofError: (error: unknown) => TaskLabel | null,
): { text: string; task: TaskLabel | null } {
  const isRejection = event.type === "unhandledrejection";
  const thrown = isRejection ? (event as PromiseRejectionEvent).reason : (event as ErrorEvent).error;
  const what = isRejection ? "Unhandled rejection" : "Uncaught error";
  return { text: `${what} outside a task: ${strayText(thrown)}`, task: ofError(thrown) ?? label() };
}

function strayText(thrown: unknown): string {
  try {
    return thrown instanceof Error ? userStack(thrown) : nodeUtil().format(thrown);
  } catch {
    return errorText(thrown); // it throws when it is read
  }
}
