/**
 * The worker: owns lane, pool and consumer, and takes them from start to end.
 *
 * `create` builds it, `run` runs it to its end and returns the exit status. Its parts are bootsteps (components.ts,
 * steps.ts); the caller of `create` may add more, as the command line adds beat.
 *
 * Source: celery 5.2.6 worker/worker.py WorkController, apps/worker.py Worker.
 */

import {
  assert,
  type Deadline,
  errorText,
  isUnreachable,
  maskUrl,
  nodeFormat,
  TimerHeap,
  UsageError,
  workerDirect,
  type World,
} from "../base/mod.ts";
import { type App, signals } from "../app/mod.ts";
import type { Backend } from "../backend/mod.ts";
import { Blueprint, type StepClass } from "../blueprint/mod.ts";
import { TaskMetrics } from "../metrics/mod.ts";
import type { Pool, PoolEvents } from "../pool/mod.ts";
import { exchange, queue } from "../transport/mod.ts";
import { acceptedTypes } from "../wire/mod.ts";
import { Consumer } from "./consumer/consumer.ts";
import type { RemoteParts, WorkerCore } from "./core.ts";
import { BrokerGivenUp } from "./errors.ts";
import { bannerOf, reportOf, statsOf } from "./facts.ts";
import { DataLane } from "./lane/data_lane.ts";
import type { Lane } from "./lane/lane.ts";
import { NO_EVENTS, type TaskEventSink, type WorkerSignals } from "./lane/listeners.ts";
import { parseRate } from "./lane/rate_limit.ts";
import type { LaneOptions } from "./lane/parts.ts";
import type { Request } from "./lane/request.ts";
import { LimitedSet, revokedLimits, successfulLimits } from "./lane/revoked.ts";
import { RevokedStamps } from "./lane/revoked_stamps.ts";
import type { Settler } from "./lane/settle.ts";
import { LaneState } from "./lane/state.ts";
import { Strategy } from "./lane/strategy.ts";
import { PrefetchWindow } from "./lane/window.ts";
import { countSent } from "./metrics.ts";
import { type ResolvedOptions, resolveOptions, type WorkerOptions } from "./options.ts";
import { CONSUMER_STEPS, workerSteps } from "./steps.ts";
import { aborted, type StopMode, StopRequest, WorkerStopping } from "./stop.ts";
import { supportOf } from "./support.ts";
import { NOTICES, stillWaiting } from "./texts.ts";
import type { WorkerApp, WorkerSupport } from "./worker_app.ts";

/** Seconds for storing results and sending acknowledgements in a cold shutdown. */
const COLD_FLUSH_SECONDS = 5;
/** Seconds until a stop first logs that it waits for a store or broker, and between two such lines. */
const SAY_WAITING_SECONDS = 2;
const SAY_AGAIN_SECONDS = 15;
/** Exit status if the broker cannot be reached. */
const EX_UNAVAILABLE = 69;

/** A worker. */
export class WorkController implements WorkerCore {
  readonly world: World;
  readonly app: WorkerApp;
  readonly support: WorkerSupport;
  readonly hostname: string;
  readonly options: ResolvedOptions;
  readonly blueprint: Blueprint<WorkerCore>;
  readonly consumer: Consumer;
  readonly stopRequest: StopRequest = new StopRequest();
  readonly remote: RemoteParts = { events: null, gossip: null, autoscaler: null };
  /** The worker's timers. */
  readonly timers: TimerHeap;
  readonly state: LaneState = new LaneState();
  readonly strategies: Map<string, Strategy> = new Map();
  readonly window: PrefetchWindow;
  readonly revoked: LimitedSet;
  readonly revokedStamps: RevokedStamps = new RevokedStamps();
  readonly metrics: TaskMetrics | null;
  readonly #successful: LimitedSet;
  readonly #nowSeconds = (): number => this.world.clock.monoMs() / 1000;
  events: TaskEventSink = NO_EVENTS;
  readonly startedWallMs: number;
  /** True if HUP asked for a restart: the command line starts the program again after `run`. */
  isRestartWanted = false;
  #exitCode = 0;
  #interrupts = 0;
  #ended: Promise<number> | null = null;
  #softDeadline: Deadline | null = null;
  #parts: DataLane | null = null;

  /**
   * Builds a worker; opens and starts nothing. `steps` are added to its own. Throws UsageError for invalid
   * options.
   */
  static create(
    world: World,
    app: App,
    options: WorkerOptions,
    steps: readonly StepClass<WorkerCore>[] = [],
  ): WorkController {
    return new WorkController(world, app, resolveOptions(app, world.host, options), steps);
  }

