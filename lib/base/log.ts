/**
 * Log records and the sink they go to. Formatting and writing live in platform/; everything else only appends.
 *
 * Levels and names are Python's, since Celery's `-l` and its lines use them.
 */

/** Levels by weight; a record passes where its level is at least the sink's. */
export const LEVELS = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 } as const;

/** A level's name. */
export type Level = keyof typeof LEVELS;

/** One record. `task` is set for lines of a task's own logger. */
export interface LogRecord {
  readonly level: Level;
  readonly message: string;
  /** Wall-clock milliseconds. */
  readonly atMs: number;
  /** Celery's process name: "MainProcess", "ForkPoolWorker-1". */
  readonly process: string;
  readonly task: { readonly name: string; readonly id: string } | null;
}

/**
 * A log. `isOn(level)` is read once per batch on the data lane; `emit` appends and never throws. Records leave in
 * order, one write per turn of the loop.
 */
export interface Log {
  level: Level;
  isOn(level: Level): boolean;
  emit(
    level: Level,
    message: string,
    options?: { process?: string; task?: { name: string; id: string } },
  ): void;
  debug(message: string): void;
  info(message: string): void;
  warning(message: string): void;
  error(message: string): void;
  critical(message: string): void;
  /** Resolves when everything emitted so far is written. */
  flush(): Promise<void>;
  /** Opens the log file again (after rotation). */
  reopen(): void;
}
