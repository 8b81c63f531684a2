/**
 * The real log: formats records as Celery does and writes them, with one write per turn.
 *
 * Source: celery 5.2.6 app/defaults.py (DEFAULT_PROCESS_LOG_FMT, DEFAULT_TASK_LOG_FMT), utils/log.py
 * (colours).
 */

import {
  type Clock,
  type Level,
  LevelLog,
  LEVELS,
  type Log,
  type LogContext,
  type LogTask,
  MAIN_PROCESS,
  shown,
  shownLine,
  UsageError,
} from "../base/mod.ts";
import { type FieldName, type LogFormat, readLogFormat } from "./log_format.ts";
import { jsonLine } from "./log_json.ts";
import { isUnreadPipe } from "./regular_file.ts";

/** Celery's default format. */
const PROCESS_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s";
/** Celery's default format for a task's own logger. */
const TASK_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s";

/** How often the log checks that its file is still the one at the path, milliseconds. */
const LOOK_EVERY_MS = 10;
/** The file name if the caller is not known. Source: Python 3.11 logging Logger._log. */
const UNKNOWN_FILE = "(unknown file)";

const COLOURS: Partial<Record<Level, string>> = {
  DEBUG: "\x1b[1;34m",
  WARNING: "\x1b[1;33m",
  ERROR: "\x1b[1;31m",
  CRITICAL: "\x1b[1;35m",
};

/** The options of the log. */
export interface LogSinkOptions {
  level?: Level;
  /** The file to append to; null: standard error. */
  file?: string | null;
  /** Percent formats as in Python's logging; "json" writes one JSON object per line (log_json.ts). */
  format?: string;
  taskFormat?: string;
  /**
   * Writes every line as JSON from now on, even if other formats are configured later (`--log-format json`).
   */
  isJson?: boolean;
  /** The Celery logger of lines that do not name one; default "celery". */
  logger?: string;
  /** The node's name, for JSON lines. */
  node?: string;
  /** False: no colours. Else colours are used if the log goes to a terminal and NO_COLOR is not set. */
  color?: boolean | null;
  /** The process name of records that do not name one; default "MainProcess". */
  processName?: string;
  /** Also writes errors to standard error if the log has a file: for a daemon whose parent still reads it. */
  mirrorErrors?: boolean;
}

/** A Log that can be configured again once the settings are known. */
export interface LogSink extends Log {
  /** True if every line of this process is JSON, by `--log-format json` or by the format. */
  readonly isJson: boolean;
  configure(options: LogSinkOptions): void;
  /**
   * Writes a record at once, regardless of its level, to standard error and to the log's file if it has one.
   */
  notice(level: Level, message: string): void;
  /** Writes everything buffered before it returns; for the end of the program. */
  flushSync(): void;
}

/**
 * Opens the log. By default it writes warnings and worse to standard error. Throws UsageError if the file
 * cannot be opened or a format is invalid.
 */
export function openLogSink(clock: Clock, options: LogSinkOptions = {}): LogSink {
  return new FileLogSink(clock, options);
}

class FileLogSink extends LevelLog implements LogSink {
  #clock: Clock;
  #path: string | null = null;
  #file: Deno.FsFile | null = null;
  /** The identity of the open file; null if it is not a regular file, which nobody rotates. */
  #identity: string | null = null;
  #lookedMs = -Infinity;
  #startedMs: number;
  #format = PROCESS_FORMAT;
  #taskFormat = TASK_FORMAT;
  #writeProcess: LogFormat = readLogFormat(PROCESS_FORMAT);
  #writeTask: LogFormat = readLogFormat(TASK_FORMAT);
  #wantsColor = true;
  #hasColor = false;
  #headLike = headLike([PROCESS_FORMAT, TASK_FORMAT]);
  #processName: string = MAIN_PROCESS;
  #isJson = false;
  #logger = "celery";
  #node: string | null = null;
  #mirrorsErrors = false;
  #buffer = "";
  #isDeferred = false;
  #second = -1;
  #secondText = "";
  #headMs = -1;
  /** Heads of lines in this millisecond, by process and, except for INFO, by level. */
  #heads = new Map<string, string>();

  constructor(clock: Clock, options: LogSinkOptions) {
    super("WARNING");
    this.#clock = clock;
    this.#startedMs = clock.wallMs();
    this.configure({ color: null, ...options });
  }

