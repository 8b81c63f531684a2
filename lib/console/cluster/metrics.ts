/**
 * The metrics of the cluster: tasks and workers from events, queues from the broker, under celery-exporter's
 * names and, if enabled, Flower's.
 *
 * Events after "received" have only the task's id, so name and queue are remembered for the newest tasks.
 *
 * Source: celery-exporter (August 2026) exporter.py (labels, what counts as what); flower events.py (`flower_*`).
 */

import { atMost, errorText, forgetOldest, isRecord } from "../../base/mod.ts";
import type { ReceivedEvent } from "../../event/mod.ts";
import {
  type Buckets,
  FAMILIES,
  type Family,
  Histogram,
  hostLabel,
  MetricsText,
  type MetricsTextOptions,
  RUNTIME_BUCKETS,
  TaskMetrics,
  type TaskSeries,
  writeProcess,
  writeTasks,
} from "../../metrics/mod.ts";
import { parseIso } from "../../wire/mod.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import type { WorkerInfo } from "./inspector.ts";
import type { QueueWatch } from "./queues.ts";

/** Tasks whose name and queue are remembered. */
const TASKS_MAX = 50_000;
/** A worker counts as down after this silence, and its series are removed after the second, seconds. */
const DOWN_SECONDS = 300;
const FORGET_SECONDS = 600;
/** Longer runtimes are ignored, seconds: a hundred years. */
const RUNTIME_MAX = 3_155_760_000;
/** Maximum number of workers counted separately. */
const WORKERS_MAX = 5000;
/** How long a scrape waits for the queues. Prometheus gives up after 10 s, and then has no metrics at all. */
const QUEUES_PATIENCE_MS = 5000;
/** The label of every host, if hosts are not counted separately. */
const GENERIC = "generic";
/** Python's repr of an unknown value, which celery-exporter shows. */
const NONE = "None";

/** Options of the cluster's metrics. */
export interface ClusterMetricsOptions {
  /** True to add metrics with Flower's names to celery-exporter's. */
  readonly hasFlower: boolean;
  readonly buckets: Partial<Buckets>;
  /** True to use one label for all hosts: for clusters whose hosts come and go. */
  readonly isGeneric: boolean;
  readonly seriesMax: number | null;
  /** The queue of a task whose events name none. */
  readonly defaultQueue: string;
  readonly text: Pick<MetricsTextOptions, "prefix" | "labels">;
}

/** The sources of numbers that events do not carry. */
export interface MeasuredParts {
  readonly cluster: Cluster;
  readonly queues: QueueWatch;
}

/** The data remembered of a task. */
interface Known {
  name: string;
  queue: string | null;
  sent: number;
  received: number;
  /** Seconds; NaN if the task has no eta. */
  eta: number;
}

/** One of Flower's series. */
interface FlowerSeries {
  readonly worker: string;
  readonly task: string;
  readonly runtime: Histogram;
  prefetched: number;
  prefetchSeconds: number;
  /** When the last event came, seconds. */
  heard: number;
  readonly events: Map<string, number>;
}

/** The metrics of one cluster. */
export class ClusterMetrics {
  readonly #options: ClusterMetricsOptions;
  readonly #tasks: TaskMetrics;
  readonly #known = new Map<string, Known>();
  readonly #seen = new Map<string, number>();
  readonly #flower = new Map<string, FlowerSeries>();

  readonly #startedWallMs: number;

  /** `startedWallMs`: when the process started. */
  constructor(options: ClusterMetricsOptions, startedWallMs: number) {
    this.#options = options;
    this.#startedWallMs = startedWallMs;
    const { buckets, seriesMax } = options;
    this.#tasks = new TaskMetrics({ buckets, ...(seriesMax === null ? {} : { seriesMax }) });
  }

