/**
 * What other rooms' steps give the worker for remote control to act on. A step sets its field when it starts and clears
 * it when it ends; the panel answers as Celery does where one is missing.
 */

/** The dispatcher of events, as `enable_events`, `disable_events` and `heartbeat` use it. */
export interface RemoteEvents {
  /** Sends events of the group `task` from now on; false where it did already. */
  enableTasks(): boolean;
  /** Stops sending them; false where it did not, or where `-E` has them sent for good. */
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

/** The parts there are at the moment. */
export class RemoteParts {
  events: RemoteEvents | null = null;
  gossip: RemoteGossip | null = null;
  autoscaler: RemoteAutoscaler | null = null;
}
