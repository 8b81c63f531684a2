/**
 * The whole data lane of one worker: intake, settlement, the pool between them, and the parts that work
 * outside the lane.
 *
 * Pool and lane need each other: the lane submits to the pool, and the pool reports to the settler. So all of
 * them are built here together, and none can be used before the others exist.
 */

import type { TimerHeap, World } from "../../base/mod.ts";
import type { Backend } from "../../backend/mod.ts";
import type { TaskMetrics } from "../../metrics/mod.ts";
import type { Pool, PoolEvents } from "../../pool/mod.ts";
import type { Connection } from "../../transport/mod.ts";
import type { StopRequest } from "../stop.ts";
import type { WorkerApp, WorkerSupport } from "../worker_app.ts";
import { AfterEnd } from "./after_end.ts";
import { FailedKeeper, keepLimits } from "./failed_keeper.ts";
import { Finalizer } from "./finalizer.ts";
import { Lane } from "./lane.ts";
import type { TaskEventSink, WorkerSignals } from "./listeners.ts";
import type { GivenParts, LaneOptions, LaneParts } from "./parts.ts";
import { Refusals } from "./refusals.ts";
import type { LimitedSet } from "./revoked.ts";
import type { RevokedStamps } from "./revoked_stamps.ts";
import { Settler } from "./settle.ts";
import type { LaneState } from "./state.ts";
import type { Strategy } from "./strategy.ts";
import type { PrefetchWindow } from "./window.ts";

/** What the lane needs from the worker around it. */
export interface LaneSurroundings {
  readonly app: WorkerApp;
  readonly support: WorkerSupport;
  /** The worker's current connection, or null. */
  readonly connection: () => Connection | null;
  /** Makes the pool, which reports to `events`. It is not started yet. */
  readonly makePool: (events: PoolEvents) => Pool;
}

/** The lane and its parts. */
export class DataLane implements LaneParts {
  readonly world: World;
  readonly options: LaneOptions;
  readonly state: LaneState;
  readonly strategies: Map<string, Strategy>;
  readonly timers: TimerHeap;
  readonly window: PrefetchWindow;
  readonly revoked: LimitedSet;
  readonly successful: LimitedSet;
  readonly revokedStamps: RevokedStamps;
  readonly signals: WorkerSignals;
  readonly events: TaskEventSink;
  readonly stopRequest: StopRequest;
  readonly backend: Backend;
  readonly metrics: TaskMetrics | null;
  readonly finalizer: Finalizer;
  readonly afterEnd: AfterEnd;
  readonly failures: FailedKeeper | null;
  readonly lane: Lane;
  readonly settler: Settler;
  readonly pool: Pool;

  constructor(given: GivenParts, { app, support, connection, makePool }: LaneSurroundings) {
    this.world = given.world;
    this.options = given.options;
    this.state = given.state;
    this.strategies = given.strategies;
    this.timers = given.timers;
    this.window = given.window;
    this.revoked = given.revoked;
    this.successful = given.successful;
    this.revokedStamps = given.revokedStamps;
    this.signals = given.signals;
    this.events = given.events;
    this.stopRequest = given.stopRequest;
    this.backend = given.backend;
    this.afterEnd = new AfterEnd(this);
    this.finalizer = new Finalizer(this, app, support);
    this.metrics = given.metrics;
    const limits = keepLimits(app.conf.failed_keep);
    this.failures = limits === null
      ? null
      : new FailedKeeper({ world: given.world, finalizer: this.finalizer, limits, connection });
    this.lane = new Lane(this, new Refusals(this));
    this.settler = new Settler(this, this.lane);
    this.pool = makePool(this.settler);
  }
}
