/**
 * A worker inside the process of a test: `await using worker = await TestWorker.start(app)`.
 *
 * The app's calls go to a broker and a result store in memory, are run in this isolate, and come back; no server, no
 * other process, nothing to clean up. When it ends the app has its own settings again. Tasks that declare permissions
 * or memory run in sandboxes, which import the modules that the App and these tasks were made in: the App must be an
 * export of its module.
 *
 * Source: celery 5.2.6 contrib/testing/worker.py start_worker; contract.md "Signals, hooks, testing".
 */

import { adoptSource, type App, signals } from "../app/mod.ts";
import { namesOf, refuseUnknown, type World } from "../base/mod.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkController } from "./worker.ts";

/** How to start one. */
export interface TestWorkerOptions {
  /** Consumes from these only. Default: all of the app's queues. */
  readonly queues?: readonly string[];
  /** True: the app's own broker and result store are used instead of memory. Default false. */
  readonly keepsBroker?: boolean;
  /** More of a worker's options. Its pool is solo unless another one is given here. */
  readonly worker?: WorkerOptions;
}

const NAMES = namesOf<TestWorkerOptions>({ queues: true, keepsBroker: true, worker: true });
/** Names of the memory places, so that two at a time are two. */
let started = 0;

/** A worker in this process. */
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
   * Starts one; resolves when it consumes. Rejects with UsageError for options that cannot be, and with an Error where
   * it ends before it is ready (its log says why).
   */
  static async start(app: App, options: TestWorkerOptions = {}): Promise<TestWorker> {
    refuseUnknown(options, NAMES, "a TestWorker");
    let before: Record<string, unknown> | null = null;
    if (!options.keepsBroker) {
      // What was open before belongs to the app's own broker.
      await app.close();
      const { broker_url, result_backend } = app.conf;
      before = { broker_url, result_backend };
      app.conf.update({
        broker_url: `memory://test-${++started}`,
        result_backend: `memory://test-${started}`,
      });
    }
    // Sandboxed tasks are loaded again from there.
    adoptSource(app);
    // The users' door exports this class: the worker behind it is loaded by who starts one, not by every task module.
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

  /** Ends it when what runs has ended, and closes the app. Twice is once. */
  async stop(): Promise<void> {
    await this.#controller.stop("warm");
    await this.#ended;
    await this.app.close();
    if (this.#before !== null) this.app.conf.update(this.#before);
  }

  /** As `stop`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** The World with a terminal that says nothing. */
function quiet(world: World): World {
  return Object.create(world, {
    terminal: { value: { ...world.terminal, out: () => {}, err: () => {}, styled: () => {} } },
  });
}
