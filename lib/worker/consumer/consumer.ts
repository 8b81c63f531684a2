/**
 * The consumer: the blueprint that starts again whenever the broker's connection is lost.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py Consumer.
 */

import { isWorthRetrying, mayBeTemporary } from "../../app/mod.ts";
import {
  AccessRefused,
  assert,
  ConnectionLost,
  errorText,
  type Log,
  logFrom,
  maskUrl,
  OperatingError,
  ProtocolError,
  ServerError,
  UsageError,
} from "../../base/mod.ts";
import { Blueprint, type BlueprintState, type StepClass } from "../../blueprint/mod.ts";
import type { EventDispatcher } from "../../event/mod.ts";
import type { Connection, Consumer as TaskConsumer, Queue } from "../../transport/mod.ts";
import type { ConsumerCore, WorkerCore } from "../core.ts";
import { BrokerGivenUp } from "../errors.ts";
import { aborted, WorkerStopping } from "../stop.ts";
import { CONNECTION_RETRY, connectionError, NEXT_FAILOVER, retryStep } from "../texts.ts";
import { Intake } from "./intake.ts";

/** After this many starts within a second, the next one waits a second. */
const RESTARTS_PER_SECOND_MAX = 5;

/** A connection that lasted this long was not refused. */
const SETTLED_MS = 10_000;
/** How much each refusal in a row adds to the wait before the next connection, and the longest wait. */
const REFUSAL_STEP_MS = 2000;
const REFUSAL_MAX_MS = 30_000;

/** How long a warm shutdown waits for a lost broker, to settle tasks that have finished. */
const SETTLE_LOST_MS = 30_000;

/** The consumer of one worker. */
export class Consumer implements ConsumerCore {
  readonly worker: WorkerCore;
  readonly blueprint: Blueprint<Consumer>;
  connection: Connection | null = null;
  tasks: TaskConsumer | null = null;
  /** The task consumer of the lost connection, until the next one has taken over from it. */
  lostTasks: TaskConsumer | null = null;
  /** Sends this worker's events. Made by the Events step; outlives connections. */
  events: EventDispatcher | null = null;
  /** Number of other workers that gossip knows. */
  neighbours = 0;
  connections = 0;
  /** How often the blueprint was started. */
  starts = 0;
  /** True once the event loop has run: from then on a broker that refuses us is tried again. */
  wasReady = false;
  readonly #steps: readonly StepClass<Consumer>[];
  #lost: PromiseWithResolvers<Error> = Promise.withResolvers<Error>();
  #isLost = false;
  #startedMs: number[] = [];
  #ahead: Promise<Connection> | null = null;
  /** Connections in a row that the broker refused soon after they were made; and the last reason logged. */
  #refusals = 0;
  #lastReason = "";
  readonly #log: Log;

  /** `steps` are in the order in which they start. */
  constructor(worker: WorkerCore, steps: readonly StepClass<Consumer>[]) {
    this.worker = worker;
    this.#steps = steps;
    this.blueprint = new Blueprint("Consumer", worker.world.log);
    // The logger that Celery uses for these lines.
    this.#log = logFrom(worker.world.log, { logger: "celery.worker.consumer.consumer" });
  }

