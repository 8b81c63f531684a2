/** The cluster's metrics without the console: what `lovage metrics` serves. */

import type { App } from "../app/mod.ts";
import { ClusterMetrics, type ClusterMetricsOptions } from "./cluster/metrics.ts";
import { Cluster } from "./cluster/cluster.ts";
import { Inspector } from "./cluster/inspector.ts";
import { QueueWatch } from "./cluster/queues.ts";
import { History } from "./history/history.ts";

/** Tasks remembered, for the age of what waits. */
const TASKS_MAX = 10_000;
/** Seconds that replies of workers are waited for, and workers remembered. */
const INSPECT_SECONDS = 1;
const WORKERS_MAX = 5000;

/** Listens to a cluster and counts. */
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

  /** Neither listens nor connects yet. `enablesEvents`: workers are asked for task events. */
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

  /** Begins to listen; the broker may come later. */
  listen(): void {
    this.#parts.cluster.start();
  }

  /** Whether it listens to events. */
  get isConnected(): boolean {
    return this.#parts.cluster.isConnected;
  }

  /** The metrics' text. Never rejects. */
  text(isOpenMetrics: boolean): Promise<string> {
    return this.#metrics.text(this.#parts, isOpenMetrics);
  }

  /** Asks the workers, looks into the queues, and gives the text of that. Rejects if the broker is away. */
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
