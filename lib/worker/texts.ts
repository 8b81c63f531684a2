/**
 * Log lines of the worker that people and programs match, in Celery's words.
 *
 * Source: celery 5.2.6 and 5.6.3 app/trace.py, worker/consumer/consumer.py, worker/request.py; protocol.md
 * 10.2, 10.3.
 */

import { humanizeSeconds, MAIN_PROCESS, shownLine } from "../base/mod.ts";

/** The connection was lost under a running consumer. */
export const CONNECTION_RETRY =
  "consumer: Connection to broker lost. Trying to re-establish the connection...";

/** A failed attempt to connect. `url` has its password masked; `step` says what follows. */
export function connectionError(url: string, reason: string, step: string): string {
  return `consumer: Cannot connect to ${url}: ${reason}.\n${step}\n`;
}

/** What follows a failed attempt: `Trying again in 2.00 seconds... (1/100)`. `max` Infinity: no limit. */
export function retryStep(delaySeconds: number, attempt: number, max: number): string {
  const limit = Number.isFinite(max) ? String(max) : "inf";
  return `Trying again ${humanizeSeconds(delaySeconds, "in ")}... (${attempt}/${limit})`;
}

/** What follows a failed attempt if another URL is tried at once. */
export const NEXT_FAILOVER = "Will retry using next failover.";

/** A message whose task is not registered here. */
export function unknownTask(name: string, body: string, headers: string, info: string): string {
  return `Received unregistered task of type '${shownLine(name)}'.\n` +
    `It is kept in the dead letters. Is the module that registers it among this worker's imports?\n\n` +
    `body: ${body}\nheaders: ${headers}\ndelivery info: ${info}`;
}

/** A message that is not a task. */
export function unknownMessage(report: string): string {
  return `Received and deleted unknown message.  Wrong destination?!?\n\n${report}`;
}

/** A task message with invalid headers or arguments. */
export function invalidTask(reason: string, body: string): string {
  return `Received invalid task message: ${
    shownLine(reason)
  }\nIt is kept in the dead letters.\n\nbody: ${body}`;
}

/** A body that cannot be decoded, or whose content type is not accepted. */
export function decodeError(
  reason: string,
  message: { type: string; encoding: string; headers: string; body: string },
): string {
  return `Can't decode message body: ${
    shownLine(reason)
  } [type:${message.type} encoding:${message.encoding} ` +
    `headers:${message.headers}]\n\nbody: ${message.body}`;
}

/** Returns at most `maxChars` characters of a text, with the three dots of Celery's reports. */
export function truncate(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 3)}...`;
}

/** Printed on the terminal as shutdown proceeds, each after a blank line. */
export const NOTICES = {
  warm: `worker: Warm shutdown (${MAIN_PROCESS})`,
  cold: `worker: Cold shutdown (${MAIN_PROCESS})`,
  intHint: "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!",
  coldHint: "worker: Hitting Ctrl+C again will terminate all running tasks!",
  waiting: "Waiting gracefully for cold shutdown to complete...",
} as const;

/** Logged if a stop takes long after the last task has ended; says how to cut it short. */
export function stillWaiting(what: string): string {
  return `Shutdown waits for ${what}; QUIT ends the wait within 5 seconds`;
}
