/**
 * The real log: formats records as Celery prints them and writes them, one write per turn of the loop.
 *
 * Source: celery 5.2.6 app/defaults.py (DEFAULT_PROCESS_LOG_FMT, DEFAULT_TASK_LOG_FMT), utils/log.py (colours).
 */

import { type Clock, type Level, LEVELS, type Log, UsageError } from "../base/mod.ts";

/** Celery's default lines. */
export const PROCESS_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s";
/** The line of a task's own logger. */
export const TASK_FORMAT =
  "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s";

const COLOURS: Partial<Record<Level, string>> = {
  DEBUG: "\x1b[34m",
  WARNING: "\x1b[33m",
  ERROR: "\x1b[31m",
  CRITICAL: "\x1b[35m",
};

/** How a sink writes. */
export interface LogSinkOptions {
  level?: Level;
  /** A file to append to; null: standard error. */
  file?: string | null;
  /** Percent formats as Python's logging has them; "json" writes one JSON object a line. */
  format?: string;
  taskFormat?: string;
  /** Null: colours where standard error is a terminal and NO_COLOR is not set. */
  color?: boolean | null;
  /** "MainProcess" unless the record says otherwise. */
  processName?: string;
  /** Errors go to standard error too, though there is a file: for a daemon whose starter still listens. */
  mirrorErrors?: boolean;
}

/** A Log that can be configured again, once the settings are known. */
export interface LogSink extends Log {
  configure(options: LogSinkOptions): void;
  /** Writes what is buffered before it returns; for the way out. */
  flushSync(): void;
}

/** What a sink does when told nothing: warnings and worse, to standard error. */
export function openLogSink(clock: Clock, options: LogSinkOptions = {}): LogSink {
  return new FileLogSink(clock, options);
}

class FileLogSink implements LogSink {
  level: Level = "WARNING";
  #clock: Clock;
  #path: string | null = null;
  #file: Deno.FsFile | null = null;
  #format = PROCESS_FORMAT;
  #taskFormat = TASK_FORMAT;
  #color = false;
  #processName = "MainProcess";
  #mirrorsErrors = false;
  #buffer = "";
  #isDeferred = false;
  #second = -1;
  #secondText = "";
  #headMs = -1;
  /** Heads of lines in this millisecond, by process, and by level where it is another than INFO. */
  #heads = new Map<string, string>();

  constructor(clock: Clock, options: LogSinkOptions) {
    this.#clock = clock;
    this.configure({ color: null, ...options });
  }

  configure(options: LogSinkOptions): void {
    this.flushSync();
    if (options.level) this.level = options.level;
    if (options.format !== undefined) this.#format = options.format;
    if (options.taskFormat !== undefined) this.#taskFormat = options.taskFormat;
    if (options.processName !== undefined) this.#processName = options.processName;
    if (options.mirrorErrors !== undefined) this.#mirrorsErrors = options.mirrorErrors;
    if (options.file !== undefined && options.file !== this.#path) {
      this.#path = options.file;
      this.reopen();
    }
    if (options.color !== undefined) {
      this.#color = options.color ??
        (this.#path === null && Deno.stderr.isTerminal() && !Deno.env.get("NO_COLOR"));
    }
  }

  isOn(level: Level): boolean {
    return LEVELS[level] >= LEVELS[this.level];
  }

  emit(level: Level, message: string, options?: { process?: string; task?: { name: string; id: string } }) {
    if (!this.isOn(level)) return;
    const process = options?.process ?? this.#processName;
    const task = options?.task ?? null;
    this.#buffer += this.#line(level, message, process, task);
    if (this.#mirrorsErrors && this.#file !== null && LEVELS[level] >= LEVELS.ERROR) mirror(message);
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#clock.defer(() => this.flushSync());
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
    this.flushSync();
    return Promise.resolve();
  }

  flushSync(): void {
    this.#isDeferred = false;
    if (this.#buffer === "") return;
    let bytes = new TextEncoder().encode(this.#buffer);
    this.#buffer = "";
    const out = this.#file ?? Deno.stderr;
    try {
      while (bytes.length > 0) bytes = bytes.subarray(out.writeSync(bytes));
    } catch {
      // A log that cannot be written (full disk, closed terminal) must not take the work down with it.
    }
  }

  reopen(): void {
    this.#file?.close();
    this.#file = null;
    if (this.#path === null) return;
    try {
      this.#file = Deno.openSync(this.#path, { append: true, create: true });
    } catch (error) {
      throw new UsageError(`Cannot open log file "${this.#path}": ${(error as Error).message}`, {
        cause: error,
        exitCode: 73,
      });
    }
  }

  #line(level: Level, message: string, process: string, task: { name: string; id: string } | null): string {
    const atMs = this.#clock.wallMs();
    if (this.#format === "json") {
      const at = new Date(atMs).toISOString();
      return JSON.stringify({
        at,
        level,
        process,
        message,
        ...(task ? { task: task.name, id: task.id } : {}),
      }) +
        "\n";
    }
    const format = task ? this.#taskFormat : this.#format;
    const colour = this.#color ? COLOURS[level] : undefined;
    const text = colour ? `${colour}${message}\x1b[0m` : message;
    if (format === PROCESS_FORMAT) return `${this.#head(atMs, level, process)}${text}\n`;
    return format.replace(/%\((\w+)\)[sd]/g, (whole, field: string) => {
      switch (field) {
        case "asctime":
          return this.#asctime(atMs);
        case "levelname":
          return level;
        case "processName":
          return process;
        case "message":
          return text;
        case "task_name":
          return task?.name ?? "???";
        case "task_id":
          return task?.id ?? "???";
        case "name":
          return task ? "celery.task" : "celery";
        case "process":
          return String(Deno.pid);
        default:
          return whole;
      }
    }) + "\n";
  }

  /**
   * What stands before a message, made once a millisecond for each process and as one flat text: the engine keeps a
   * concatenation as a tree, and walks all of its nodes when the buffer is written.
   */
  #head(atMs: number, level: Level, process: string): string {
    const whole = Math.floor(atMs);
    if (whole !== this.#headMs) {
      this.#headMs = whole;
      this.#heads.clear();
    }
    const key = level === "INFO" ? process : `${process} ${level}`;
    let head = this.#heads.get(key);
    if (head === undefined) {
      head = ["[", this.#asctime(atMs), ": ", level, "/", process, "] "].join("");
      this.#heads.set(key, head);
    }
    return head;
  }

  /** Local time as Python's logging prints it; the date and second are made once a second. */
  #asctime(atMs: number): string {
    const second = Math.floor(atMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      const d = new Date(atMs);
      const two = (n: number) => String(n).padStart(2, "0");
      this.#secondText = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` +
        `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
    }
    return `${this.#secondText},${String(Math.floor(atMs - second * 1000)).padStart(3, "0")}`;
  }
}

/** Says an error on standard error as well; whoever listened may be gone. */
function mirror(message: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(`${message.trimEnd()}\n`));
  } catch {
    // The file has it.
  }
}
