/**
 * Log records as JSON, one object a line, for programs that collect logs.
 *
 *     {"time":"2026-11-30T19:57:27.481Z","level":"ERROR","logger":"celery.app.trace","process":"ForkPoolWorker-1",
 *      "pid":71,"node":"celery@web1","task_name":"tasks.add","task_id":"…","trace_id":"…","span_id":"…",
 *      "message":"…","error":{"type":"ValueError","repr":"ValueError('x')","traceback":"…"}}
 *
 * A field without a value is left out. Source of the names for traces: OpenTelemetry, "Trace Context in
 * non-OTLP Log Formats".
 */

import { type Level, type LogContext, shown } from "../base/mod.ts";
import { shownJson, traceIds } from "../wire/mod.ts";

/** An escape in JSON. One that is six characters long is half of a surrogate pair. */
const ESCAPE = /\\(?:ud[89a-f][\da-f]{2}|.)/gi;

/** The fields that every record has. */
export interface JsonFacts {
  readonly atMs: number;
  readonly logger: string;
  readonly process: string;
  readonly pid: number;
  /** The node's name; null before it is known and in commands that are not nodes. */
  readonly node: string | null;
}

/**
 * Returns one record as a line of JSON with a line end. Control characters are escaped, as everywhere in the
 * log.
 */
export function jsonLine(facts: JsonFacts, level: Level, message: string, context?: LogContext): string {
  const record: Record<string, unknown> = {
    time: new Date(facts.atMs).toISOString(),
    level,
    logger: facts.logger,
    process: facts.process,
    pid: facts.pid,
  };
  if (facts.node !== null) record["node"] = facts.node;
  const task = context?.task ?? context?.about;
  if (task) {
    record["task_name"] = task.name;
    record["task_id"] = task.id;
    const ids = traceIds(task.traceparent);
    if (ids !== null) [record["trace_id"], record["span_id"]] = [ids.traceId, ids.spanId];
  }
  record["message"] = message;
  const error = context?.error;
  if (error) record["error"] = error;
  const line = shown(shownJson(record));
  // Most log collectors cannot read half of a surrogate pair and would drop the line.
  const whole = line.includes("\\ud")
    ? line.replace(ESCAPE, (one) => one.length === 6 ? "\\ufffd" : one)
    : line;
  return `${whole}\n`;
}
