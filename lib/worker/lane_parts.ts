/** What the data lane stands on: given once by the worker, read everywhere in the lane. */

import type { TimerHeap, World } from "../base/mod.ts";
import type { Backend } from "../backend/mod.ts";
import type { Pool } from "../pool/mod.ts";
import type { Aside } from "./aside.ts";
import type { LaneState } from "./lane_state.ts";
import type { Request } from "./request.ts";
import type { LimitedSet } from "./revoked.ts";
import type { RevokedStamps } from "./revoked_stamps.ts";
import type { Strategy } from "./strategy.ts";
import type { PrefetchWindow } from "./window.ts";

/** Where task events go; the event room's step sets it. */
export interface TaskEventSink {
  /** False: nobody listens, and no event is to be made. Read once per batch. */
  readonly isEnabled: boolean;
  /** Appends an event of a task; `fields` without uuid, timestamp and the common ones. */
  task(type: string, request: Request, fields: Record<string, unknown>): void;
  /** Appends an event that a task's own code asked for (`self.sendEvent`), also while task events are off. */
  custom(type: string, request: Request, fields: Record<string, unknown>): void;
  /** Appends an event about a message that never became a request. */
  message(type: string, fields: Record<string, unknown>): void;
}

/** What user code hears of a task's way through the worker; each is called only where somebody listens. */
export interface WorkerSignals {
  taskReceived: ((request: Request) => void) | null;
  taskRevoked:
    | ((request: Request, fields: { terminated: boolean; signum: number | null; expired: boolean }) => void)
    | null;
  taskRejected: ((message: unknown, reason: string) => void) | null;
  taskUnknown: ((name: string, id: string) => void) | null;
}

/** Switches of the lane; from options and settings, some changed later by remote control. */
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

/** The parts. `pool` and `backend` are set before the first delivery. */
export interface LaneParts {
  readonly world: World;
  readonly options: LaneOptions;
  readonly state: LaneState;
  readonly strategies: Map<string, Strategy>;
  readonly timers: TimerHeap;
  readonly window: PrefetchWindow;
  readonly revoked: LimitedSet;
  readonly revokedStamps: RevokedStamps;
  readonly aside: Aside;
  readonly signals: WorkerSignals;
  events: TaskEventSink | null;
  /** Called for each batch that came; the autoscaler looks at it. */
  onReserved: (() => void) | null;
  pool: Pool;
  backend: Backend;
}