  private constructor(
    world: World,
    app: App,
    options: ResolvedOptions,
    steps: readonly StepClass<WorkerCore>[],
  ) {
    this.world = world;
    this.app = app;
    this.support = supportOf(app);
    this.options = options;
    this.hostname = options.hostname;
    this.startedWallMs = world.clock.wallMs();
    this.timers = new TimerHeap(world.clock);
    const env = (name: string) => world.host.env(name);
    this.revoked = new LimitedSet({ limits: revokedLimits(env), nowSeconds: this.#nowSeconds });
    this.#successful = new LimitedSet({ limits: successfulLimits(env), nowSeconds: this.#nowSeconds });
    this.window = new PrefetchWindow({
      concurrency: Math.max(options.concurrency, options.autoscale?.[0] ?? 0),
      multiplier: options.prefetchMultiplier,
      isAdaptive: options.isWindowAdaptive,
    });
    this.metrics = options.given.isCounted ? new TaskMetrics() : null;
    if (this.metrics !== null) this.app.onPublished = countSent(this.metrics, this.hostname);
    signals.celerydInit.send(
      this.hostname,
      { instance: this, conf: app.conf, options: { ...options.given } },
      world.log,
    );
    app.finalize();
    this.#selectQueues();
    this.updateStrategies();
    signals.workerInit.send(this, {}, world.log);
    this.blueprint = new Blueprint("Worker", world.log, {
      onStart: () => this.#onStart(),
      onStopped: () => this.#onStopped(),
    });
    this.consumer = new Consumer(this, CONSUMER_STEPS);
    this.blueprint.apply(this, workerSteps(steps));
  }

  get hasLane(): boolean {
    return this.#parts !== null;
  }

  get parts(): DataLane {
    assert(this.#parts, "the Pool step has started");
    return this.#parts;
  }

  get lane(): Lane {
    return this.parts.lane;
  }

  get settler(): Settler {
    return this.parts.settler;
  }

  get pool(): Pool {
    return this.parts.pool;
  }

  get backend(): Backend {
    return this.parts.backend;
  }

  buildLane(backend: Backend, makePool: (events: PoolEvents) => Pool): void {
    assert(this.#parts === null, "the lane is built once");
    const { app, revoked, revokedStamps, state, stopRequest, strategies, support, timers, window, world } =
      this;
    this.#parts = new DataLane(
      {
        world,
        options: this.#laneOptions(),
        state,
        strategies,
        timers,
        window,
        revoked,
        successful: this.#successful,
        revokedStamps,
        signals: this.#signals(),
        events: this.events,
        stopRequest,
        backend,
        metrics: this.metrics,
      },
      { app, support, connection: () => this.consumer.connection, makePool },
    );
  }

  expand(text: string): string {
    return nodeFormat(text, this.hostname);
  }

  updateStrategies(): void {
    const { conf } = this.app;
    const defaults = {
      isAtLeastOnce: conf.delivery === "at-least-once",
      timeLimit: this.options.timeLimit,
      softTimeLimit: this.options.softTimeLimit,
    };
    const { strategies } = this;
    for (const [, task] of this.app.tasks) {
      const strategy = new Strategy(task, defaults);
      const before = strategies.get(task.name);
      if (before) strategy.total = before.total;
      if (!conf.worker_disable_rate_limits) {
        strategy.limit(parseRate(task.options.rateLimit), this.world.clock.monoMs());
      }
      strategies.set(task.name, strategy);
    }
  }

  /**
   * Runs the worker to its end and returns the exit status: 0, 1 if something went wrong or a task of
   * `--burst` failed, 69 if the broker cannot be reached. Never rejects.
   */
  run(): Promise<number> {
    return this.#ended ??= this.#run();
  }

  /**
   * Asks for a stop and resolves when the worker has ended. A mode softer than one asked for before has no
   * effect. `exitCode` becomes the exit status. Never rejects.
   */
  async stop(mode: StopMode, exitCode: number | null = null): Promise<void> {
    if (exitCode !== null) this.#exitCode = exitCode;
    this.stopRequest.ask(mode);
    await this.#ended;
  }

  /** Handles a signal of the process; `name` is such as `SIGTERM`. */
  onSignal(name: string): void {
    const isRemapped = name === "SIGTERM" && this.world.host.env("REMAP_SIGTERM") === "SIGQUIT";
    switch (isRemapped ? "SIGQUIT" : name) {
      case "SIGTERM":
        return this.#warm(name);
      case "SIGINT":
        if (this.#interrupts++ > 0) return this.#quit(name);
        this.#say(NOTICES.intHint);
        return this.#warm(name);
      case "SIGQUIT":
        return this.#quit(name);
      case "SIGHUP":
        this.isRestartWanted = true;
        return this.#warm(name);
      case "SIGUSR1":
        return this.world.terminal.err(`\n${reportOf(this)}\n`);
    }
  }

  onRemoteShutdown(): void {
    this.world.log.warning("Got shutdown from remote");
    this.#warm("remote");
  }

  active(): Request[] {
    return [...this.state.inPool.values()].filter((request) => request.pid !== 0);
  }

  stats(): Record<string, unknown> {
    return statsOf(this);
  }

  /**
   * Flags tasks as revoked: each is discarded when its turn comes. With `terminate`, tasks that the pool has
   * are ended with the signal, now or when they begin, and their ids are returned.
   */
  revoke(ids: readonly string[], options: { terminate?: boolean; signal?: string } = {}): string[] {
    for (const id of ids) this.revoked.add(id);
    if (!options.terminate) return [];
    const wanted = new Set(ids);
    const ended: string[] = [];
    for (const request of this.state.inPool.values()) {
      if (!wanted.has(request.id)) continue;
      request.terminateSignal = options.signal ?? "SIGTERM";
      if (request.pid !== 0) this.pool.terminate(request.seq, request.terminateSignal);
      ended.push(request.id);
    }
    return ended;
  }

  async #run(): Promise<number> {
    try {
      await this.blueprint.start(this);
    } catch (error) {
      if (!(error instanceof WorkerStopping)) this.#failed(error);
    }
    const end = this.#end();
    await Promise.race([end, aborted(this.stopRequest.hard)]);
    await this.world.log.flush();
    return this.#exitCode;
  }

  async #end(): Promise<void> {
    if (this.stopRequest.mode === "soft") await this.#softShutdown();
    await this.blueprint.stop(this, { terminate: this.stopRequest.cold.aborted });
    signals.workerShutdown.send(this, {}, this.world.log);
  }

  #failed(error: unknown): void {
    this.world.log.critical(`Unrecoverable error: ${errorText(error)}`);
    if (error instanceof UsageError) this.#exitCode = error.exitCode;
    else if (error instanceof BrokerGivenUp || isUnreachable(error)) this.#exitCode = EX_UNAVAILABLE;
    else this.#exitCode = 1;
    this.stopRequest.ask("warm");
  }

  #warm(sig: string): void {
    this.#say(NOTICES.warm);
    this.#sendShutdown(sig, "Warm");
    void this.stop("warm");
  }

