/**
 * The worker as its steps and remote control see it. `WorkController` (worker.ts) and `Consumer`
 * (consumer/consumer.ts) implement these interfaces, all others take them. The lane knows neither: it has its
 * own parts (lane/parts.ts).
 */

import type { TimerHeap, World } from "../base/mod.ts";
import type { Backend } from "../backend/mod.ts";
import type { Blueprint, BlueprintState } from "../blueprint/mod.ts";
import type { TaskMetrics } from "../metrics/mod.ts";
import type { Pool, PoolEvents } from "../pool/mod.ts";
import type { Connection, Consumer as TaskConsumer, Queue } from "../transport/mod.ts";
import type { DataLane } from "./lane/data_lane.ts";
import type { Lane } from "./lane/lane.ts";
import type { TaskEventSink } from "./lane/listeners.ts";
import type { Request } from "./lane/request.ts";
import type { LimitedSet } from "./lane/revoked.ts";
import type { RevokedStamps } from "./lane/revoked_stamps.ts";
import type { Settler } from "./lane/settle.ts";
import type { LaneState } from "./lane/state.ts";
import type { Strategy } from "./lane/strategy.ts";
import type { PrefetchWindow } from "./lane/window.ts";
import type { ResolvedOptions } from "./options.ts";
import type { StopMode, StopRequest } from "./stop.ts";
import type { WorkerApp, WorkerSupport } from "./worker_app.ts";

/** A worker. */
export interface WorkerCore {
  readonly world: World;
  readonly app: WorkerApp;
  readonly support: WorkerSupport;
  /** Node name. */
  readonly hostname: string;
  readonly options: ResolvedOptions;
  readonly blueprint: Blueprint<WorkerCore>;
  readonly consumer: ConsumerCore;
  readonly stopRequest: StopRequest;
  /** Parts that steps provide and remote control acts on. */
  readonly remote: RemoteParts;
  /** When it was created, wall clock, milliseconds. */
  readonly startedWallMs: number;
  readonly timers: TimerHeap;
  readonly state: LaneState;
  readonly strategies: Map<string, Strategy>;
  readonly window: PrefetchWindow;
  readonly revoked: LimitedSet;
  readonly revokedStamps: RevokedStamps;
  /** Counts of tasks; null if metrics are off. */
  readonly metrics: TaskMetrics | null;
  /** Where task events go. The lane takes it when it is built. */
  events: TaskEventSink;
  /** Whether the lane is built. The fields below may be read only then. */
  readonly hasLane: boolean;
  readonly parts: DataLane;
  readonly lane: Lane;
  readonly settler: Settler;
  readonly pool: Pool;
  readonly backend: Backend;

  /** Builds the data lane; may be called once. `makePool` makes the pool, which reports to `events`. */
  buildLane(backend: Backend, makePool: (events: PoolEvents) => Pool): void;
  /** Node-formats a file name: `%n`, `%h`, `%d`, `%p`, `%i`, `%I`. */
  expand(text: string): string;
  /** Reads the task registry again, after modules were loaded or reloaded. */
  updateStrategies(): void;
  /** Asks for a stop and resolves when the worker has ended. Never rejects. */
  stop(mode: StopMode, exitCode?: number | null): Promise<void>;
  /**
   * Lets running tasks finish, unless a cold shutdown is asked for meanwhile; then ends the pool. Rejects as
   * the result store's `flush` and the pool's `close` do.
   */
  endPool(): Promise<void>;
  /** Handles the control command `shutdown`. */
  onRemoteShutdown(): void;
  /** Returns the requests that slots have begun. */
  active(): Request[];
  /** Returns what `inspect stats` shows, except the panel's own fields. */
  stats(): Record<string, unknown>;
  /** Flags tasks as revoked. With `terminate`, ends those that the pool has and returns their ids. */
  revoke(ids: readonly string[], options?: { terminate?: boolean; signal?: string }): string[];
}

/** The consumer of a worker. */
export interface ConsumerCore {
  /** Null if there is none. */
  readonly connection: Connection | null;
  readonly tasks: TaskConsumer | null;
  /** True from the loss of a connection until the next one is being made. */
  readonly isLost: boolean;
  /** True if there is no broker: not connected yet, or the connection was lost. */
  readonly isAway: boolean;
  /** Number of connections made since the start. */
  readonly connections: number;
  /** State of its blueprint. */
  readonly state: BlueprintState;
  /** Builds its steps; called once. */
  build(): void;
  /** Begins to connect, while the pool starts. */
  connectAhead(): void;
  /**
   * Runs its blueprint until the worker stops. Rejects with WorkerStopping, with BrokerGivenUp if the broker
   * cannot be reached, or with the error of a step.
   */
  start(): Promise<void>;
  /** Stops its blueprint; running tasks continue. Rejects with the error of a step. */
  stop(): Promise<void>;
  /** Begins to consume from one more queue. Rejects if the broker refuses it. */
  addTaskQueue(queue: Queue): Promise<void>;
  /** Stops consuming from a queue. Rejects if the broker refuses it. */
  cancelTaskQueue(name: string): Promise<void>;
  /** Returns the broker's first URL with its password masked. */
  shownUrl(): string;
  /** Returns what its steps show in `inspect stats`. */
  info(): Record<string, unknown>;
}

/** The event dispatcher, as `enable_events`, `disable_events` and `heartbeat` use it. */
export interface RemoteEvents {
  /** Starts to send events of the group `task`; false if they were sent already. */
  enableTasks(): boolean;
  /** Stops sending them; false if they were not sent, or cannot be stopped because of `-E`. */
  disableTasks(): boolean;
  /** Sends a heartbeat event now. */
  heartbeat(): void;
}

/** Gossip, as `election` uses it. */
export interface RemoteGossip {
  election(id: string, topic: string, action: unknown): void;
}

/** The autoscaler. */
export interface RemoteAutoscaler {
  /** Changes the range and returns the new one; null leaves a limit unchanged. */
  update(max: number | null, min: number | null): { max: number; min: number };
}

/**
 * Parts that remote control acts on. Each is set by a step; if one is missing, the panel answers as Celery
 * does.
 */
export interface RemoteParts {
  events: RemoteEvents | null;
  gossip: RemoteGossip | null;
  autoscaler: RemoteAutoscaler | null;
}