  configure(options: LogSinkOptions): void {
    this.flushSync();
    if (options.level) this.level = options.level;
    if (options.format !== undefined) {
      if (options.format !== "json") this.#writeProcess = readLogFormat(options.format);
      this.#format = options.format;
    }
    if (options.taskFormat !== undefined) {
      if (options.taskFormat !== "json") this.#writeTask = readLogFormat(options.taskFormat);
      this.#taskFormat = options.taskFormat;
    }
    this.#headLike = headLike([PROCESS_FORMAT, this.#format, this.#taskFormat]);
    if (options.processName !== undefined) this.#processName = options.processName;
    if (options.isJson !== undefined) this.#isJson = options.isJson;
    if (options.logger !== undefined) this.#logger = options.logger;
    if (options.node !== undefined) this.#node = options.node;
    if (options.mirrorErrors !== undefined) this.#mirrorsErrors = options.mirrorErrors;
    if (options.file !== undefined && options.file !== this.#path) {
      this.#open(options.file);
      this.#path = options.file;
    }
    if (options.color !== undefined) this.#wantsColor = options.color ?? true;
    // Never in a file or a pipe, as in Celery, because programs read those.
    this.#hasColor = this.#wantsColor && this.#path === null && Deno.stderr.isTerminal() &&
      !Deno.env.get("NO_COLOR");
  }

  get isJson(): boolean {
    return this.#isJson || this.#format === "json";
  }

  emit(level: Level, message: string, context?: LogContext) {
    if (!this.isOn(level)) return;
    const line = this.#line(level, message, context);
    this.#buffer += line;
    if (this.#mirrorsErrors && this.#file !== null && LEVELS[level] >= LEVELS.ERROR) {
      mirror(this.isJson ? line : `${shown(message.trimEnd())}\n`);
    }
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#clock.defer(() => this.flushSync());
  }

