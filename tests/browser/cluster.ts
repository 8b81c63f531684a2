/** What the steps share: a Redis, workers of Lovage and Python, a console, a browser, and tasks that have run. */

import { app } from "../support/shop.ts";
import { TestBrowser } from "../support/browser.ts";
import { SHOP, startConsole, type TestConsole } from "../support/console.ts";
import { eventually } from "../support/ports.ts";
import { type Place, type Program, startPythonWorker, startWorker } from "../support/programs.ts";
import { type RedisServer, startRedis } from "../support/servers.ts";

/** The cluster of the tests. */
export interface TestCluster extends AsyncDisposable {
  readonly redis: RedisServer;
  readonly place: Place;
  readonly console: TestConsole;
  readonly browser: TestBrowser;
  readonly worker: Program;
  /** Sends a task by its name; its id. */
  send(name: string, args?: unknown[], options?: Record<string, unknown>): Promise<string>;
  /** Waits until the console has a task in a state. */
  reaches(id: string, state: string): Promise<void>;
}

/** A step: one thing that holds. */
export type Step = (cluster: TestCluster) => Promise<void>;

/** Starts a worker of the shop that sends events, and waits until it is ready. */
export async function startShop(place: Place, args: readonly string[]): Promise<Program> {
  const worker = await startWorker(place, ["-E", ...args], { app: SHOP, isReady: false });
  await worker.says(/ ready\./);
  return worker;
}

/** Starts it all; everything ends with it. */
export async function openCluster(): Promise<TestCluster> {
  await using open = new AsyncDisposableStack();
  const redis = open.use(await startRedis());
  const place = { broker: redis.url(), backend: redis.url(), env: { TEST_BROKER: redis.url() } };
  // One after the other: each takes a core while it starts.
  const worker = open.use(
    await startShop(place, ["-n", "shop@test", "-P", "async", "-c", "4", "-Q", "celery,mail,reports"]),
  );
  open.use(await startPythonWorker(place, ["-n", "python@test", "-E", "-Q", "python"]));
  const console = open.use(await startConsole(place));
  const browser = open.use(await TestBrowser.start());
  app.conf.update({ broker_url: redis.url(), result_backend: redis.url() });
  open.defer(() => app.close());
  const owned = open.move();
  return {
    redis,
    place,
    console,
    browser,
    worker,
    async send(name, args = [], options = {}) {
      return (await app.sendTask(name, { args, ...options })).id;
    },
    async reaches(id, state) {
      let last = "";
      await eventually(
        async () => {
          const response = await fetch(`${console.url}/api/v1/tasks/${id}`);
          last = await response.text();
          return response.ok && JSON.parse(last).row.state === state;
        },
        () => `${id} is ${state}: ${last}`,
        { everyMs: 100 },
      );
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
