/**
 * Log lines of the worker that people and programs match, as Celery words them, and the way Python writes a float.
 *
 * Source: celery 5.2.6 and 5.6.3 app/trace.py, worker/consumer/consumer.py, worker/request.py; protocol.md 10.2, 10.3.
 */

/** A float as Python's `repr` writes it: `0.005611812000097416`, `3.0`, `1e-05`. */
export function pythonFloat(value: number): string {
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  if (value !== value) return "nan";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const text = value.toExponential();
    // Python writes at least two digits: 2e-7 is 2e-07 there.
    const digits = text.length - text.lastIndexOf("e") - 2;
    return digits > 1 ? text : `${text.slice(0, -1)}0${text.slice(-1)}`;
  }
  const text = String(value);
  return Number.isInteger(value) ? `${text}.0` : text;
}

/** The broker went away under a running consumer. */
export const CONNECTION_RETRY =
  "consumer: Connection to broker lost. Trying to re-establish the connection...";

/** One failed attempt to connect. `url` has its password masked; `step` says what follows. */
export function connectionError(url: string, reason: string, step: string): string {
  return `consumer: Cannot connect to ${url}: ${reason}.\n${step}\n`;
}

/** What follows a failed attempt: `Trying again in 2.00 seconds... (1/100)`. `max` Infinity: no end. */
export function retryStep(delaySeconds: number, attempt: number, max: number): string {
  const limit = Number.isFinite(max) ? String(max) : "inf";
  return `Trying again in ${humanSeconds(delaySeconds)}... (${attempt}/${limit})`;
}

/** What follows a failed attempt where another URL is tried at once. */
export const NEXT_FAILOVER = "Will retry using next failover.";

/** `2.00 seconds`, `1.00 second`, `1.50 minutes`. Source: celery utils/time.py humanize_seconds. */
function humanSeconds(seconds: number): string {
  const units: [string, number, number][] = [["day", 86400, 2], ["hour", 3600, 2], ["minute", 60, 2]];
  for (const [unit, size] of units) {
    if (seconds >= size) return plural(seconds / size, unit);
  }
  return plural(seconds, "second");
}

function plural(count: number, unit: string): string {
  return `${count.toFixed(2)} ${unit}${count > 1 ? "s" : ""}`;
}

/** A message whose task this worker does not know. */
export function unknownTask(name: string, body: string, headers: string, info: string): string {
  return `Received unregistered task of type '${name}'.\n` +
    `It is kept in the dead letters. Is the module that registers it among this worker's imports?\n\n` +
    `body: ${body}\nheaders: ${headers}\ndelivery info: ${info}`;
}

/** A message that is no task at all. */
export function unknownMessage(report: string): string {
  return `Received and deleted unknown message.  Wrong destination?!?\n\n${report}`;
}

/** A task message with headers or arguments that cannot be. */
export function invalidTask(reason: string, body: string): string {
  return `Received invalid task message: ${reason}\nIt is kept in the dead letters.\n\nbody: ${body}`;
}

/** A body that cannot be decoded, or whose content type is not accepted. */
export function decodeError(
  reason: string,
  message: { type: string; encoding: string; headers: string; body: string },
): string {
  return `Can't decode message body: ${reason} [type:${message.type} encoding:${message.encoding} ` +
    `headers:${message.headers}]\n\nbody: ${message.body}`;
}

/** At most `maxChars` of a text, with the three dots of Celery's reports. */
export function truncate(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 3)}...`;
}

/** Said on the terminal as shutdown proceeds; a blank line goes before each. */
export const SAY = {
  warm: "worker: Warm shutdown (MainProcess)",
  cold: "worker: Cold shutdown (MainProcess)",
  intHint: "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!",
  coldHint: "worker: Hitting Ctrl+C again will terminate all running tasks!",
  waiting: "Waiting gracefully for cold shutdown to complete...",
} as const;