  notice(level: Level, message: string): void {
    const line = this.#line(level, message, undefined);
    this.#buffer += line;
    this.flushSync();
    if (this.#file !== null) mirror(line);
  }

  override flush(): Promise<void> {
    this.flushSync();
    return Promise.resolve();
  }

  flushSync(): void {
    this.#isDeferred = false;
    if (this.#buffer === "") return;
    if (this.#identity !== null) this.#followPath();
    let bytes = new TextEncoder().encode(this.#buffer);
    this.#buffer = "";
    const out = this.#file ?? Deno.stderr;
    try {
      while (bytes.length > 0) bytes = bytes.subarray(out.writeSync(bytes));
    } catch {
      // A log that cannot be written (full disk, closed terminal) must not stop the program.
    }
  }

  override reopen(): void {
    if (this.#path === null) return;
    try {
      this.#open(this.#path);
    } catch (error) {
      // The old file stays open: a failed rotation must not stop the program.
      this.emit("ERROR", (error as Error).message);
    }
  }

  /** Opens another file. If that fails, throws UsageError and keeps the current one. */
  #open(path: string | null): void {
    let file: Deno.FsFile | null = null;
    let identity: string | null = null;
    if (path !== null) {
      try {
        if (isUnreadPipe(path)) throw new Error("it is a named pipe that nobody reads");
        file = Deno.openSync(path, { append: true, create: true, mode: 0o664 });
        identity = identityOf(file.statSync());
      } catch (error) {
        throw new UsageError(`Cannot open log file "${path}": ${(error as Error).message}`, {
          cause: error,
          exitCode: 73,
        });
      }
    }
    this.#file?.close();
    this.#file = file;
    this.#identity = identity;
  }

  /**
   * Opens the file again if it was renamed or removed, as logrotate does by default.
   * Source: Python's logging.handlers.WatchedFileHandler, which Celery logs through.
   */
  #followPath(): void {
    const nowMs = this.#clock.monoMs();
    if (nowMs - this.#lookedMs < LOOK_EVERY_MS) return;
    this.#lookedMs = nowMs;
    try {
      if (identityOf(Deno.statSync(this.#path!)) === this.#identity) return;
    } catch {
      // The file was removed: create a new one.
    }
    try {
      this.#open(this.#path);
    } catch {
      // The folder was removed too, or is not writable any more: keep writing to the old file.
    }
  }

  #line(level: Level, message: string, context: LogContext | undefined): string {
    const atMs = this.#clock.wallMs();
    const process = context?.process ?? this.#processName;
    const logger = context?.logger ?? (context?.task ? "celery.task" : this.#logger);
    const task = context?.task ?? null;
    const pid = context?.pid || Deno.pid;
    const format = task ? this.#taskFormat : this.#format;
    if (this.isJson || format === "json") {
      return jsonLine({ atMs, logger, process, pid, node: this.#node }, level, message, context);
    }
    const text = this.#safe(message);
    const write = task ? this.#writeTask : this.#writeProcess;
    const line = format === PROCESS_FORMAT
      ? `${this.#head(atMs, level, process)}${text}`
      : write((name) => this.#field(name, { atMs, level, process, pid, logger, task, text }));
    const traceback = context?.error?.traceback;
    const whole = traceback ? `${line}${this.#safe(`\n${traceback.trimEnd()}`)}` : line;
    const colour = this.#hasColor ? COLOURS[level] : undefined;
    return colour ? `${colour}${whole}\x1b[0m\n` : `${whole}\n`;
  }

  #field(name: FieldName, { atMs, level, process, pid, logger, task, text }: LineParts): string | number {
    switch (name) {
      case "asctime":
        return this.#asctime(atMs);
      case "levelname":
        return level;
      case "processName":
        return process;
      case "message":
        return text;
      case "task_name":
        return task ? shownLine(task.name) : "???";
      case "task_id":
        return task ? shownLine(task.id) : "???";
      case "name":
        return logger;
      case "process":
        return pid;
      case "levelno":
        return LEVELS[level];
      case "created":
        return atMs / 1000;
      case "msecs":
        return Math.floor(atMs % 1000);
      case "relativeCreated":
        return atMs - this.#startedMs;
      case "threadName":
        return "MainThread";
      case "thread":
        return 0;
      case "taskName":
        return "None";
      case "lineno":
        return task?.caller?.line ?? 0;
      case "funcName":
        return task?.caller ? shownLine(task.caller.name) : "(unknown function)";
      case "pathname":
        return task?.caller ? shownLine(task.caller.path) : UNKNOWN_FILE;
      case "filename":
      case "module":
        return task?.caller ? fileNameOf(task.caller.path, name === "module") : UNKNOWN_FILE;
    }
  }

  /**
   * Escapes control characters in a message, and indents lines in it that look like the head of another
   * record.
   */
  #safe(message: string): string {
    const text = shown(message);
    return text.includes("\n") ? text.replace(this.#headLike, "\n $1") : text;
  }

  /**
   * Returns the text before a message, made once per millisecond for each process. It is joined into a flat
   * string: V8 keeps a concatenation as a tree, and would walk all its nodes when the buffer is written.
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

  /**
   * Returns local time as Python's logging prints it. The part down to the second is made once per second.
   */
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

/** Returns the last part of a path; for a module without its extension. */
function fileNameOf(path: string, isModule: boolean): string {
  const name = shownLine(path.slice(path.lastIndexOf("/") + 1));
  return isModule ? name.replace(/(?<=.)\.[^.]*$/, "") : name;
}

/** The parts of a line. */
interface LineParts {
  readonly atMs: number;
  readonly level: Level;
  readonly process: string;
  readonly pid: number;
  readonly logger: string;
  readonly task: LogTask | null;
  readonly text: string;
}

/** Returns the identity of a regular file; null for anything else. */
function identityOf({ isFile, dev, ino }: Deno.FileInfo): string | null {
  return isFile ? `${dev}:${ino}` : null;
}

/** Writes a line to standard error too. Never throws, since its reader may be gone. */
function mirror(line: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(line));
  } catch {
    // The line is in the file.
  }
}

/**
 * Patterns of fields in the head of a line. Without one of these fields, a format's head cannot be told from
 * a line of a message.
 */
const FIELDS: Readonly<Record<string, string>> = {
  asctime: "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d(?:[,.]\\d+)?",
  levelname: `(?:${Object.keys(LEVELS).join("|")})`,
  processName: "(?:MainProcess|\\w+-\\d+)",
  process: "\\d+",
};

/**
 * Returns a pattern for a line end followed by text that looks like the head of a record in one of the
 * formats.
 */
function headLike(formats: readonly string[]): RegExp {
  // Celery's lines begin with a bracket and a date, which programs look for.
  const heads = new Set(["\\[\\d{4}-\\d\\d-\\d\\d[ T]"]);
  for (const format of formats) {
    const [head = ""] = format.split(/%\((?:message|task_name|task_id)\)/);
    const parts = head.split(/%\((\w+)\)[-+ #0-9.]*[a-z]/i);
    if (!parts.some((part, index) => index % 2 === 1 && Object.hasOwn(FIELDS, part))) continue;
    heads.add(
      parts.map((part, index) =>
        index % 2 === 1 ? FIELDS[part] ?? "\\S{1,80}?" : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
      ).join(" *"),
    );
  }
  return new RegExp(`\\n((?:${[...heads].join("|")}))`, "g");
}