  /** Counts an event. */
  take(event: ReceivedEvent): void {
    const { type, hostname } = event;
    if (type.startsWith("worker-")) {
      this.#see(event);
      return;
    }
    if (!type.startsWith("task-")) return;
    const id = String(event["uuid"] ?? "");
    const known = this.#knownOf(id, event);
    const host = this.#options.isGeneric ? GENERIC : hostLabel(hostname);
    const series = this.#tasks.of(known.name, host, known.queue ?? this.#options.defaultQueue);
    // From now on the other counters are written too, at 0, so that their rates have a first sample.
    series.isKnown = true;
    series.heard = event.local_received;
    if (type !== "task-sent") this.#see(event);
    count(series, event, known);
    if (this.#options.hasFlower) this.#flowerCount(event, known);
  }

  /** Returns the metrics as text, without queues if the broker is away or does not answer. Never rejects. */
  async text(parts: MeasuredParts, isOpenMetrics: boolean): Promise<string> {
    const { cluster } = parts;
    const queues = await queuesOf(parts);
    const text = new MetricsText({ ...this.#options.text, isOpenMetrics });
    this.#forget(cluster.world.clock.wallMs() / 1000);
    writeTasks(text, this.#tasks);
    this.#writeWorkers(text, cluster);
    if (queues !== null) writeQueues(text, queues, parts);
    text.single(FAMILIES.connected, {}, cluster.isConnected ? 1 : 0);
    if (this.#options.hasFlower) this.#writeFlower(text, cluster);
    writeProcess(text, cluster.world, this.#startedWallMs);
    return text.end();
  }

  #knownOf(id: string, event: ReceivedEvent): Known {
    let known = this.#known.get(id);
    if (known === undefined) {
      known = { name: NONE, queue: null, sent: NaN, received: NaN, eta: NaN };
      this.#known.set(id, known);
      forgetOldest(this.#known, TASKS_MAX);
    }
    const { name, queue, eta } = event as { name?: unknown; queue?: unknown; eta?: unknown };
    if (typeof name === "string") known.name = name;
    if (typeof queue === "string") known.queue = queue;
    if (typeof eta === "string") known.eta = timeOf(eta);
    if (event.type === "task-sent") known.sent = event.timestamp;
    if (event.type === "task-received") known.received = event.timestamp;
    return known;
  }

  #see({ hostname, local_received }: ReceivedEvent): void {
    if (this.#seen.size < WORKERS_MAX || this.#seen.has(hostname)) this.#seen.set(hostname, local_received);
  }

  /**
   * Removes the series of workers that have been silent for long. If the maximum number of series is reached,
   * also removes those of silent hosts that only send tasks, since each Python process has its own name.
   */
  #forget(now: number): void {
    const gone = new Set<string>();
    for (const [node, seen] of this.#seen) {
      if (now - seen < FORGET_SECONDS) continue;
      this.#seen.delete(node);
      gone.add(node);
    }
    // Other nodes of the host may still be online.
    const hosts = new Set([...this.#seen.keys()].map(hostLabel));
    const goneHosts = new Set([...gone].map(hostLabel)).difference(hosts);
    const isSilent = ({ heard }: { readonly heard: number }) => now - heard >= FORGET_SECONDS;
    const isTight = this.#tasks.isFull;
    if (goneHosts.size > 0 || isTight) {
      this.#tasks.forget((series) =>
        goneHosts.has(series.hostname) || isTight && isSilent(series) && !hosts.has(series.hostname)
      );
    }
    const isFlowerTight = this.#flower.size >= this.#tasks.seriesMax;
    if (gone.size === 0 && !isFlowerTight) return;
    for (const [key, series] of this.#flower) {
      const { worker } = series;
      if (gone.has(worker) || isFlowerTight && isSilent(series) && !this.#seen.has(worker)) {
        this.#flower.delete(key);
      }
    }
  }

  /**
   * Writes one series for all nodes of a host, as celery-exporter does: up if one node is, with tasks summed.
   */
  #writeWorkers(text: MetricsText, cluster: Cluster): void {
    const now = cluster.world.clock.wallMs() / 1000;
    const hosts = new Map<string, { isUp: boolean; active: number }>();
    for (const [node, seen] of this.#seen) {
      const state = cluster.workers.get(node);
      const isUp = (state?.alive ?? true) && now - seen < DOWN_SECONDS;
      const label = hostLabel(node);
      const before = hosts.get(label) ?? { isUp: false, active: 0 };
      const active = isUp ? Number(state?.active ?? 0) || 0 : 0;
      hosts.set(label, { isUp: before.isUp || isUp, active: before.active + active });
    }
    text.family(FAMILIES.workerUp);
    for (const [hostname, { isUp }] of hosts) text.sample({ hostname }, isUp ? 1 : 0);
    text.family(FAMILIES.workerTasksActive);
    for (const [hostname, { active }] of hosts) text.sample({ hostname }, active);
  }

  #flowerCount(event: ReceivedEvent, known: Known): void {
    const { hostname: worker, type } = event;
    const key = `${worker}\0${known.name}`;
    let series = this.#flower.get(key);
    if (series === undefined) {
      if (this.#flower.size >= this.#tasks.seriesMax) return;
      const runtime = new Histogram(this.#options.buckets.runtime ?? RUNTIME_BUCKETS);
      series = {
        worker,
        task: known.name,
        runtime,
        prefetched: 0,
        prefetchSeconds: 0,
        heard: 0,
        events: new Map(),
      };
      this.#flower.set(key, series);
    }
    series.heard = event.local_received;
    if (series.events.has(type) || series.events.size < FLOWER_TYPES_MAX) {
      series.events.set(type, (series.events.get(type) ?? 0) + 1);
    }
    const runtime = runtimeOf(event);
    if (runtime !== null && runtime > 0) series.runtime.observe(runtime);
    // A task with an eta waits on purpose.
    if (!Number.isNaN(known.eta)) return;
    if (type === "task-received") series.prefetched++;
    if (type === "task-started" && !Number.isNaN(known.received)) {
      series.prefetched = Math.max(0, series.prefetched - 1);
      series.prefetchSeconds = Math.max(0, event.timestamp - known.received);
    }
    if (type === "task-succeeded" || type === "task-failed") series.prefetchSeconds = 0;
  }

  #writeFlower(text: MetricsText, cluster: Cluster): void {
    const all = [...this.#flower.values()];
    text.family(FLOWER.events);
    for (const { worker, task, events } of all) {
      for (const [type, value] of events) text.sample({ worker, type, task }, value);
    }
    text.family(FLOWER.runtime);
    for (const { worker, task, runtime } of all) {
      if (runtime.count > 0) text.histogram({ worker, task }, runtime);
    }
    text.family(FLOWER.prefetchTime);
    for (const { worker, task, prefetchSeconds } of all) text.sample({ worker, task }, prefetchSeconds);
    text.family(FLOWER.prefetched);
    for (const { worker, task, prefetched } of all) text.sample({ worker, task }, prefetched);
    text.family(FLOWER.online);
    for (const [worker, { alive }] of cluster.workers) text.sample({ worker }, alive ? 1 : 0);
    text.family(FLOWER.executing);
    for (const [worker, { active }] of cluster.workers) text.sample({ worker }, Number(active) || 0);
  }
}

/** Returns the queues; null if the broker is away or does not answer. */
async function queuesOf({ cluster, queues }: MeasuredParts): Promise<Shape<"QueueList"> | null> {
  try {
    const looking = queues.list();
    if (await atMost(cluster.world.clock, QUEUES_PATIENCE_MS, looking)) return await looking;
    cluster.world.log.debug("Cannot read the queues: no answer in time");
    return null;
  } catch (error) {
    cluster.world.log.debug(`Cannot read the queues: ${errorText(error)}`);
    return null;
  }
}

/** Returns the number of a worker's slots. */
function processesOf({ stats }: WorkerInfo): number {
  const pool = isRecord(stats) && isRecord(stats["pool"]) ? stats["pool"] : {};
  const processes = pool["processes"];
  return Array.isArray(processes) ? processes.length : 0;
}

/** Counts an event in the series of its task. */
function count(series: TaskSeries, event: ReceivedEvent, known: Known): void {
  const runtime = runtimeOf(event);
  switch (event.type) {
    case "task-sent":
      series.sent++;
      return;
    case "task-received":
      series.received++;
      return;
    case "task-started":
      series.started++;
      if (!Number.isNaN(known.sent)) {
        const since = Number.isNaN(known.eta) ? known.sent : Math.max(known.sent, known.eta);
        series.queueWait.observe(Math.max(0, event.timestamp - since));
      }
      return;
    case "task-succeeded":
      series.succeeded++;
      if (runtime !== null) series.runtime.observe(runtime);
      return;
    case "task-failed":
      return series.fail(String(event["exception"] ?? ""));
    case "task-rejected":
      series.rejected++;
      return;
    case "task-revoked":
      series.revoked++;
      return;
    case "task-retried":
      series.retried++;
  }
}

/**
 * Returns a task's runtime in seconds; null if it is unknown, or so large that it would distort the sum for
 * good.
 */
function runtimeOf(event: ReceivedEvent): number | null {
  const runtime = event["runtime"];
  return typeof runtime === "number" && runtime >= 0 && runtime < RUNTIME_MAX ? runtime : null;
}

function writeQueues(
  text: MetricsText,
  { rows }: Shape<"QueueList">,
  { queues }: MeasuredParts,
): void {
  const processes = queues.workerCounts(processesOf);
  const workers = queues.workerCounts();
  type Row = Shape<"QueueList">["rows"][number];
  const columns: [Family, (row: Row) => number | null][] = [
    // A queue that does not exist yet counts as empty.
    [FAMILIES.queueLength, ({ ready }) => ready ?? 0],
    [FAMILIES.activeConsumerCount, ({ name }) => queues.brokerConsumers.get(name) ?? null],
    [FAMILIES.activeWorkerCount, ({ name }) => workers.get(name) ?? 0],
    [FAMILIES.activeProcessCount, ({ name }) => processes.get(name) ?? 0],
    [FAMILIES.queueUnacked, ({ unacked }) => unacked],
    [FAMILIES.queueParked, ({ parked }) => parked],
    [FAMILIES.queueDead, ({ dead }) => dead],
    // An empty queue has no oldest message.
    [FAMILIES.queueOldest, ({ oldest, ready }) => (ready ?? 0) === 0 ? 0 : oldest],
  ];
  for (const [family, read] of columns) {
    text.family(family);
    for (const row of rows) {
      const value = read(row);
      if (value !== null) text.sample({ queue_name: row.name }, value);
    }
  }
}

function timeOf(eta: string): number {
  try {
    return parseIso(eta, { assumeUtc: true }) / 1000;
  } catch {
    return NaN; // a malformed eta
  }
}

/** Maximum number of event types in a series. */
const FLOWER_TYPES_MAX = 50;

const FLOWER = {
  events: { name: "flower_events_total", type: "counter", help: "Number of events" },
  runtime: { name: "flower_task_runtime_seconds", type: "histogram", help: "Task runtime" },
  prefetchTime: {
    name: "flower_task_prefetch_time_seconds",
    type: "gauge",
    help: "The time the task spent waiting at the celery worker to be executed.",
  },
  prefetched: {
    name: "flower_worker_prefetched_tasks",
    type: "gauge",
    help: "Number of tasks of given type prefetched at a worker",
  },
  online: { name: "flower_worker_online", type: "gauge", help: "Worker online status" },
  executing: {
    name: "flower_worker_number_of_currently_executing_tasks",
    type: "gauge",
    help: "Number of tasks currently executing at a worker",
  },
} as const satisfies Record<string, Family>;
