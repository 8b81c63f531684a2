/** Assembles the console from its parts: history, cluster, access, server. */

import { UsageError, type World } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { HttpService, isLoopback } from "../http/mod.ts";
import type { Parts } from "./api/request.ts";
import { Streams } from "./api/v1/stream.ts";
import { Access } from "./auth/access.ts";
import { Audit } from "./auth/audit.ts";
import { Oidc } from "./auth/oidc.ts";
import { Cluster } from "./cluster/cluster.ts";
import { ClusterMetrics } from "./cluster/metrics.ts";
import { Inspector } from "./cluster/inspector.ts";
import { QueueWatch } from "./cluster/queues.ts";
import { History } from "./history/history.ts";
import type { ConsoleOptions } from "./options.ts";
import { consoleServer } from "./server.ts";

/** Tasks kept without a history file: their number is the only bound on memory. */
const TASKS_IN_MEMORY = 50_000;

/** A running console. */
export class Console implements AsyncDisposable {
  readonly #open: AsyncDisposableStack;
  /** The URL to open in a browser, or `unix:` and the path of the socket. */
  readonly url: string;

  private constructor(open: AsyncDisposableStack, url: string) {
    this.#open = open;
    this.url = url;
  }

  /**
   * Opens the history, serves HTTP, then connects to the cluster. HTTP requests are answered even before the
   * broker can be reached. Rejects with UsageError if the address is not loopback and no way to log in is
   * configured, unless `isOpenToAll`.
   */
  static async open(
    app: App,
    options: ConsoleOptions,
    { isOpenToAll = false }: { isOpenToAll?: boolean } = {},
  ): Promise<Console> {
    const { world } = app;
    const access = accessOf(world, options);
    if (!access.isNeeded && !isLoopback(options.place) && !isOpenToAll) throw new UsageError(NO_LOGIN);
    await using open = new AsyncDisposableStack();
    const history = open.adopt(
      await History.open(world, {
        path: options.db,
        limits: {
          bytes: options.historyBytes,
          days: options.historyDays,
          tasks: options.db === null ? Math.min(TASKS_IN_MEMORY, options.maxTasks) : Number.MAX_SAFE_INTEGER,
        },
      }),
      (one) => one.close(),
    );
    const cluster = open.use(new Cluster(app, history, options));
    const metrics = new ClusterMetrics(options.metrics, world.clock.wallMs());
    cluster.metrics = metrics;
    const inspector = new Inspector(cluster);
    const queues = new QueueWatch(cluster, inspector);
    const audit = new Audit(world);
    const parts: Parts = { cluster, inspector, queues, access, audit, hasModule: options.hasModule };
    const streams = new Streams(parts);
    const oidc = options.oidc === null ? null : new Oidc(world, options.oidc, access);
    const facts = {
      oidcName: oidc?.name ?? null,
      prefix: options.prefix,
      version: options.version,
      broker: cluster.brokerUrl,
      hasResults: Boolean(app.conf.result_backend),
      hasHistory: options.db !== null,
      hasModule: options.hasModule,
      taskColumns: [...options.taskColumns],
      isNaturalTime: options.isNaturalTime,
      autoRefresh: options.autoRefresh,
    };
    const answer = consoleServer({ parts, options, facts, streams, oidc, metrics });
    const service = open.use(await HttpService.open(world, options.place, answer));
    open.defer(() => {
      streams.close();
      cluster.endWaits();
    });
    cluster.start();
    // What stands behind a socket's name is no longer a file.
    const path = options.place.kind === "unix" ? "" : `${options.prefix}/`;
    return new Console(open.move(), service.url + path);
  }

  /** Stops serving, writes what the history still holds in memory, and closes. */
  async close(): Promise<void> {
    await this.#open.disposeAsync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const NO_LOGIN =
  "Cannot serve other machines without a login: give --basic-auth, --token, --oidc-issuer or " +
  "--proxy-auth-header, or let everybody in with --no-auth; --address 127.0.0.1 serves this machine only";

function accessOf(world: World, options: ConsoleOptions): Access {
  return new Access(world, { ...options, hasOidc: options.oidc !== null });
}
