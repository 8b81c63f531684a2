/** The parts of the data lane: those that the worker has from its start, and those that data_lane.ts adds. */

import type { TimerHeap, World } from "../../base/mod.ts";
import type { Backend } from "../../backend/mod.ts";
import type { TaskMetrics } from "../../metrics/mod.ts";
import type { Pool } from "../../pool/mod.ts";
import type { StopRequest } from "../stop.ts";
import type { AfterEnd } from "./after_end.ts";
import type { FailedKeeper } from "./failed_keeper.ts";
import type { Finalizer } from "./finalizer.ts";
import type { TaskEventSink, WorkerSignals } from "./listeners.ts";
import type { LimitedSet } from "./revoked.ts";
import type { RevokedStamps } from "./revoked_stamps.ts";
import type { LaneState } from "./state.ts";
import type { Strategy } from "./strategy.ts";
import type { PrefetchWindow } from "./window.ts";

/** Options of the lane, from the command line and the settings. */
export interface LaneOptions {
  readonly hostname: string;
  readonly resultSerializer: string;
  /** Content types that may be decoded. */
  readonly accept: ReadonlySet<string>;
  /** Deaths of processes that a late-acknowledged message may cause before it becomes a dead letter. */
  readonly attemptsMax: number;
  /** Maximum number of requests held here until their eta; Infinity: no limit. */
  readonly etaMax: number;
  /** Take a message only if a slot is free. */
  readonly isPrefetchOff: boolean;
  /** Ask the result store before a redelivered task runs again. */
  readonly deduplicates: boolean;
  /** `--burst`: a retry waits here instead of being parked. */
  readonly isBurst: boolean;
  /** After a reconnect, keep the window lower while tasks of the old connection run. */
  readonly reducesWindow: boolean;
}

/** Parts that exist before the lane is built. */
export interface GivenParts {
  readonly world: World;
  readonly options: LaneOptions;
  readonly state: LaneState;
  readonly strategies: Map<string, Strategy>;
  readonly timers: TimerHeap;
  readonly window: PrefetchWindow;
  readonly revoked: LimitedSet;
  /** Late-acknowledged tasks that have succeeded here; filled only if the lane deduplicates. */
  readonly successful: LimitedSet;
  readonly revokedStamps: RevokedStamps;
  readonly signals: WorkerSignals;
  readonly events: TaskEventSink;
  readonly stopRequest: StopRequest;
  readonly backend: Backend;
  /** Counts of tasks; null if metrics are off. */
  readonly metrics: TaskMetrics | null;
}

/** All parts, as the lane's files use them. */
export interface LaneParts extends GivenParts {
  readonly finalizer: Finalizer;
  readonly afterEnd: AfterEnd;
  /** Keeps the messages of failed tasks; null if `failed_keep` is off. */
  readonly failures: FailedKeeper | null;
  readonly pool: Pool;
}