  #quit(sig: string): void {
    switch (this.stopRequest.mode) {
      case "hard":
        return;
      case "cold":
        this.#exitCode = 1;
        void this.stop("hard");
        return;
      case "soft":
        this.#say(NOTICES.waiting);
        void this.stop("cold");
        return;
    }
    this.#say(NOTICES.coldHint);
    this.#sendShutdown(sig, "Cold");
    void this.stop(this.#isSoftWanted() ? "soft" : "cold", this.#interrupts > 1 ? 1 : null);
  }

  #isSoftWanted(): boolean {
    const { conf } = this.app;
    if (!(conf.worker_soft_shutdown_timeout > 0)) return false;
    return conf.worker_enable_soft_shutdown_on_idle || this.state.inPool.size > 0;
  }

  #sendShutdown(sig: string, how: "Warm" | "Cold"): void {
    signals.workerShuttingDown.send(this.hostname, { sig, how, exitcode: this.#exitCode }, this.world.log);
  }

  // Celery sleeps for the whole time; here the wait ends as soon as nothing runs, unless
  // `worker_enable_soft_shutdown_on_idle` is set.
  async #softShutdown(): Promise<void> {
    const { conf } = this.app;
    const seconds = conf.worker_soft_shutdown_timeout;
    this.world.log.warning(`Initiating Soft Shutdown, terminating in ${seconds} seconds`);
    if (this.hasLane) this.lane.close();
    await this.consumer.pauseTasks();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#softDeadline = this.timers.armIn(seconds * 1000, resolve);
    const waits = [promise, aborted(this.stopRequest.cold)];
    if (this.hasLane && !conf.worker_enable_soft_shutdown_on_idle) waits.push(this.pool.drain());
    await Promise.race(waits);
    this.timers.disarm(this.#softDeadline);
    this.stopRequest.ask("cold");
  }

  async endPool(): Promise<void> {
    const { pool } = this.parts;
    const { cold } = this.stopRequest;
    if (!cold.aborted) await Promise.race([pool.drain(), aborted(cold)]);
    if (cold.aborted) {
      this.#say(NOTICES.cold);
      this.settler.isCold = true;
      this.parts.afterEnd.close();
      this.lane.giveBackWaiting();
      await pool.terminateAll();
      // Gives back what the pool returned without having begun it.
      this.lane.giveBackWaiting();
    }
    await this.#settleAll();
    this.parts.afterEnd.close();
    await pool.close();
  }

  /**
   * Resolves when results are stored and settlements sent, or when a cold shutdown has given up waiting for
   * them.
   */
  async #settleAll(): Promise<void> {
    const { finalizer, backend, state } = this.parts;
    let waitsFor = `the result store ${maskUrl(backend.url)} to take the last results`;
    const work = (async () => {
      await finalizer.drain();
      await backend.flush();
      // A stored result may have started to count a chord part, and that may have settled a message.
      await finalizer.drain();
      await backend.flush();
      waitsFor = `the broker ${this.consumer.shownUrl()} to take the last acknowledgements`;
      await this.consumer.settleLost(this.stopRequest.hard);
      await state.consumer?.flush();
    })();
    let saying: Deadline | null = null;
    const sayLater = (seconds: number) => {
      saying = this.timers.armIn(seconds * 1000, () => {
        this.world.log.warning(stillWaiting(waitsFor));
        sayLater(SAY_AGAIN_SECONDS);
      });
    };
    sayLater(SAY_WAITING_SECONDS);
    const { promise, resolve } = Promise.withResolvers<void>();
    let deadline: Deadline | null = null;
    const isCold = aborted(this.stopRequest.cold).then(() => {
      deadline = this.timers.armIn(COLD_FLUSH_SECONDS * 1000, resolve);
    });
    await Promise.race([work, isCold.then(() => promise)]);
    this.timers.disarm(saying);
    this.timers.disarm(deadline);
  }

  async #onStart(): Promise<void> {
    signals.celerydAfterSetup.send(this.hostname, { instance: this, conf: this.app.conf }, this.world.log);
    if (this.options.given.purge) await this.#purge();
    if (!this.options.given.quiet) this.world.terminal.out(bannerOf(this));
  }

  async #onStopped(): Promise<void> {
    await this.consumer.shutdown();
    this.timers.close();
  }

  async #purge(): Promise<void> {
    await using connection = await this.consumer.connect();
    let count = 0;
    for (const name of this.app.amqp.queues.consumeFrom.keys()) count += await connection.purge(name);
    if (count > 0) {
      const noun = count === 1 ? "message" : "messages";
      this.world.terminal.out(`purge: Erased ${count} ${noun} from the queue.\n\n`);
    }
  }

  #selectQueues(): void {
    const { queues } = this.app.amqp;
    const { given } = this.options;
    if (given.queues?.length) queues.select(given.queues);
    if (given.excludeQueues?.length) queues.deselect(given.excludeQueues);
    if (this.app.conf.worker_direct) {
      const direct = workerDirect(this.hostname);
      queues.selectAdd(
        queue(direct.queue, { exchange: exchange(direct.exchange), routingKey: direct.routingKey }),
      );
    }
  }

  #laneOptions(): LaneOptions {
    const { conf } = this.app;
    const { hostname, options } = this;
    return {
      hostname,
      resultSerializer: conf.result_serializer,
      accept: acceptedTypes(conf.accept_content),
      attemptsMax: conf.task_max_attempts,
      etaMax: conf.worker_eta_task_limit || Infinity,
      isPrefetchOff: options.isPrefetchOff,
      deduplicates: conf.worker_deduplicate_successful_tasks,
      isBurst: options.given.burst ?? false,
      reducesWindow: conf.worker_enable_prefetch_count_reduction,
    };
  }

  #signals(): WorkerSignals {
    const { log } = this.world;
    return {
      taskReceived: (request) => {
        if (signals.taskReceived.hasReceivers) signals.taskReceived.send(this.consumer, { request }, log);
      },
      taskRevoked: (request, fields) => {
        if (!signals.taskRevoked.hasReceivers) return;
        const signum = fields.signum === null ? null : String(fields.signum);
        signals.taskRevoked.send(request.strategy.task, { request, ...fields, signum }, log);
      },
      taskRejected: (message, reason) =>
        signals.taskRejected.send(this.consumer, { message, exc: reason }, log),
      taskUnknown: (name, id) =>
        signals.taskUnknown.send(this.consumer, { name, id, message: null, exc: null }, log),
    };
  }

  #say(text: string): void {
    this.world.terminal.out(`\n${text}\n`);
  }
}
