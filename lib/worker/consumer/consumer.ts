/**
 * The consumer: the blueprint that is started again whenever the broker's connection is lost.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py Consumer.
 */

import { ConnectionLost, errorText, maskUrl, OperatingError, UsageError } from "../../base/mod.ts";
import { Blueprint } from "../../blueprint/mod.ts";
import type { EventDispatcher } from "../../event/mod.ts";
import type { Connection, Consumer as TaskConsumer, Queue } from "../../transport/mod.ts";
import { BrokerGivenUp } from "../errors.ts";
import { orderedSteps } from "../steps.ts";
import { aborted, WorkerStopping } from "../stop.ts";
import { CONNECTION_RETRY, connectionError, NEXT_FAILOVER, retryStep } from "../texts.ts";
import type { WorkController } from "../worker.ts";
import { openTasks } from "./open_tasks.ts";

/** More restarts than this within a second, and the next one waits a second. */
const RESTARTS_PER_SECOND_MAX = 5;

/** How long a warm shutdown waits for a broker that is away, to settle what has finished. */
const SETTLE_LOST_MS = 30_000;

/** The consumer of one worker. */
export class Consumer {
  readonly worker: WorkController;
  readonly blueprint: Blueprint<Consumer>;
  /** Null while there is none. */
  connection: Connection | null = null;
  tasks: TaskConsumer | null = null;
  /** The task consumer of the connection that was lost, until the next one has taken over from it. */
  lostTasks: TaskConsumer | null = null;
  /** Sends this worker's events; from the Events step's making on, over all connections. */
  events: EventDispatcher | null = null;
  /** Other workers that gossip knows to be there. */
  neighbours = 0;
  /** How often the blueprint was started. */
  starts = 0;
  #lost: PromiseWithResolvers<Error> = Promise.withResolvers<Error>();
  #isLost = false;
  #startedMs: number[] = [];
  #ahead: Promise<Connection> | null = null;

  constructor(worker: WorkController) {
    this.worker = worker;
    this.blueprint = new Blueprint("Consumer", worker.world.log);
  }

  /** Builds its steps; once. */
  build(): void {
    this.blueprint.apply(this, orderedSteps("consumer", this.worker.app.steps?.consumer));
  }

  /** True from the moment the connection was lost until the blueprint starts again. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** The broker's URLs with their passwords masked, as the banner and errors show them. */
  shownUrl(): string {
    const given = this.worker.app.conf.broker_url;
    const first = (Array.isArray(given) ? given[0] : given)?.split(";")[0]?.trim();
    return maskUrl(first || "sqlite://");
  }

  /**
   * Runs the blueprint until the worker stops (rejects with WorkerStopping) or the broker cannot be had (rejects with
   * BrokerGivenUp, or what a step failed with).
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

  /** Stops the blueprint; running tasks go on. */
  async stop(): Promise<void> {
    await this.blueprint.stop(this);
  }

  /** Settles and closes what is left of the connection; after the pool has ended. */
  async shutdown(): Promise<void> {
    const unused = await this.#ahead?.catch(() => null);
    this.#ahead = null;
    await unused?.close();
    await this.blueprint.shutdown(this);
  }

  /** Begins to connect while the pool starts: the two wait for different things. */
  connectAhead(): void {
    this.#ahead = this.connect();
    // Whoever takes it hears of its failure.
    this.#ahead.catch(() => {});
  }

  /** The connection begun ahead, or a new one. Rejects as `connect`. */
  takeConnection(): Promise<Connection> {
    const ahead = this.#ahead;
    this.#ahead = null;
    return ahead ?? this.connect();
  }

  /** Says that the connection is gone; what the loop waits for. Again is no error. */
  lost(error: Error): void {
    this.#isLost = true;
    this.#lost.resolve(error);
  }

