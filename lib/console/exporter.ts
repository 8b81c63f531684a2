/** The metrics of the cluster without the console; `lovage metrics` serves them. */

import type { App } from "../app/mod.ts";
import { ClusterMetrics, type ClusterMetricsOptions } from "./cluster/metrics.ts";
import { Cluster } from "./cluster/cluster.ts";
import { Inspector } from "./cluster/inspector.ts";
import { QueueWatch } from "./cluster/queues.ts";
import { History } from "./history/history.ts";

/** Tasks remembered to compute the age of pending messages. */
const TASKS_MAX = 10_000;
/** How long to wait for workers' replies, seconds. */
const INSPECT_SECONDS = 1;
/** Workers remembered. */
const WORKERS_MAX = 5000;

/** Receives the events of a cluster and counts them. */
export class ClusterExporter implements AsyncDisposable {
  readonly #open: AsyncDisposableStack;
  readonly #parts: { readonly cluster: Cluster; readonly inspector: Inspector; readonly queues: QueueWatch };
  readonly #metrics: ClusterMetrics;

  private constructor(open: AsyncDisposableStack, cluster: Cluster, metrics: ClusterMetrics) {
    const inspector = new Inspector(cluster);
    this.#open = open;
    this.#metrics = metrics;
    this.#parts = { cluster, inspector, queues: new QueueWatch(cluster, inspector) };
  }

  /** Opens without connecting yet. `enablesEvents`: ask workers to send task events. */
  static async open(
    app: App,
    options: ClusterMetricsOptions & { readonly enablesEvents: boolean },
  ): Promise<ClusterExporter> {
    const { world } = app;
    await using open = new AsyncDisposableStack();
    const limits = { bytes: 64 << 20, days: 1, tasks: TASKS_MAX };
    const history = open.adopt(await History.open(world, { path: null, limits }), (one) => one.close());
    const { enablesEvents } = options;
    const cluster = open.use(
      new Cluster(app, history, {
        inspectSeconds: INSPECT_SECONDS,
        maxWorkers: WORKERS_MAX,
        enablesEvents,
        purgeOfflineSeconds: null,
        brokerApi: null,
      }),
    );
    const metrics = new ClusterMetrics(options, world.clock.wallMs());
    cluster.metrics = metrics;
    return new ClusterExporter(open.move(), cluster, metrics);
  }

  /** Begins to receive events, and keeps trying while the broker cannot be reached. */
  listen(): void {
    this.#parts.cluster.start();
  }

  /** True while connected to the broker and receiving events. */
  get isConnected(): boolean {
    return this.#parts.cluster.isConnected;
  }

  /** Returns the metrics in Prometheus' text format. Never rejects. */
  text(isOpenMetrics: boolean): Promise<string> {
    return this.#metrics.text(this.#parts, isOpenMetrics);
  }

  /** Asks the workers, reads the queues, and returns the metrics. Rejects if the broker cannot be reached. */
  async textNow(): Promise<string> {
    const { cluster, inspector } = this.#parts;
    await cluster.connection();
    this.listen();
    await inspector.refreshLight();
    return await this.text(false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open.disposeAsync();
  }
}
