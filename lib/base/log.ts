/**
 * Log records and the sink they go to. Formatting and writing live in platform/; everything else only appends.
 *
 * Levels and names are Python's, since Celery's `-l` and its lines use them.
 */

/** Levels by weight; a record passes where its level is at least the sink's. */
export const LEVELS = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 } as const;

/** A level's name. */
export type Level = keyof typeof LEVELS;

/** The process name of a record of the worker itself, as Celery writes it; slots that are processes have others. */
export const MAIN_PROCESS = "MainProcess";

/** The task that a line belongs to, or is about. `traceparent` is the W3C header of its trace, null if it has none. */
export interface LogTask {
  readonly name: string;
  readonly id: string;
  readonly traceparent?: string | null;
  /** Where the line was written; absent or null: nobody asked, or it is not known. */
  readonly caller?: LogCaller | null;
}

/** A place in the user's code. */
export interface LogCaller {
  readonly path: string;
  readonly line: number;
  /** The function's name, or "<module>". */
  readonly name: string;
}

/** An error as logged: its type, its text as Python would print it, and its traceback. */
export interface LogError {
  readonly type: string;
  readonly repr: string;
  readonly traceback: string | null;
}

/** What is known of a line besides its message. Read before `emit` returns: callers reuse one object. */
export interface LogContext {
  /** The process that it comes from; the worker's own, "MainProcess", by default. */
  readonly process?: string;
  /** The id of that process; the worker's own by default, and where it is 0. */
  readonly pid?: number;
  /** The task whose own line it is: it gets the format of tasks. */
  readonly task?: LogTask | null;
  /** The task that a line of ours is about. */
  readonly about?: LogTask | null;
  /** The logger's name in Celery, such as "celery.app.trace". */
  readonly logger?: string;
  /** Text formats write its traceback below the line. */
  readonly error?: LogError | null;
}

/**
 * A log. `isOn(level)` is read once per batch on the data lane; `emit` appends and never throws. Records leave in
 * order, one write per turn of the loop.
 */
export interface Log {
  level: Level;
  isOn(level: Level): boolean;
  emit(level: Level, message: string, context?: LogContext): void;
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

/** A log's methods by level, over the one that takes them all. Nothing is buffered, and no file is open. */
export abstract class LevelLog implements Log {
  constructor(public level: Level) {}

  abstract emit(level: Level, message: string, context?: LogContext): void;

  isOn(level: Level): boolean {
    return LEVELS[level] >= LEVELS[this.level];
  }
  debug(message: string): void {
    this.emit("DEBUG", message);
  }
  info(message: string): void {
    this.emit("INFO", message);
  }
  warning(message: string): void {
    this.emit("WARNING", message);
  }
  error(message: string): void {
    this.emit("ERROR", message);
  }
  critical(message: string): void {
    this.emit("CRITICAL", message);
  }
  flush(): Promise<void> {
    return Promise.resolve();
  }
  reopen(): void {}
}

/**
 * A log whose lines come from `from`, a logger of Celery's and its process, unless they say so themselves. In all else
 * it is the log given.
 */
export function logFrom(log: Log, from: Pick<LogContext, "logger" | "process">): Log {
  return new LogFrom(log, from);
}

class LogFrom extends LevelLog {
  readonly #log: Log;
  readonly #from: LogContext;

  constructor(log: Log, from: LogContext) {
    super(log.level);
    this.#log = log;
    this.#from = from;
  }

  override isOn(level: Level): boolean {
    return this.#log.isOn(level);
  }

  emit(level: Level, message: string, context?: LogContext): void {
    this.#log.emit(level, message, context === undefined ? this.#from : { ...this.#from, ...context });
  }

  override flush(): Promise<void> {
    return this.#log.flush();
  }

  override reopen(): void {
    this.#log.reopen();
  }
}