  /** Resolves with the cause when the connection is gone; rejects with WorkerStopping when the worker stops. */
  async untilLost(): Promise<Error> {
    const { any } = this.worker.stopRequest;
    const error = await Promise.race([this.#lost.promise, aborted(any)]);
    any.throwIfAborted();
    return error as Error;
  }

  /** Connects, telling of every failed attempt as Celery does. Rejects with BrokerGivenUp or WorkerStopping. */
  async connect(): Promise<Connection> {
    const { app, stopRequest, world } = this.worker;
    try {
      return await app.connectBroker({
        forWriting: false,
        signal: stopRequest.any,
        isStartup: this.starts <= 1,
        heartbeat: true,
        onAttempt: (error, delaySeconds, attempt, max, url) => {
          const step = delaySeconds === 0 ? NEXT_FAILOVER : retryStep(delaySeconds, attempt, max ?? Infinity);
          world.log.error(connectionError(maskUrl(url), reasonOf(error), step));
        },
      });
    } catch (error) {
      if (error instanceof WorkerStopping || error instanceof UsageError) throw error;
      if (!(error instanceof OperatingError)) throw error;
      throw new BrokerGivenUp(`Cannot connect to ${this.shownUrl()}: ${reasonOf(error)}`, { cause: error });
    }
  }

  /**
   * In a shutdown after the connection was lost: connects once more, so that what has finished meanwhile is
   * acknowledged and the rest goes back at once. Gives up after a while, and when `signal` aborts: then the lease
   * brings everything back.
   */
  async settleLost(signal: AbortSignal): Promise<void> {
    const { app, lane, parts, timers, world } = this.worker;
    if (this.#isLost) this.lostTasks ??= this.tasks;
    if (!this.lostTasks?.leavesSomething) return;
    this.tasks = null;
    if (parts.state.consumer !== null) lane.detach();
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
      await openTasks(this, []);
      await this.tasks!.pause();
      this.tasks!.wake();
      await this.tasks!.flush();
    } catch (error) {
      world.log.warning(
        `Cannot settle what the lost connection held, the lease brings it back: ${errorText(error)}`,
      );
    } finally {
      timers.disarm(deadline);
    }
  }

  /** Stops fetching and gives back what was not begun. */
  async pauseTasks(): Promise<void> {
    if (this.tasks !== null && !this.#isLost) {
      await this.tasks.pause().catch((error: unknown) => this.#complain("pause", error));
    }
    this.worker.lane.giveBackWaiting();
  }

  /** Begins to consume from one more queue; tells of it. Source: Consumer.add_task_queue. */
  async addTaskQueue(queue: Queue): Promise<void> {
    const known = this.worker.app.amqp.queues.selectAdd(queue);
    if (this.tasks === null || this.tasks.queues.some((one) => one.name === known.name)) return;
    await this.connection?.declare(known);
    await this.tasks.addQueue(known);
    this.worker.world.log.info(`Started consuming from ${known.name}`);
  }

  /** Stops to consume from a queue. Source: Consumer.cancel_task_queue. */
  async cancelTaskQueue(name: string): Promise<void> {
    this.worker.world.log.info(`Canceling queue ${name}`);
    this.worker.app.amqp.queues.deselect([name]);
    await this.tasks?.cancelQueue(name);
  }

  #isWorthRestarting(error: unknown): boolean {
    if (!this.worker.app.conf.broker_connection_retry) return false;
    return error instanceof OperatingError && !(error instanceof BrokerGivenUp) &&
      (this.#isLost || error instanceof ConnectionLost || error.isRetryable);
  }

  async #afterLoss(error: unknown): Promise<void> {
    const { world, lane, parts, app } = this.worker;
    this.#isLost = true;
    world.log.warning(CONNECTION_RETRY);
    if (world.log.isOn("DEBUG")) world.log.debug(`consumer: ${errorText(error)}`);
    lane.detach();
    if (app.conf.worker_cancel_long_running_tasks_on_connection_loss) {
      for (const request of parts.state.inPool.values()) {
        if (request.isSettled || request.pid === 0) continue;
        world.log.warning(
          `Task ${request.human} cannot be acknowledged after a connection loss since late acknowledgement is ` +
            `enabled for it.\nTerminating it instead.\n`,
        );
        this.worker.settler.cancel(request);
      }
    }
    await this.blueprint.restart(this);
  }

  // A broker that accepts and drops connections at once must not turn into a busy loop.
  async #slowDown(): Promise<void> {
    const { clock, log } = this.worker.world;
    const now = clock.monoMs();
    this.#startedMs = this.#startedMs.filter((at) => at > now - 1000);
    if (this.#startedMs.length >= RESTARTS_PER_SECOND_MAX) {
      log.critical(`Frequent restarts detected: ${this.#startedMs.length} within a second`);
      await clock.sleep(1000, this.worker.stopRequest.any);
    }
    this.#startedMs.push(now);
  }

  #complain(what: string, error: unknown): void {
    this.worker.world.log.warning(`Cannot ${what} the task consumer: ${errorText(error)}`);
  }
}

/** Why, without saying again to where. */
function reasonOf(error: unknown): string {
  return errorText(error).replace(/^Cannot connect to \S+: /, "");
}
