/**
 * Who is notified of a task's path through the worker: the sender of events, and the user's signal handlers.
 */

import type { Request } from "./request.ts";

/** Receives task events; the Events step provides it. */
export interface TaskEventSink {
  /** False if task events are off: no event is to be made. */
  readonly isEnabled: boolean;
  /** Whether events of this request are sent: task events are on, and its task does not forbid them. */
  wants(request: Request): boolean;
  /** Appends an event of a task. `fields` has no uuid, timestamp or common fields. */
  task(type: string, request: Request, fields: Record<string, unknown>): void;
  /** Appends an event that a task's own code sends (`self.sendEvent`), even if task events are off. */
  custom(type: string, request: Request, fields: Record<string, unknown>): void;
  /** Appends an event about a message that never became a request. */
  message(type: string, fields: Record<string, unknown>): void;
}

/** The sink of a worker that sends no events. */
export const NO_EVENTS: TaskEventSink = {
  isEnabled: false,
  wants: () => false,
  task() {},
  custom() {},
  message() {},
};

/** Signals to user code; a field is null if no handler is connected. */
export interface WorkerSignals {
  taskReceived: ((request: Request) => void) | null;
  taskRevoked:
    | ((request: Request, fields: { terminated: boolean; signum: number | null; expired: boolean }) => void)
    | null;
  taskRejected: ((message: unknown, reason: string) => void) | null;
  taskUnknown: ((name: string, id: string) => void) | null;
}
