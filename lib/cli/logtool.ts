/**
 * `lovage logtool stats|traces|errors|incomplete|debug FILES…`: analyses worker logs, Celery's or Lovage's.
 *
 * Source: celery 5.2.6 bin/logtool.py (commands, report). Celery's own parser knows only the lines of workers
 * before 4.0; this one knows both.
 */

import { errorText, nearest, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { DecodeError, fromPlainJson } from "../wire/mod.ts";
import { command, JSON_OPTION } from "./command.ts";
import { jsonLine } from "./output.ts";

const ACTIONS = ["stats", "traces", "errors", "incomplete", "debug"] as const;
type Action = typeof ACTIONS[number];

/** The command. */
export const logtool = command({
  arguments: [
    { name: "action", help: ACTIONS.join(", "), isRequired: true },
    { name: "files", help: "worker logs; by default standard input", isRest: true },
  ],
  options: JSON_OPTION,

  validate([action]) {
    if (ACTIONS.includes(action as Action)) return;
    const near = nearest(action!, ACTIONS);
    throw new UsageError(
      `No such logtool command "${action}"${near ? `: did you mean "${near}"?` : `: ${ACTIONS.join(", ")}`}`,
    );
  },

  async run({ world, args: [action, ...files] }, { json }): Promise<number> {
    const { out } = world.terminal;
    const lines: string[] = [];
    const print = json ? (text: string) => void lines.push(text) : (text: string) => out(`${text}\n`);
    const audit = new LogAudit({
      ...(action === "traces" ? { onTrace: print } : {}),
      ...(action === "errors" ? { onError: print } : {}),
      ...(action === "debug" ? { onOther: print } : {}),
    });
    for (const file of files.length > 0 ? files : ["-"]) {
      for await (const line of linesOf(file)) audit.feed(line);
      audit.endOfFile();
    }
    if (action === "incomplete") {
      for (const id of audit.incomplete()) print(json ? id : `Did not complete: ${id}`);
    }
    if (action === "stats") out(json ? jsonLine(audit.report()) : reportText(audit.report()));
    else if (json) out(jsonLine(lines));
    return EXIT.OK;
  },
});

/** The counts of some logs. */
export interface LogReport {
  readonly total: number;
  readonly errors: number;
  readonly succeeded: number;
  readonly completed: number;
  /** Received tasks by name, the most frequent first. */
  readonly types: Readonly<Record<string, number>>;
}

const LINE_START = /^\[\d{4}-\d\d-\d\d /;
const RECEIVED = /\] (?:Task (?=\S+ received\s*$)|Received task: )([^\s[]+)\[([^\]]+)\]/;
const ENDED = /\] Task ([^\s[]+)\[([^\]]+)\]:? (succeeded in|raised|ignored|reject|INTERNAL ERROR)/;
const REVOKED = /\] Discarding revoked task: ([^\s[]+)\[([^\]]+)\]/;
const RETRIED = /\] Task [^\s[]+\[[^\]]+\]:? retry:/;

