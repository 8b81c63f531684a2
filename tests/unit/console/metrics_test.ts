/** The cluster's metrics from events: what celery-exporter and Flower would show of the same events. */

import assert from "node:assert/strict";
import { ClusterMetrics } from "../../../lib/console/cluster/metrics.ts";
import type { Cluster } from "../../../lib/console/cluster/cluster.ts";
import type { WorkerInfo } from "../../../lib/console/cluster/inspector.ts";
import type { QueueWatch } from "../../../lib/console/cluster/queues.ts";
import type { ReceivedEvent } from "../../../lib/event/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

const OPTIONS = {
  hasFlower: true,
  buckets: {},
  isGeneric: false,
  seriesMax: null,
  defaultQueue: "celery",
  text: {},
} as const;

const ROW = {
  name: "celery",
  ready: null,
  priorities: [],
  unacked: 1,
  parked: null,
  limited: null,
  dead: 2,
  failed: 0,
  consumers: 1,
  oldest: 7,
  isPaused: null,
};

/** Metrics of a cluster whose clock stands at `now` seconds, and a way to give it events. */
function rig(options: Partial<ConstructorParameters<typeof ClusterMetrics>[0]> = {}) {
  const world = fakeWorld();
  const now = () => world.clock.wallMs() / 1000;
  const metrics = new ClusterMetrics({ ...OPTIONS, ...options }, world.clock.wallMs());
  const cluster = {
    world,
    isConnected: true,
    workers: new Map([["w@h1", { alive: true, active: 2 }], ["v@h1", { alive: true, active: 1 }]]),
  } as unknown as Cluster;
  const info = { stats: { pool: { processes: [1, 2] } } };
  const queues = {
    list: () => Promise.resolve({ rows: [ROW], dead: 0, failed: 0, why: null }),
    brokerConsumers: new Map([["celery", 4]]),
    workerCounts: (weigh: (info: WorkerInfo) => number = () => 1) => new Map([["celery", weigh(info)]]),
  };
  return {
    world,
    queues,
    take(type: string, hostname: string, fields: Record<string, unknown> = {}, at = now()) {
      const event = { type, hostname, utcoffset: 0, pid: 1, clock: 1, timestamp: at, local_received: now() };
      metrics.take({ ...event, ...fields } as ReceivedEvent);
    },
    lines: async () =>
      (await metrics.text({ cluster, queues: queues as unknown as QueueWatch }, false)).split(
        "\n",
      ),
  };
}

Deno.test("ClusterMetrics: a broker that does not answer costs the queues, not the scrape", async () => {
  const { take, lines, world, queues } = rig();
  take("worker-heartbeat", "w@h1");
  queues.list = () => new Promise(() => {});
  const scrape = lines();
  await world.clock.advance(5000);
  const all = await scrape;
  has(all, 'celery_worker_up{hostname="h1"} 1');
  assert.ok(!all.some((line) => line.startsWith("celery_queue_length{")));
});

function has(lines: readonly string[], ...wanted: string[]): void {
  for (const line of wanted) assert.ok(lines.includes(line), `${line}\nnot in:\n${lines.join("\n")}`);
}

Deno.test("ClusterMetrics: one task, from its sending to its end", async () => {
  const { take, lines, world } = rig();
  const at = world.clock.wallMs() / 1000;
  const uuid = "1";
  take("task-sent", "gen1@api", { uuid, name: "t.add", queue: "fast" }, at);
  take("task-received", "w@h1", { uuid, name: "t.add" }, at + 1);
  take("task-started", "w@h1", { uuid }, at + 3);
  take("task-succeeded", "w@h1", { uuid, runtime: 0.2 }, at + 4);
  take("task-received", "w@h1", { uuid: "2", name: "t.bad", queue: "slow" }, at);
  take("task-failed", "w@h1", { uuid: "2", exception: "KeyError('x')" }, at);
  take("task-failed", "w@h1", { uuid: "unheard of", exception: "broken" }, at);
  const all = await lines();
  const add = 'name="t.add",hostname="h1",queue_name="fast"';
  has(
    all,
    'celery_task_sent_total{name="t.add",hostname="api",queue_name="fast"} 1',
    `celery_task_received_total{${add}} 1`,
    `celery_task_succeeded_total{${add}} 1`,
    `celery_task_retried_total{${add}} 0`,
    `celery_task_runtime_count{${add}} 1`,
    `celery_task_queue_wait_time_sum{${add}} 3`,
    'celery_task_failed_total{name="t.bad",hostname="h1",exception="KeyError",queue_name="slow"} 1',
    'celery_task_failed_total{name="None",hostname="h1",exception="UnknownException",queue_name="celery"} 1',
    'flower_events_total{worker="w@h1",type="task-succeeded",task="t.add"} 1',
    'flower_task_runtime_seconds_count{worker="w@h1",task="t.add"} 1',
    'flower_worker_prefetched_tasks{worker="w@h1",task="t.bad"} 1',
  );
});

