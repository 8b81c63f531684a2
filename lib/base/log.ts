/**
 * Log records and the interface of the log. Formatting and writing live in platform/; all other code only
 * emits records.
 *
 * Levels and names are Python's, since Celery's `-l` and its lines use them.
 */

/** Levels by weight. A record passes if its level is at least the log's. */
export const LEVELS = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 } as const;

/** A level's name. */
export type Level = keyof typeof LEVELS;

/**
 * The process name in records of the worker itself, as Celery writes it. Slots that are processes have other
 * names.
 */
export const MAIN_PROCESS = "MainProcess";

/**
 * The task that a line comes from or is about. `traceparent` is the W3C header of its trace, null if it has
 * none.
 */
export interface LogTask {
  readonly name: string;
  readonly id: string;
  readonly traceparent?: string | null;
  /** Where the line was written; absent or null if it was not asked for or is not known. */
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

/** Further facts about a line. Read before `emit` returns, because callers reuse one object. */
export interface LogContext {
  /** The name of the process that the line comes from; default "MainProcess", the worker itself. */
  readonly process?: string;
  /** The id of that process. By default, and if 0: the worker's own. */
  readonly pid?: number;
  /** The task that wrote the line. Such a line is formatted by the format for tasks. */
  readonly task?: LogTask | null;
  /** The task that a line of the worker is about. */
  readonly about?: LogTask | null;
  /** The logger's name in Celery, such as "celery.app.trace". */
  readonly logger?: string;
  /** The error to log. Text formats write its traceback below the line. */
  readonly error?: LogError | null;
}

/**
 * A log. The data lane calls `isOn(level)` once per batch. `emit` appends and never throws. Records are
 * written in order, with one write per turn of the event loop.
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

/** The methods by level, built on `emit`. For a log that buffers nothing and has no open file. */
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
 * Returns a log that writes to `log` and adds `from`, the name of a Celery logger and its process, to each
 * line that does not name them itself.
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
