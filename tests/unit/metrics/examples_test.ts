/** Examples that operators copy use only metrics that exist. */

import assert from "node:assert/strict";
import { filePath } from "../../../lib/base/mod.ts";
import { FAMILIES, MetricsText, TaskMetrics, writeTasks } from "../../../lib/metrics/mod.ts";

const FOLDER = filePath(new URL("../../../examples/observability/", import.meta.url));

/** The metrics that dashboards and alerts of the Celery mixin use. */
const MIXIN = [
  ...["sent", "received", "succeeded", "failed", "rejected", "retried", "revoked"].map((one) =>
    `celery_task_${one}_total`
  ),
  ...["bucket", "sum", "count"].map((one) => `celery_task_runtime_${one}`),
  ...["celery_worker_up", "celery_worker_tasks_active", "celery_queue_length"],
];

/** Every name that a sample of ours may have. */
function names(): Set<string> {
  const text = new MetricsText();
  writeTasks(text, new TaskMetrics());
  const found = new Set<string>(Object.values(FAMILIES).map(({ name }) => name));
  for (const [, name, type] of text.end().matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    if (type === "histogram") { for (const end of ["bucket", "sum", "count"]) found.add(`${name}_${end}`); }
    else found.add(name!);
  }
  return found;
}

Deno.test("examples/observability: every query uses metrics that exist, and so do those of the mixin", () => {
  const known = names();
  const asked = new Set(MIXIN);
  for (const file of ["dashboard.json", "alerts.yaml", "kubernetes.yaml"]) {
    const text = Deno.readTextFileSync(FOLDER + file);
    for (const [name] of text.matchAll(/\b(?:celery|lovage|process)_[a-z_]+\b(?=[{\[) ]|$)/gm)) {
      asked.add(name);
    }
  }
  assert.ok(asked.size > 25, `only ${asked.size} found`);
  assert.deepEqual([...asked].filter((name) => !known.has(name)), []);
});

Deno.test("examples/observability: rates are of counters, changes of gauges", () => {
  const wrong: string[] = [];
  for (const file of ["dashboard.json", "alerts.yaml", "kubernetes.yaml"]) {
    const text = Deno.readTextFileSync(FOLDER + file);
    for (
      const [asked, of, name] of text.matchAll(
        /\b(i?rate|increase|i?delta|deriv)\(((?:celery|lovage|process)_\w+)/g,
      )
    ) {
      const isCounter = /_(total|bucket|sum|count)$/.test(name!);
      if (isCounter !== /rate|increase/.test(of!)) wrong.push(`${file}: ${asked}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("examples/observability: the dashboard has the form that Grafana reads", () => {
  const { uid, panels, templating } = JSON.parse(Deno.readTextFileSync(`${FOLDER}dashboard.json`));
  assert.equal(uid, "lovage-overview");
  assert.deepEqual(templating.list.map(({ name }: { name: string }) => name), ["datasource", "job", "queue"]);
  assert.equal(new Set(panels.map(({ id }: { id: number }) => id)).size, panels.length);
});
