/** `lovage upgrade settings`: what is renamed, and what is left alone. */

import assert from "node:assert/strict";
import { upgradedSettings } from "../../../lib/cli/upgrade_settings.ts";

const same = (name: string) => name;

const LINES: readonly (readonly [line: string, upgraded: string])[] = [
  // Python.
  ["CELERY_ACKS_LATE = True", "task_acks_late = True"],
  ["BROKER_URL='redis://h'  # the BROKER_URL", "broker_url='redis://h'  # the BROKER_URL"],
  ["    CELERYD_CONCURRENCY=4,", "    worker_concurrency=4,"],
  ["app.conf.CELERY_TASK_RESULT_EXPIRES = 3600", "app.conf.result_expires = 3600"],
  ["app.conf['CELERY_ACKS_LATE'] = True", "app.conf['task_acks_late'] = True"],
  [
    "app.conf.update(CELERY_ACKS_LATE=True, CELERYD_CONCURRENCY=2)",
    "app.conf.update(task_acks_late=True, worker_concurrency=2)",
  ],
  ["CELERYBEAT_SCHEDULE = {", "beat_schedule = {"],
  // TypeScript, JSON, TOML.
  ["  CELERY_ACKS_LATE: true,", "  task_acks_late: true,"],
  [
    '{"BROKER_URL": "redis://h", "CELERY_ACKS_LATE": true}',
    '{"broker_url": "redis://h", "task_acks_late": true}',
  ],
  // Left alone.
  ["# CELERY_ACKS_LATE = True", "# CELERY_ACKS_LATE = True"],
  ["if CELERY_ACKS_LATE == True:", "if CELERY_ACKS_LATE == True:"],
  ["MY_CELERY_ACKS_LATE = 1", "MY_CELERY_ACKS_LATE = 1"],
  ["SOMETHING_ELSE = CELERY_ACKS_LATE", "SOMETHING_ELSE = CELERY_ACKS_LATE"],
  ["os.environ['CELERY_BROKER_URL'] = 'x'", "os.environ['CELERY_BROKER_URL'] = 'x'"],
  ["process.env.CELERY_BROKER_URL = 'x'", "process.env.CELERY_BROKER_URL = 'x'"],
  ["task_acks_late = True", "task_acks_late = True"],
];

Deno.test("upgradedSettings: old names of what is set, and nothing else", () => {
  for (const [line, upgraded] of LINES) assert.equal(upgradedSettings(line, same), upgraded);
  const all = LINES.map(([line]) => line).join("\r\n");
  assert.equal(upgradedSettings(all, same), LINES.map(([, line]) => line).join("\r\n"));
  const again = upgradedSettings(all, same);
  assert.equal(upgradedSettings(again, same), again, "twice is once");
});
