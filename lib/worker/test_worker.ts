/**
 * A worker inside the process of a test: `await using worker = await TestWorker.start(app)`.
 *
 * The app's calls go to a broker and a result store in memory and run in this isolate. There is no server and
 * no other process, and nothing to clean up. When the worker stops, the app has its own settings again. Tasks
 * that declare permissions or memory run in sandboxes, which import the modules that made the App and these
 * tasks: the App must be an export of its module.
 *
 * Source: celery 5.2.6 contrib/testing/worker.py start_worker; contract.md "Signals, hooks, testing".
 */

import { type App, recordSource, signals } from "../app/mod.ts";
import { namesOf, refuseUnknown, type World } from "../base/mod.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkController } from "./worker.ts";

/** Options of TestWorker.start. */
export interface TestWorkerOptions {
  /** Queues to consume from. Default: all of the app's queues. */
  readonly queues?: readonly string[];
  /** True: use the app's own broker and result store instead of memory. Default false. */
  readonly keepsBroker?: boolean;
  /** More options of the worker. Its pool is solo unless another is given here. */
  readonly worker?: WorkerOptions;
}

const NAMES = namesOf<TestWorkerOptions>({ queues: true, keepsBroker: true, worker: true });
/** Part of the names of the memory broker and store, so that each test worker has its own. */
let started = 0;

/**
 * A worker in this process.
 *
 * @example
 * ```ts
 * import { App, TestWorker } from "lovage";
 *
 * const app = new App("shop");
 * const add = app.task("shop.add", (x: number, y: number) => x + y);
 * await using worker = await TestWorker.start(app);
 * const result = await add.delay(2, 3);
 * console.assert(await result.get({ timeout: 5 }) === 5, worker.hostname);
 * ```
 */
export class TestWorker implements AsyncDisposable {
  readonly app: App;
  readonly #controller: WorkController;
  readonly #before: Readonly<Record<string, unknown>> | null;
  #ended: Promise<number>;

  private constructor(
    app: App,
    controller: WorkController,
    ended: Promise<number>,
    before: Readonly<Record<string, unknown>> | null,
  ) {
    this.app = app;
    this.#controller = controller;
    this.#ended = ended;
    this.#before = before;
  }

  /**
   * Starts a worker; resolves when it consumes.
   *
   * @throws {UsageError} for invalid options.
   * @throws {Error} if the worker ends before it is ready; its log says why.
   */
  static async start(app: App, options: TestWorkerOptions = {}): Promise<TestWorker> {
    refuseUnknown(options, NAMES, "a TestWorker");
    let before: Record<string, unknown> | null = null;
    if (!options.keepsBroker) {
      // What is open belongs to the app's own broker.
      await app.close();
      const { broker_url, result_backend } = app.conf;
      before = { broker_url, result_backend };
      app.conf.update({
        broker_url: `memory://test-${++started}`,
        result_backend: `memory://test-${started}`,
      });
    }
    // Sandboxes load tasks again from there.
    recordSource(app);
    // The users' door exports this class. Only a program that starts a worker loads the worker, not every
    // task module.
    const { WorkController } = await import("./worker.ts");
    const controller = WorkController.create(quiet(app.world), app, {
      hostname: `test-${started}@%h`,
      pool: "solo",
      quiet: true,
      gossip: false,
      mingle: false,
      heartbeat: false,
      ...(options.queues ? { queues: options.queues } : {}),
      ...options.worker,
    });
    const ready = Promise.withResolvers<void>();
    const onReady = () => ready.resolve();
    signals.workerReady.connect(onReady, { sender: controller.consumer });
    try {
      const ended = controller.run();
      const isReady = await Promise.race([ready.promise.then(() => true), ended.then(() => false)]);
      if (!isReady) throw new Error("The worker ended before it was ready: its log says why");
      return new TestWorker(app, controller, ended, before);
    } finally {
      signals.workerReady.disconnect(onReady);
    }
  }

  /** Node name. */
  get hostname(): string {
    return this.#controller.hostname;
  }

  /**
   * Lets running tasks finish, ends the worker and closes the app. A second call has no effect. Rejects if the app
   * cannot be closed.
   */
  async stop(): Promise<void> {
    await this.#controller.stop("warm");
    await this.#ended;
    await this.app.close();
    if (this.#before !== null) this.app.conf.update(this.#before);
  }

  /** Does the same as `stop`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Returns the World with a terminal that prints nothing. */
function quiet(world: World): World {
  return Object.create(world, {
    terminal: { value: { ...world.terminal, out: () => {}, err: () => {}, styled: () => {} } },
  });
}