  build(): void {
    this.blueprint.apply(this, this.#steps.map((step) => new step()));
  }

  get state(): BlueprintState {
    return this.blueprint.state;
  }

  info(): Record<string, unknown> {
    return this.blueprint.info(this);
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  get isAway(): boolean {
    return this.connection === null || this.#isLost;
  }

  /** Returns the broker's first URL with its password masked, as errors show it. */
  shownUrl(): string {
    const given = this.worker.app.conf.broker_url;
    const first = (Array.isArray(given) ? given[0] : given)?.split(";")[0]?.trim();
    return maskUrl(first || "sqlite://");
  }

  /**
   * Runs the blueprint until the worker stops. Rejects with WorkerStopping, with BrokerGivenUp if the broker
   * cannot be reached, or with the error of a step.
   */
  async start(): Promise<void> {
    for (;;) {
      this.worker.stopRequest.any.throwIfAborted();
      await this.#slowDown();
      this.starts++;
      this.#isLost = false;
      this.#lost = Promise.withResolvers<Error>();
      try {
        await this.blueprint.start(this);
      } catch (error) {
        this.worker.stopRequest.any.throwIfAborted();
        if (!this.#isWorthRestarting(error)) throw error;
        await this.#afterLoss(error);
      }
    }
  }

  /** Stops the blueprint; running tasks continue. */
  async stop(): Promise<void> {
    await this.blueprint.stop(this);
  }

  /** Settles what is left, and closes the connection; after the pool has ended. */
  async shutdown(): Promise<void> {
    const unused = await this.#ahead?.catch(() => null);
    this.#ahead = null;
    await unused?.close();
    await this.blueprint.shutdown(this);
  }

  connectAhead(): void {
    this.#ahead = this.connect();
    // Its failure is reported to the caller of takeConnection.
    this.#ahead.catch(() => {});
  }

  /** Returns the connection begun ahead, or a new one. Rejects as `connect`. */
  takeConnection(): Promise<Connection> {
    const ahead = this.#ahead;
    this.#ahead = null;
    return ahead ?? this.connect();
  }

  /** Reports that the connection is lost; the event loop waits for that. Calling it again has no effect. */
  lost(error: Error): void {
    this.#isLost = true;
    this.#lost.resolve(error);
  }

  /**
   * Resolves with the cause when the connection is lost; rejects with WorkerStopping when the worker stops.
   */
  async untilLost(): Promise<Error> {
    const { any } = this.worker.stopRequest;
    const error = await Promise.race([this.#lost.promise, aborted(any)]);
    any.throwIfAborted();
    return error as Error;
  }

  /**
   * Connects, and logs every failed attempt as Celery does. Rejects with BrokerGivenUp, WorkerStopping or
   * UsageError.
   */
  async connect(): Promise<Connection> {
    const { app, stopRequest } = this.worker;
    try {
      return await app.connectBroker({
        forWriting: false,
        signal: stopRequest.any,
        isStartup: this.starts <= 1,
        isReconnect: this.wasReady,
        heartbeat: true,
        onAttempt: (error, delaySeconds, attempt, max, url) => {
          const step = delaySeconds === 0 ? NEXT_FAILOVER : retryStep(delaySeconds, attempt, max ?? Infinity);
          this.#log.error(connectionError(maskUrl(url), reasonOf(error), step));
        },
      });
    } catch (error) {
      if (error instanceof WorkerStopping || error instanceof UsageError) throw error;
      if (!(error instanceof OperatingError)) throw error;
      throw new BrokerGivenUp(`Cannot connect to ${this.shownUrl()}: ${reasonOf(error)}`, { cause: error });
    }
  }

  /**
   * Connects once more in a shutdown after the connection was lost, so that finished tasks are acknowledged
   * and the rest goes back at once. Gives up after SETTLE_LOST_MS, and when `signal` aborts: the messages
   * then come back when the lease ends. Never rejects because of the broker: that is logged.
   */
  async settleLost(signal: AbortSignal): Promise<void> {
    const { app, lane, state, timers } = this.worker;
    if (this.#isLost) this.lostTasks ??= this.tasks;
    if (!this.lostTasks?.hasHandover) return;
    this.tasks = null;
    if (state.consumer !== null) lane.detach();
    await this.connection?.close();
    this.connection = null;
    const timeout = new AbortController();
    const deadline = timers.armIn(
      SETTLE_LOST_MS,
      () => timeout.abort(new WorkerStopping("the broker stays away")),
    );
    try {
      this.connection = await app.connectBroker({
        forWriting: false,
        signal: AbortSignal.any([signal, timeout.signal]),
      });
      await this.openTasks([]);
      await this.tasks!.pause();
      this.tasks!.wake();
      await this.tasks!.flush();
    } catch (error) {
      this.#log.warning(
        `Cannot settle messages of the lost connection, they come back when its lease ends: ${
          errorText(error)
        }`,
      );
    } finally {
      timers.disarm(deadline);
    }
  }

  /**
   * Starts the data lane over the connection: consumes from `queues`, which must be declared, and takes over
   * from the consumer of the lost connection. Source: celery 5.2.6 worker/consumer/tasks.py.
   */
  async openTasks(queues: readonly Queue[]): Promise<void> {
    const { app, hostname, startedWallMs, state, world } = this.worker;
    assert(this.connection, "there is a connection");
    const intake = new Intake(this.worker, (error) => this.lost(error));
    state.receivedMonoMs = world.clock.monoMs();
    this.tasks = await this.connection.consume({
      queues,
      window: () => intake.window(),
      owner: `${hostname}:${world.host.pid}:${startedWallMs}`,
      leaseSeconds: app.conf.lease,
      predecessor: this.lostTasks,
    }, intake);
    this.lostTasks = null;
    state.consumer = this.tasks;
  }

  /** Stops fetching and gives back requests that were not begun. */
  async pauseTasks(): Promise<void> {
    if (this.tasks !== null && !this.#isLost) {
      await this.tasks.pause().catch((error: unknown) => {
        this.#log.warning(`Cannot pause the task consumer: ${errorText(error)}`);
      });
    }
    if (this.worker.hasLane) this.worker.lane.giveBackWaiting();
  }

  /**
   * Begins to consume from one more queue, and logs it. Rejects if the broker refuses it. Source:
   * Consumer.add_task_queue.
   */
  async addTaskQueue(queue: Queue): Promise<void> {
    const known = this.worker.app.amqp.queues.selectAdd(queue);
    if (this.tasks === null || this.tasks.queues.some((one) => one.name === known.name)) return;
    try {
      await this.connection?.declare(known);
      await this.tasks.addQueue(known);
    } catch (error) {
      // The transport cannot consume it: the next connection must not try again.
      if (error instanceof UsageError) this.worker.app.amqp.queues.deselect([known.name]);
      throw error;
    }
    this.#log.info(`Started consuming from ${known.name}`);
  }

  /** Stops consuming from a queue. Rejects if the broker refuses it. Source: Consumer.cancel_task_queue. */
  async cancelTaskQueue(name: string): Promise<void> {
    this.#log.info(`Canceling queue ${name}`);
    this.worker.app.amqp.queues.deselect([name]);
    await this.tasks?.cancelQueue(name);
  }

  #isWorthRestarting(error: unknown): boolean {
    const { broker_channel_error_retry, broker_connection_retry } = this.worker.app.conf;
    if (!broker_connection_retry || error instanceof BrokerGivenUp) return false;
    // Celery calls these channel errors: the server is reachable and refuses.
    const isOfChannel = error instanceof ServerError || error instanceof AccessRefused;
    if (broker_channel_error_retry && isOfChannel) return true;
    // A queue that this worker may not consume from. Later it may be a login that has run out.
    if (!this.wasReady && error instanceof AccessRefused) return isWorthRetrying(error);
    if (this.wasReady || this.#isLost) return mayBeTemporary(error);
    return isWorthRetrying(error);
  }

  async #afterLoss(error: unknown): Promise<void> {
    const { lane, state, app } = this.worker;
    this.#isLost = true;
    this.#log.warning(CONNECTION_RETRY);
    this.#logLoss(error);
    lane.detach();
    if (app.conf.worker_cancel_long_running_tasks_on_connection_loss) {
      for (const request of state.inPool.values()) {
        if (request.isSettled || request.pid === 0) continue;
        this.#log.warning(
          `Task ${request.human} cannot be acknowledged after a connection loss since late acknowledgement is ` +
            `enabled for it.\nTerminating it instead.\n`,
        );
        this.worker.settler.cancel(request);
      }
    }
    await this.blueprint.restart(this);
  }

  /** Logs why the connection was lost, once for equal reasons in a row, and counts refusals in a row. */
  #logLoss(error: unknown): void {
    const { clock } = this.worker.world;
    const log = this.#log;
    const hasSettled = clock.monoMs() - (this.#startedMs.at(-1) ?? 0) >= SETTLED_MS;
    if (hasSettled) this.#refusals = 0;
    if (isRefusal(error)) this.#refusals++;
    const reason = `consumer: ${errorText(error)}`;
    if (hasSettled || reason !== this.#lastReason) log.warning(reason);
    else log.debug(reason);
    this.#lastReason = reason;
  }

  // Delays a restart, so that a broker which accepts and drops connections does not cause a busy loop.
  async #slowDown(): Promise<void> {
    const { clock } = this.worker.world;
    const log = this.#log;
    const waitMs = Math.min((this.#refusals - 1) * REFUSAL_STEP_MS, REFUSAL_MAX_MS);
    if (waitMs > 0) {
      log.warning(`consumer: Trying again in ${waitMs / 1000} seconds`);
      await clock.sleep(waitMs, this.worker.stopRequest.any);
    }
    const now = clock.monoMs();
    this.#startedMs = this.#startedMs.filter((at) => at > now - 1000);
    if (this.#startedMs.length >= RESTARTS_PER_SECOND_MAX) {
      log.critical(`Frequent restarts detected: ${this.#startedMs.length} within a second`);
      await clock.sleep(1000, this.worker.stopRequest.any);
    }
    this.#startedMs.push(now);
  }
}

/**
 * Whether the broker ended a connection with an error of its own. After a late acknowledgement (406) it
 * accepts us at once.
 */
function isRefusal(error: unknown): boolean {
  return error instanceof AccessRefused || error instanceof ProtocolError ||
    (error instanceof ServerError && error.code !== "406") ||
    (error instanceof ConnectionLost && isRefusal(error.cause));
}

/** Returns the reason without the address, which the line already has. */
function reasonOf(error: unknown): string {
  return errorText(error).replace(/^(?:Cannot connect to|Cannot use|Lost the connection to) \S+: /, "");
}
