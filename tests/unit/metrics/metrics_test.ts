/** Counts and their text: Prometheus' own rules, and the names of celery-exporter. */

import assert from "node:assert/strict";
import {
  hostLabel,
  MetricsText,
  sampledFamilies,
  TaskMetrics,
  writeTasks,
} from "../../../lib/metrics/mod.ts";

function counted(): TaskMetrics {
  const tasks = new TaskMetrics();
  const series = tasks.of("shop.add", "web1", "celery");
  series.isKnown = true;
  series.received = 3;
  series.started = 3;
  series.succeeded = 2;
  series.fail("ValueError('no \"x\"\\n')");
  series.runtime.observe(0.005);
  series.runtime.observe(0.3);
  series.queueWait.observe(4000);
  tasks.of("shop.add", "api1", "celery").sent = 5;
  return tasks;
}

function textOf(tasks: TaskMetrics, isOpenMetrics = false): string {
  const text = new MetricsText({ isOpenMetrics });
  writeTasks(text, tasks);
  return text.end();
}

Deno.test("metrics: names, labels and buckets of celery-exporter, to the letter", () => {
  const lines = textOf(counted()).split("\n");
  const labels = 'name="shop.add",hostname="web1",queue_name="celery"';
  for (
    const line of [
      "# HELP celery_task_sent_total Sent when a task message is published.",
      "# TYPE celery_task_sent_total counter",
      'celery_task_sent_total{name="shop.add",hostname="api1",queue_name="celery"} 5',
      `celery_task_received_total{${labels}} 3`,
      `celery_task_retried_total{${labels}} 0`,
      'celery_task_failed_total{name="shop.add",hostname="web1",exception="",queue_name="celery"} 0',
      'celery_task_failed_total{name="shop.add",hostname="web1",exception="ValueError",queue_name="celery"} 1',
      "# TYPE celery_task_runtime histogram",
      `celery_task_runtime_bucket{${labels},le="0.005"} 1`,
      `celery_task_runtime_bucket{${labels},le="0.25"} 1`,
      `celery_task_runtime_bucket{${labels},le="0.5"} 2`,
      `celery_task_runtime_bucket{${labels},le="1.0"} 2`,
      `celery_task_runtime_bucket{${labels},le="+Inf"} 2`,
      `celery_task_runtime_sum{${labels}} 0.305`,
      `celery_task_runtime_count{${labels}} 2`,
      `celery_task_queue_wait_time_bucket{${labels},le="1800.0"} 0`,
      `celery_task_queue_wait_time_bucket{${labels},le="+Inf"} 1`,
    ]
  ) assert.ok(lines.includes(line), line);
  // A node that only sends gets no zeros for what workers do.
  assert.ok(!lines.some((line) => line.startsWith("celery_task_received_total") && line.includes("api1")));
});

Deno.test("metrics: names from outside are escaped, and bounded in number", () => {
  const tasks = new TaskMetrics({ seriesMax: 2 });
  for (const name of ['a"\\\n', "b", "c", "d"]) {
    const series = tasks.of(name, "h", "q");
    series.isKnown = true;
    series.received++;
  }
  const lines = textOf(tasks).split("\n");
  assert.ok(
    lines.includes(String.raw`celery_task_received_total{name="a\"\\\n",hostname="h",queue_name="q"} 1`),
  );
  assert.ok(lines.includes('celery_task_received_total{name="other",hostname="other",queue_name="other"} 2'));
  assert.ok(lines.includes("lovage_metrics_series_overflow_total 2"));
  const series = tasks.of("b", "h", "q");
  for (let n = 0; n < 200; n++) series.fail(`Error${n}()`);
  series.fail("no class");
  assert.equal(series.failed.size, 51);
  assert.equal(series.failed.get("other"), 151);
  // Python's class names may have any letters.
  const other = tasks.of("c", "h", "q");
  other.fail("Fehlschläge('x')");
  assert.ok(other.failed.has("Fehlschläge"));
});

Deno.test("metrics: a name of 10 KB is one series, and 255 characters of it are shown", () => {
  const tasks = new TaskMetrics();
  const long = "n".repeat(10_000);
  tasks.of(long, "h", long).sent = 1;
  tasks.of("other one", "h", "q").sent = 1;
  tasks.of(long, "h", long).sent++;
  const shown = `${"n".repeat(255)}…`;
  assert.ok(
    textOf(tasks).includes(`celery_task_sent_total{name="${shown}",hostname="h",queue_name="${shown}"} 2`),
  );
});

Deno.test("metrics: OpenMetrics, a prefix and added labels", () => {
  const text = textOf(counted(), true);
  assert.match(text, /# TYPE celery_task_sent counter\ncelery_task_sent_total\{/);
  assert.ok(text.endsWith("# EOF\n"));
  assert.match(text, /# HELP lovage_metrics_series_overflow .* under \\"other\\" /);
  const own = new MetricsText({ prefix: "shop_", labels: { site: "eu" } });
  own.single({ name: "celery_worker_up", type: "gauge", help: "x" }, { hostname: "h" }, 1);
  own.single({ name: "process_x", type: "gauge", help: "x" }, {}, NaN);
  assert.match(own.end(), /^shop_worker_up\{hostname="h",site="eu"\} 1$/m);
  assert.match(own.end(), /^process_x\{site="eu"\} NaN$/m);
});

Deno.test("metrics: a node's host is the part after the @", () => {
  assert.deepEqual(["celery@web1", "w@a@b", "web1"].map(hostLabel), ["web1", "a@b", "web1"]);
});

Deno.test("metrics: a sample's own label overrides an added one", () => {
  const text = new MetricsText({ labels: { task: "mine", env: "prod" } });
  text.family({ name: "celery_x", type: "gauge", help: "X" });
  text.sample({ worker: "w", task: "shop.add" }, 1);
  text.sample({}, 2);
  assert.deepEqual(text.end().trim().split("\n").slice(2), [
    'celery_x{worker="w",task="shop.add",env="prod"} 1',
    'celery_x{task="mine",env="prod"} 2',
  ]);
});

Deno.test("metrics: a parsed text has every family, label and value", () => {
  const tasks = counted();
  const name = 'a"b\\ }\r\u2028\n, c="d" 1';
  const odd = tasks.of(name, "h", "q");
  odd.isKnown = true;
  odd.received = 7;
  const text = new MetricsText();
  writeTasks(text, tasks);
  text.single({ name: "celery_odd", type: "gauge", help: "One\\two\nthree." }, {}, NaN);
  const families = sampledFamilies(text.end());

  const received = families.find((family) => family.name === "celery_task_received_total")!;
  assert.deepEqual(received.samples.at(-1), {
    name: "celery_task_received_total",
    labels: { name, hostname: "h", queue_name: "q" },
    value: 7,
  });
  const runtime = families.find((family) => family.name === "celery_task_runtime")!;
  assert.equal(runtime.type, "histogram");
  assert.deepEqual(runtime.samples.at(-1)!.name, "celery_task_runtime_count");
  assert.deepEqual(families.at(-1), {
    name: "celery_odd",
    type: "gauge",
    help: "One\\two\nthree.",
    samples: [{ name: "celery_odd", labels: {}, value: "NaN" }],
  });
});