/** Parses log lines one by one. */
export class LogAudit {
  readonly #hears: {
    onTrace?: (text: string) => void;
    onError?: (line: string) => void;
    onOther?: (line: string) => void;
  };
  readonly #received = new Set<string>();
  readonly #ended = new Set<string>();
  readonly #types = new Map<string, number>();
  #errors = 0;
  #succeeded = 0;
  #before: string | null = null;
  #trace: string[] = [];

  /**
   * `onTrace` gets a line with the traceback below it, `onError` the lines of failed tasks, `onOther` lines
   * that are not about tasks.
   */
  constructor(
    hears: {
      onTrace?: (text: string) => void;
      onError?: (line: string) => void;
      onOther?: (line: string) => void;
    } = {},
  ) {
    this.#hears = hears;
  }

  /** Takes the next line without its newline, in the default format or in Lovage's JSON format. */
  feed(line: string): void {
    for (const part of plainLines(line)) this.#feed(part);
  }

  #feed(line: string): void {
    if (!LINE_START.test(line)) {
      // Text before the first log line, such as the banner, is not part of a traceback.
      if (this.#trace.length === 0 && this.#before === null) return;
      if (this.#before !== null) this.#trace.push(this.#before);
      this.#trace.push(line);
      this.#before = null;
      return;
    }
    this.endOfFile();
    this.#before = line;
    const received = RECEIVED.exec(line);
    if (received) return this.#onReceived(received[1]!, received[2]!);
    const ended = ENDED.exec(line);
    if (ended) return this.#onEnded(line, ended[2]!, ended[3]!);
    const revoked = REVOKED.exec(line);
    if (revoked) return void this.#ended.add(revoked[2]!);
    if (!RETRIED.test(line)) this.#hears.onOther?.(line);
  }

  /** Ends the current file, and its last traceback. */
  endOfFile(): void {
    if (this.#trace.length > 0) this.#hears.onTrace?.(this.#trace.join("\n"));
    this.#trace = [];
    this.#before = null;
  }

  /** Returns the ids of tasks that were received and did not end. */
  incomplete(): string[] {
    return [...this.#received].filter((id) => !this.#ended.has(id));
  }

  /** Returns the counts. */
  report(): LogReport {
    return {
      total: this.#received.size,
      errors: this.#errors,
      succeeded: this.#succeeded,
      completed: this.#ended.size,
      types: Object.fromEntries([...this.#types].sort((a, b) => b[1] - a[1])),
    };
  }

  #onReceived(name: string, id: string): void {
    // A retried task is received again with the same id.
    this.#ended.delete(id);
    if (this.#received.has(id)) return;
    this.#received.add(id);
    this.#types.set(name, (this.#types.get(name) ?? 0) + 1);
  }

  #onEnded(line: string, id: string, how: string): void {
    this.#ended.add(id);
    if (how === "succeeded in") this.#succeeded++;
    else if (how !== "ignored") {
      this.#errors++;
      this.#hears.onError?.(line);
    }
  }
}

/** Formats the report as Celery prints it. */
function reportText({ total, errors, succeeded, completed, types }: LogReport): string {
  const names = Object.entries(types).map(([name, count]) => `${name}: ${count}`);
  return `\nReport\n======\nTask total: ${total}\nTask errors: ${errors}\nTask success: ${succeeded}\n` +
    `Task completed: ${completed}\nTasks\n=====\n${names.join("\n")}\n\n`;
}

/**
 * Converts a line of Lovage's JSON format to lines of the default format; returns any other line unchanged.
 */
function plainLines(line: string): readonly string[] {
  if (!line.startsWith("{")) return [line];
  let record: Record<string, unknown>;
  try {
    record = fromPlainJson(line) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof DecodeError) return [line];
    throw error;
  }
  const { time, level, process, message, error } = record;
  if (typeof time !== "string" || typeof message !== "string") return [line];
  const traceback = (error as { traceback?: unknown } | null | undefined)?.traceback;
  const text = typeof traceback === "string" ? `${message}\n${traceback.trimEnd()}` : message;
  return `[${time.replace("T", " ")}: ${level}/${process}] ${text}`.split("\n");
}

/** Yields the lines of a file, or of standard input for "-". Throws UsageError. */
async function* linesOf(path: string): AsyncGenerator<string> {
  let stream: ReadableStream<Uint8Array>;
  try {
    stream = path === "-" ? Deno.stdin.readable : (await Deno.open(path)).readable;
  } catch (error) {
    throw new UsageError(`Cannot read "${path}": ${errorText(error)}`, { cause: error });
  }
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop()!;
      for (const part of parts) yield part.replace(/\r$/, "");
    }
  } catch (error) {
    // A folder can be opened, but not read.
    throw new UsageError(`Cannot read "${path}": ${errorText(error)}`, { cause: error });
  }
  if (rest !== "") yield rest;
}
