/**
 * The cluster that the console shows: records its events in the history, tracks its workers, and keeps a
 * broker connection for reading queues and remote control. Both connections are opened again after the broker
 * was away.
 */

import { errorText, maskUrl, OperatingError, type World } from "../../base/mod.ts";
import { type App, appBrokerUrls, type Replies } from "../../app/mod.ts";
import { ClusterState, EventReceiver, type ReceivedEvent, type WorkerState } from "../../event/mod.ts";
import { AppControl } from "../../mailbox/mod.ts";
import type { Connection } from "../../transport/mod.ts";
import { Management } from "./management.ts";
import type { History } from "../history/history.ts";

/** Interval between two attempts to receive events. */
const LISTEN_AGAIN_MS = 2000;
/** Interval between two requests to workers to send task events, as in Flower. */
const ENABLE_EVERY_MS = 5000;

/** Options of the cluster's view. */
export interface ClusterOptions {
  /** How long to wait for workers' replies, seconds. */
  readonly inspectSeconds: number;
  /** Maximum number of workers remembered. */
  readonly maxWorkers: number;
  /** True to ask workers to send task events, every 5 s. */
  readonly enablesEvents: boolean;
  /** Offline workers are forgotten after so many seconds; null: never. */
  readonly purgeOfflineSeconds: number | null;
  /** RabbitMQ's management API, `http://user:password@host:15672/api/`; null: only the broker is asked. */
  readonly brokerApi: string | null;
}

/** Counts of one worker's events by type, since the console started. */
export type WorkerCounts = Map<string, number>;

/** One cluster. */
export class Cluster implements AsyncDisposable {
  readonly app: App;
  readonly world: World;
  readonly history: History;
  readonly options: ClusterOptions;
  readonly state: ClusterState;
  readonly control: AppControl;
  /** Null if no URL was given, or the broker is not RabbitMQ. */
  readonly management: Management | null;
  /** Counts of events, by worker. */
  readonly counts = new Map<string, WorkerCounts>();
  /** Number of events received. */
  events = 0;
  /** When the last task event came, wall clock, seconds; null: none came. */
  lastTaskEvent: number | null = null;
  isConnected = false;
  /** Counts each event; null until it is set. */
  metrics: { take(event: ReceivedEvent): void } | null = null;
  /** Called with each event after it was recorded. */
  onEvent: ((event: ReceivedEvent) => void) | null = null;
  readonly #ending = new AbortController();
  /**
   * Without retries: a request fails at once if the broker is away, and its sender decides whether to try
   * again.
   */
  readonly #connecting = { retry: false, signal: this.#ending.signal, clientName: "lovage-ui" };
  #connection: Promise<Connection> | null = null;
  #listening: Promise<void> | null = null;
  #enabling: (() => void) | null = null;

  constructor(app: App, history: History, options: ClusterOptions) {
    this.app = app;
    this.world = app.world;
    this.history = history;
    this.options = options;
    this.state = new ClusterState({ world: app.world, maxWorkersInMemory: options.maxWorkers });
    this.control = new AppControl(app, this.#connecting);
    const broker = appBrokerUrls(app, true)[0]!;
    const isAmqp = /^(py)?amqps?:/.test(broker);
    this.management = options.brokerApi !== null && isAmqp
      ? new Management(app.world, { api: options.brokerApi, broker })
      : null;
  }

  /** The broker's URL with its password masked. */
  get brokerUrl(): string {
    return maskUrl(appBrokerUrls(this.app, true)[0]!);
  }

  /** Begins to receive events, and continues until `close`. */
  start(): void {
    this.#listening = this.#listen();
    if (this.options.enablesEvents) this.#enable();
  }

  /** The workers by name. */
  get workers(): ReadonlyMap<string, WorkerState> {
    return this.state.workers;
  }

  /** Returns true if a worker has been offline so long that it is no longer shown. */
  isPurged(name: string): boolean {
    const { purgeOfflineSeconds } = this.options;
    const worker = this.workers.get(name);
    if (purgeOfflineSeconds === null || worker === undefined || worker.alive) return false;
    const last = worker.heartbeats.at(-1);
    return last === undefined || this.world.clock.wallMs() / 1000 - last > purgeOfflineSeconds;
  }

  /** Returns the shared connection for reading and acting, and opens it if needed. Rejects if that fails. */
  async connection(): Promise<Connection> {
    const opening = this.#connection ??= this.app.connectBroker({ ...this.#connecting, forWriting: true });
    try {
      const connection = await opening;
      void connection.lost.then(() => {
        if (this.#connection === opening) this.#connection = null;
      });
      return connection;
    } catch (error) {
      if (this.#connection === opening) this.#connection = null;
      throw error;
    }
  }

  /**
   * Sends a command to the named workers, or to all, and returns their replies. Rejects if the broker is
   * away.
   */
  ask(command: string, args: Record<string, unknown>, workers?: readonly string[]): Promise<Replies> {
    return this.control.broadcast(command, {
      arguments: args,
      reply: true,
      timeout: this.options.inspectSeconds,
      ...(workers === undefined ? {} : { destination: workers }),
    });
  }

  /** Aborted when the console ends, which ends all waits for a worker or a result. */
  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** Ends all waits of requests, so that they are answered before the server stops. */
  endWaits(): void {
    this.#ending.abort(new OperatingError("The console is shutting down"));
  }

  /** Stops receiving and disconnects. The history stays open. */
  async close(): Promise<void> {
    this.endWaits();
    this.#enabling?.();
    await this.control.close();
    const connection = await this.#connection?.catch(() => null);
    await connection?.close();
    await this.#listening;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #listen(): Promise<void> {
    const { signal } = this.#ending;
    const { log, clock } = this.world;
    let isTold = false;
    const report = (error: unknown): void => {
      if (!isTold) log.error(`Cannot listen to events: ${errorText(error)}. Trying again.`);
      isTold = true;
    };
    while (!signal.aborted) {
      try {
        await using receiver = await EventReceiver.open(this.app, {
          signal,
          handlers: { "*": (event) => this.#take(event) },
          onReady: () => {
            this.isConnected = true;
            isTold = false;
          },
          onLost: (error) => {
            this.isConnected = false;
            log.warning(`Lost the broker: ${errorText(error)}. Events are missed until it is back.`);
          },
          onAttempt: report,
        });
        await receiver.ended();
      } catch (error) {
        this.isConnected = false;
        if (signal.aborted) return;
        report(error);
      }
      await clock.sleep(LISTEN_AGAIN_MS, signal).catch(() => {});
    }
  }

  #take(event: ReceivedEvent): void {
    this.events++;
    this.metrics?.take(event);
    const { type, hostname } = event;
    if (type.startsWith("task-")) {
      const subject = type.slice(5);
      this.lastTaskEvent = event.local_received;
      if (subject !== "sent") this.state.getOrCreateWorker(hostname)[0].beat(event.local_received);
      this.history.event(subject, event);
    } else this.state.event(event);
    if (this.state.workers.has(hostname)) this.#count(hostname, type);
    this.onEvent?.(event);
  }

  #count(hostname: string, type: string): void {
    let counts = this.counts.get(hostname);
    if (counts === undefined) {
      this.counts.set(hostname, counts = new Map());
      for (const known of this.counts.keys()) if (!this.state.workers.has(known)) this.counts.delete(known);
    }
    if (counts.size < 100 || counts.has(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }

  #enable(): void {
    const { clock } = this.world;
    if (this.isConnected) this.control.enableEvents().catch(() => {});
    this.#enabling = clock.arm(clock.monoMs() + ENABLE_EVERY_MS, () => this.#enable());
  }
}