Deno.test("ClusterMetrics: a wait that was asked for is none, and no clock's error makes one negative", async () => {
  const { take, lines, world } = rig();
  const at = world.clock.wallMs() / 1000;
  const eta = new Date((at + 60) * 1000).toISOString();
  take("task-sent", "a@api", { uuid: "1", name: "t.late", queue: "q", eta }, at);
  take("task-started", "w@h1", { uuid: "1" }, at + 62);
  take("task-sent", "a@api", { uuid: "2", name: "t.early", queue: "q" }, at);
  take("task-started", "w@h1", { uuid: "2" }, at - 5);
  has(
    await lines(),
    'celery_task_queue_wait_time_sum{name="t.late",hostname="h1",queue_name="q"} 2',
    'celery_task_queue_wait_time_sum{name="t.early",hostname="h1",queue_name="q"} 0',
  );
});

Deno.test("ClusterMetrics: queues from the broker, nodes of one host as one, and what is gone is forgotten", async () => {
  const { take, lines, world } = rig();
  take("worker-heartbeat", "w@h1");
  take("worker-heartbeat", "v@h1");
  take("task-received", "x@h2", { uuid: "1", name: "t.add" });
  has(
    await lines(),
    'celery_queue_length{queue_name="celery"} 0',
    'celery_queue_oldest_seconds{queue_name="celery"} 0',
    'celery_queue_dead{queue_name="celery"} 2',
    'celery_queue_unacked{queue_name="celery"} 1',
    'celery_active_consumer_count{queue_name="celery"} 4',
    'celery_active_worker_count{queue_name="celery"} 1',
    'celery_active_process_count{queue_name="celery"} 2',
    'celery_worker_up{hostname="h1"} 1',
    'celery_worker_tasks_active{hostname="h1"} 3',
    'celery_worker_up{hostname="h2"} 1',
  );
  await world.clock.advance(301_000);
  take("worker-heartbeat", "w@h1");
  has(await lines(), 'celery_worker_up{hostname="h2"} 0', 'celery_worker_up{hostname="h1"} 1');
  await world.clock.advance(301_000);
  take("worker-heartbeat", "w@h1");
  assert.ok(!(await lines()).some((line) => line.includes('hostname="h2"')));
});

Deno.test("ClusterMetrics: hosts that come and go are one series, if that is asked for", async () => {
  const { take, lines } = rig({ isGeneric: true, hasFlower: false, text: { labels: { site: "eu" } } });
  take("task-received", "w@pod-1", { uuid: "1", name: "t.add", queue: "q" });
  take("task-received", "w@pod-2", { uuid: "2", name: "t.add", queue: "q" });
  const all = await lines();
  has(all, 'celery_task_received_total{name="t.add",hostname="generic",queue_name="q",site="eu"} 2');
  assert.ok(!all.some((line) => line.startsWith("flower_")));
});

Deno.test("ClusterMetrics: processes that only send, and came and went, take no room from those that are there", async () => {
  const { take, lines, world } = rig({ seriesMax: 4 });
  const send = (n: number) =>
    take("task-sent", `gen${n}@pod-${n}`, { uuid: `s${n}`, name: "t.add", queue: "q" });
  const told = (lines: string[], text: string) => lines.filter((line) => line.includes(text)).length;
  for (let n = 0; n < 3; n++) send(n);
  take("task-received", "w@h1", { uuid: "1", name: "t.add", queue: "q" });
  await world.clock.advance(599_000);
  take("worker-heartbeat", "w@h1");
  send(3);
  has(await lines(), 'celery_task_sent_total{name="other",hostname="other",queue_name="other"} 1');
  await world.clock.advance(2000);
  await lines();
  for (let n = 4; n < 6; n++) send(n);
  const all = await lines();
  has(
    all,
    'celery_task_sent_total{name="t.add",hostname="pod-4",queue_name="q"} 1',
    'celery_task_received_total{name="t.add",hostname="h1",queue_name="q"} 1',
    'flower_events_total{worker="gen4@pod-4",type="task-sent",task="t.add"} 1',
    'flower_events_total{worker="w@h1",type="task-received",task="t.add"} 1',
  );
  assert.equal(told(all, "pod-0"), 0);
});

Deno.test("ClusterMetrics: where there is room, who sends once an hour is not forgotten", async () => {
  const { take, lines, world } = rig();
  take("task-sent", "beat@h9", { uuid: "1", name: "t.hourly", queue: "q" });
  await world.clock.advance(3_600_000);
  take("task-sent", "beat@h9", { uuid: "2", name: "t.hourly", queue: "q" });
  has(await lines(), 'celery_task_sent_total{name="t.hourly",hostname="h9",queue_name="q"} 2');
});

Deno.test("ClusterMetrics: a runtime that is none spoils no sum", async () => {
  const { take, lines } = rig();
  for (const runtime of [1, -5, 1e308, 1e308, Infinity, NaN, "2"]) {
    take("task-succeeded", "w@h1", { uuid: "1", name: "t.add", queue: "q", runtime });
  }
  const labels = 'name="t.add",hostname="h1",queue_name="q"';
  has(
    await lines(),
    `celery_task_succeeded_total{${labels}} 7`,
    `celery_task_runtime_sum{${labels}} 1`,
    'flower_task_runtime_seconds_sum{worker="w@h1",task="t.add"} 1',
  );
});
