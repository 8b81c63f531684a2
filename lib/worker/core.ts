/**
 * What the worker's steps and remote control see of it: `WorkController` (worker.ts) and `Consumer`
 * (consumer/consumer.ts) implement these, everybody else takes them. The lane knows neither: it stands on its own parts
 * (lane/parts.ts).
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
  /** What other steps give remote control to act on. */
  readonly remote: RemoteParts;
  /** Wall clock, milliseconds, of its creation. */
  readonly startedWallMs: number;
  readonly timers: TimerHeap;
  readonly state: LaneState;
  readonly strategies: Map<string, Strategy>;
  readonly window: PrefetchWindow;
  readonly revoked: LimitedSet;
  readonly revokedStamps: RevokedStamps;
  /** Counts of tasks; null: nobody can ask for them. */
  readonly metrics: TaskMetrics | null;
  /** Where task events go; read when the lane is built. */
  events: TaskEventSink;
  /** Whether the lane is built, and with it all of the following. */
  readonly hasLane: boolean;
  readonly parts: DataLane;
  readonly lane: Lane;
  readonly settler: Settler;
  readonly pool: Pool;
  readonly backend: Backend;

  /** Builds the data lane, once. `makePool` makes the pool, which reports to `events`. */
  buildLane(backend: Backend, makePool: (events: PoolEvents) => Pool): void;
  /** Node-formats a file name: `%n`, `%h`, `%d`, `%p`, `%i`, `%I`. */
  expand(text: string): string;
  /** Reads the registry again; after modules were loaded or reloaded. */
  updateStrategies(): void;
  /** Asks for a stop and resolves when the worker has ended. */
  stop(mode: StopMode, exitCode?: number | null): Promise<void>;
  /** Lets running tasks finish, unless a cold shutdown is asked for meanwhile; then ends the pool. */
  endPool(): Promise<void>;
  /** Remote control's `shutdown`. */
  onRemoteShutdown(): void;
  /** The requests that slots have begun. */
  active(): Request[];
  /** What `inspect stats` shows, except for what the panel adds. */
  stats(): Record<string, unknown>;
  /** Flags tasks as revoked; with `terminate`, ends those that the pool has: their ids. */
  revoke(ids: readonly string[], options?: { terminate?: boolean; signal?: string }): string[];
}

/** The consumer of a worker. */
export interface ConsumerCore {
  /** Null while there is none. */
  readonly connection: Connection | null;
  readonly tasks: TaskConsumer | null;
  /** True from the moment the connection was lost until the next is being made. */
  readonly isLost: boolean;
  /** True while there is no broker: nothing is connected, or the connection was lost. */
  readonly isAway: boolean;
  /** Connections that were made since the start. */
  readonly connections: number;
  /** Where its blueprint is in its life. */
  readonly state: BlueprintState;
  /** Builds its steps; once. */
  build(): void;
  /** Begins to connect while the pool starts. */
  connectAhead(): void;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Begins to consume from one more queue. */
  addTaskQueue(queue: Queue): Promise<void>;
  /** Stops consuming from a queue. */
  cancelTaskQueue(name: string): Promise<void>;
  /** The broker's first URL with its password masked. */
  shownUrl(): string;
  /** What its steps show in `inspect stats`. */
  info(): Record<string, unknown>;
}

/** The dispatcher of events, as `enable_events`, `disable_events` and `heartbeat` use it. */
export interface RemoteEvents {
  /** Sends events of the group `task` from now on; false if it did already. */
  enableTasks(): boolean;
  /** Stops sending them; false if it did not send them, or if `-E` has them sent for good. */
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
  /** Changes the range; null leaves one as it is. The new range. */
  update(max: number | null, min: number | null): { max: number; min: number };
}

/** What remote control can act on. A step sets its field; where one is missing, the panel answers as Celery does. */
export interface RemoteParts {
  events: RemoteEvents | null;
  gossip: RemoteGossip | null;
  autoscaler: RemoteAutoscaler | null;
}
