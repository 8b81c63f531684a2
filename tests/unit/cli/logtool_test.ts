/** `lovage logtool`: what it reads out of logs, Celery's and ours. */

import assert from "node:assert/strict";
import { LogAudit } from "../../../lib/cli/logtool.ts";

const HEAD = "[2026-11-22 17:24:57,372: INFO/ForkPoolWorker-1] ";
const LOG = `
 -------------- w1@x v5.2.6 (dawn-chorus)
${HEAD}w1@x ready.
${HEAD}Task t.add[a] received
${HEAD}Task t.add[a] succeeded in 0.004s: 'Task t.add[z] received'
${HEAD}Task t.fail[b] received
${HEAD.replace("INFO", "ERROR")}Task t.fail[b] raised unexpected: ValueError('boom')
Traceback (most recent call last):
ValueError: boom
${HEAD}Task t.retry[c] received
${HEAD}Task t.retry[c] retry: Retry in 0.1s
${HEAD}Task t.retry[c] received
${HEAD}Task t.add[d] received
${HEAD}Discarding revoked task: t.add[d]
${HEAD}Received task: t.old[e]  ETA:[2026-11-22 17:25:00]
${HEAD}Task t.late[f] received
${HEAD}Task t.late[f] reject requeue=False: no
`;

Deno.test("LogAudit: counts, errors, tracebacks, other lines, what did not complete", () => {
  const traces: string[] = [];
  const errors: string[] = [];
  const others: string[] = [];
  const audit = new LogAudit({
    onTrace: (text) => traces.push(text),
    onError: (line) => errors.push(line),
    onOther: (line) => others.push(line),
  });
  for (const line of LOG.trim().split("\n")) audit.feed(line);
  audit.endOfFile();
  assert.deepEqual(audit.report(), {
    total: 6,
    errors: 2,
    succeeded: 1,
    completed: 4,
    types: { "t.add": 2, "t.fail": 1, "t.retry": 1, "t.old": 1, "t.late": 1 },
  });
  assert.deepEqual(audit.incomplete(), ["c", "e"]);
  assert.equal(errors.length, 2);
  assert.deepEqual(traces.map((text) => text.split("\n").slice(1)), [[
    "Traceback (most recent call last):",
    "ValueError: boom",
  ]]);
  assert.deepEqual(others, [`${HEAD}w1@x ready.`]);
});

Deno.test("LogAudit: JSON lines are read as the lines that the default format has for them", () => {
  const traces: string[] = [];
  const audit = new LogAudit({ onTrace: (text) => traces.push(text) });
  const json = (level: string, message: string, more: object = {}) =>
    audit.feed(
      JSON.stringify({
        time: "2026-11-22T17:24:57.372Z",
        level,
        process: "ForkPoolWorker-1",
        message,
        ...more,
      }),
    );
  json("INFO", "Task t.add[a] received");
  json("INFO", "Task t.add[a] succeeded in 0.1s: 3");
  json("INFO", "Task t.fail[b] received");
  json("ERROR", "Task t.fail[b] raised unexpected: ValueError('x')", {
    error: { type: "ValueError", repr: "ValueError('x')", traceback: "Traceback:\nValueError: x\n" },
  });
  audit.feed("{not JSON");
  audit.endOfFile();
  const { total, errors, succeeded } = audit.report();
  assert.deepEqual([total, errors, succeeded], [2, 1, 1]);
  assert.equal(traces.length, 1);
  assert.match(
    traces[0]!,
    /^\[2026-11-22 17:24:57.372Z: ERROR\/ForkPoolWorker-1\] Task t.fail.*\nTraceback:\n/,
  );
});
