/** What the data lane stands on: parts that the worker has from its start, and those that data_lane.ts adds. */

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

/** Switches of the lane, from options and settings. */
export interface LaneOptions {
  readonly hostname: string;
  readonly resultSerializer: string;
  /** Content types that may be decoded. */
  readonly accept: ReadonlySet<string>;
  /** Crashed attempts of a late-acked message before it goes to the dead letters. */
  readonly attemptsMax: number;
  /** Requests held here until their eta at most; Infinity none. */
  readonly etaMax: number;
  /** Take a message only when a slot is free. */
  readonly isPrefetchOff: boolean;
  /** Ask the result store before a redelivered task runs again. */
  readonly deduplicates: boolean;
  /** `--burst`: a retry is waited for here, not parked. */
  readonly isBurst: boolean;
  /** After a reconnect the window is lower while tasks of the old connection run. */
  readonly reducesWindow: boolean;
}

/** What is there before the lane is built. */
export interface GivenParts {
  readonly world: World;
  readonly options: LaneOptions;
  readonly state: LaneState;
  readonly strategies: Map<string, Strategy>;
  readonly timers: TimerHeap;
  readonly window: PrefetchWindow;
  readonly revoked: LimitedSet;
  /** Late-acked tasks that have succeeded here; filled only if the lane deduplicates. */
  readonly successful: LimitedSet;
  readonly revokedStamps: RevokedStamps;
  readonly signals: WorkerSignals;
  readonly events: TaskEventSink;
  readonly stopRequest: StopRequest;
  readonly backend: Backend;
  /** Counts of tasks; null: nobody can ask for them, and nothing is counted. */
  readonly metrics: TaskMetrics | null;
}

/** What the lane's files are given. */
export interface LaneParts extends GivenParts {
  readonly finalizer: Finalizer;
  readonly afterEnd: AfterEnd;
  /** Keeps tasks that failed for good; null: nothing is kept. */
  readonly failures: FailedKeeper | null;
  readonly pool: Pool;
}
