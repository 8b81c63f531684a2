/**
 * The contents and keys of the live view: makes lines from the cluster's state, without a terminal.
 *
 * Source: celery 5.2.6 events/cursesmon.py CursesMonitor (keys, columns, words).
 */

import { stripVTControlCharacters, styleText } from "node:util";
import stringWidth from "string-width";
import { shownLine, snakeCase } from "../base/mod.ts";
import { type ClusterState, type TaskState, type WorkerState } from "../event/mod.ts";
import { shownJson } from "../wire/mod.ts";

/** An action that a key requests, other than a change of the screen. */
export type ScreenAction =
  | { readonly kind: "quit" }
  | { readonly kind: "revoke"; readonly id: string; readonly terminate: boolean }
  | { readonly kind: "rate-limit"; readonly name: string; readonly rate: string };

/** The current view. */
type View = "tasks" | "workers" | "text";
type Style = "bold" | "dim" | "green" | "red" | "yellow" | "magenta" | "cyan" | "inverse" | "underline";

const HELP = "j:down k:up i:info t:traceback r:result c:revoke C:terminate l:rate limit w:workers q:quit";
const STATE_STYLES: Readonly<Record<string, Style>> = {
  SUCCESS: "green",
  STARTED: "yellow",
  REVOKED: "magenta",
  FAILURE: "red",
  RETRY: "red",
  REJECTED: "magenta",
};
const STATE_WIDTH = 9;
const TIME_WIDTH = 8;
const UUID_WIDTH = 36;

/** The screen. */
export class EventsScreen {
  /** The broker's URL, masked, once it is connected. */
  broker = "";
  /** A line about an error; null if there is none. */
  notice: string | null = null;
  readonly #state: ClusterState;
  readonly #nowMs: () => number;
  readonly #isColored: boolean;
  #view: View = "tasks";
  #back: View = "tasks";
  #selected: { tasks: string | null; workers: string | null } = { tasks: null, workers: null };
  #first = 0;
  #page = 10;
  #prompt: { readonly name: string; text: string } | null = null;
  #text: { readonly title: string; readonly lines: readonly string[] } = { title: "", lines: [] };
  #textFirst = 0;

  constructor(state: ClusterState, options: { nowMs: () => number; isColored: boolean }) {
    this.#state = state;
    this.#nowMs = options.nowMs;
    this.#isColored = options.isColored;
  }

  /** The task that keys act on, or null. */
  get selectedTask(): TaskState | null {
    const id = this.#selected.tasks;
    return id === null ? null : this.#state.tasks.get(id) ?? null;
  }

  /** Handles a key. Returns an action for the caller, or null. */
  onKey(key: string): ScreenAction | null {
    if (key === "quit") return { kind: "quit" };
    if (this.#prompt) return this.#onPromptKey(key, this.#prompt);
    if (this.#view === "text") return this.#onTextKey(key);
    switch (key) {
      case "q":
      case "Q":
        return { kind: "quit" };
      case "j":
      case "down":
        return this.#move(1);
      case "k":
      case "up":
        return this.#move(-1);
      case "pagedown":
      case " ":
        return this.#move(this.#page);
      case "pageup":
        return this.#move(-this.#page);
      case "g":
      case "home":
        return this.#move(-Infinity);
      case "G":
      case "end":
        return this.#move(Infinity);
      case "w":
      case "W":
        this.#view = this.#view === "tasks" ? "workers" : "tasks";
        this.#first = 0;
        return null;
      case "i":
      case "I":
      case "enter":
        return this.#view === "workers" ? this.#showWorker() : this.#showTask();
      case "t":
      case "T":
        return this.#showTraceback();
      case "r":
      case "R":
        return this.#showResult();
      case "c":
      case "C": {
        const task = this.#view === "tasks" ? this.selectedTask : null;
        return task && { kind: "revoke", id: task.uuid, terminate: key === "C" };
      }
      case "l":
      case "L": {
        const name = this.#view === "tasks" ? this.selectedTask?.name : null;
        if (name) this.#prompt = { name, text: "" };
      }
    }
    return null;
  }

  /** Shows the replies of workers to a command. */
  showReplies(replies: Readonly<Record<string, unknown>>): void {
    const lines = Object.entries(replies).map(([node, reply]) => {
      const { ok, error } = (reply ?? {}) as { ok?: unknown; error?: unknown };
      const text = error !== undefined
        ? this.#paint("red", plain(error))
        : this.#paint("green", plain(ok ?? reply));
      return `${this.#paint("bold", `${shownLine(node, 200)}:`)} ${text}`;
    });
    this.#showText(
      "Remote Control Command Replies",
      lines.length > 0 ? lines : ["No replies received in 1s deadline."],
    );
  }

  /** Returns the screen as at most `rows` lines of at most `columns` columns. */
  render(columns: number, rows: number): string[] {
    const body = Math.max(3, rows - 7);
    this.#page = Math.max(1, body - 1);
    const lines = [this.#header(columns), ""];
    if (this.#view === "text") lines.push(...this.#textLines(columns, body));
    else if (this.#view === "workers") lines.push(...this.#workerLines(columns, body));
    else lines.push(...this.#taskLines(columns, body));
    while (lines.length < body + 2) lines.push("");
    lines.push(this.#paint("dim", "─".repeat(columns)));
    lines.push(this.#selectedLine(columns), this.#workersLine(columns), this.#countsLine(columns));
    lines.push(this.#footer(columns));
    // On a terminal that is too narrow, a line is cut and loses its colours.
    return lines.slice(0, Math.max(1, rows)).map((line) =>
      stringWidth(line) <= columns ? line : cut(stripVTControlCharacters(line), columns)
    );
  }

  #header(columns: number): string {
    const time = new Date(this.#nowMs()).toTimeString().slice(0, 8);
    const left = `lovage events  ${this.broker}`;
    const gap = Math.max(1, columns - stringWidth(left) - time.length);
    return this.#paint("cyan", cut(left + " ".repeat(gap) + time, columns));
  }

  #taskLines(columns: number, height: number): string[] {
    const tasks = this.#state.tasksByTime();
    const widths = taskWidths(columns);
    const head = this.#taskRow(widths, ["UUID", "TASK", "WORKER", "TIME", "STATE"]);
    const index = tasks.findIndex((task) => task.uuid === this.#selected.tasks);
    const rows = this.#window(tasks, index, height - 1).map((task) => {
      const time = task.timestamp ?? task.lastTimestamp;
      const cells = [
        task.uuid,
        task.name ?? "",
        task.worker?.hostname ?? "*NONE*",
        utcTime(time),
        task.state,
      ];
      if (task.uuid === this.#selected.tasks) return this.#paint("inverse", this.#taskRow(widths, cells));
      const style = STATE_STYLES[task.state];
      const last = cells.pop()!;
      const row = this.#taskRow(widths, [...cells, ""]).slice(0, -STATE_WIDTH);
      return row + (style ? this.#paint(style, pad(last, STATE_WIDTH)) : pad(last, STATE_WIDTH));
    });
    return [this.#paint("bold", head), ...rows];
  }

  #taskRow([uuid, worker, name]: readonly [number, number, number], cells: readonly string[]): string {
    const [id = "", task = "", node = "", time = "", state = ""] = cells;
    return `${pad(id, uuid)} ${pad(node, worker)} ${padFromEnd(task, name)} ${pad(time, TIME_WIDTH)} ${
      pad(state, STATE_WIDTH)
    }`;
  }

  #workerLines(columns: number, height: number): string[] {
    const workers = [...this.#state.workers.values()].sort((a, b) => a.hostname < b.hostname ? -1 : 1);
    const width = Math.max(10, columns - 60);
    const row = (cells: readonly string[]): string => {
      const [name = "", status = "", active = "", processed = "", load = "", beat = "", software = ""] =
        cells;
      return cut(
        `${pad(name, width)} ${pad(status, 7)} ${pad(active, 6)} ${pad(processed, 9)} ${pad(load, 14)} ${
          pad(beat, 6)
        } ${pad(software, 12)}`,
        columns,
      );
    };
    const index = workers.findIndex((worker) => worker.hostname === this.#selected.workers);
    const rows = this.#window(workers, index, height - 1).map((worker) => {
      const line = row([
        worker.hostname,
        worker.statusString,
        count(worker.active),
        count(worker.processed),
        (worker.loadavg ?? []).join(" "),
        this.#ago(worker),
        worker.swIdent ?? "",
      ]);
      if (worker.hostname === this.#selected.workers) return this.#paint("inverse", line);
      return worker.alive ? line : this.#paint("dim", line);
    });
    const head = row(["WORKER", "STATUS", "ACTIVE", "PROCESSED", "LOAD", "BEAT", "SOFTWARE"]);
    return [this.#paint("bold", head), ...rows];
  }

  #textLines(columns: number, height: number): string[] {
    const { title, lines } = this.#text;
    const wrapped = lines.flatMap((one) => wrap(one, columns - 4));
    this.#textFirst = Math.max(0, Math.min(this.#textFirst, wrapped.length - (height - 2)));
    const part = wrapped.slice(this.#textFirst, this.#textFirst + height - 2).map((one) => `  ${one}`);
    return [this.#paint("bold", cut(title, columns)), "", ...part];
  }

  /** Returns the part of a list that fits the screen and includes the selected item. */
  #window<T>(items: readonly T[], selected: number, height: number): readonly T[] {
    if (selected >= 0 && selected < this.#first) this.#first = selected;
    if (selected >= this.#first + height) this.#first = selected - height + 1;
    this.#first = Math.max(0, Math.min(this.#first, items.length - height));
    return items.slice(this.#first, this.#first + height);
  }

  #selectedLine(columns: number): string {
    const task = this.#view === "workers" ? null : this.selectedTask;
    if (!task) return cut("No task selected", columns);
    const info = task.info();
    if (typeof info["runtime"] === "number") info["runtime"] = info["runtime"].toFixed(2);
    const text = Object.entries(info).map(([key, value]) => `${snakeCase(key)}=${plain(value)}`)
      .join(" ");
    return this.#paint("bold", "Selected: ") + cut(text || "Missing extended info", columns - 10);
  }

  #workersLine(columns: number): string {
    const names = this.#state.aliveWorkers().map((worker) => shownLine(worker.hostname, 200)).sort();
    if (names.length === 0) return "No workers discovered.";
    return this.#paint("bold", "Workers online: ") + cut(names.join(", "), columns - 16);
  }

  #countsLine(columns: number): string {
    const { eventCount, taskCount, workers } = this.#state;
    const alive = this.#state.aliveWorkers().length;
    const text = `events: ${eventCount} tasks:${taskCount} workers:${alive}/${workers.size}`;
    return this.#paint("bold", "Info: ") + this.#paint("dim", cut(text, columns - 6));
  }

  #footer(columns: number): string {
    if (this.#prompt) {
      const text = `New rate limit for ${
        shownLine(this.#prompt.name, 200)
      } (10/m, 0: none): ${this.#prompt.text}_`;
      return this.#paint("bold", cut(text, columns));
    }
    if (this.notice !== null) return this.#paint("red", cut(shownLine(this.notice, 1000), columns));
    if (this.#view === "text") return this.#paint("dim", cut("Any key continues; j and k scroll", columns));
    return this.#paint("bold", "Keys: ") + this.#paint("dim", cut(HELP, columns - 6));
  }

  #move(by: number): null {
    const isTasks = this.#view === "tasks";
    const ids = isTasks
      ? this.#state.tasksByTime().map((task) => task.uuid)
      : [...this.#state.workers.keys()].sort();
    const selected = isTasks ? this.#selected.tasks : this.#selected.workers;
    const at = selected === null ? -1 : ids.indexOf(selected);
    const to = at < 0 && Number.isFinite(by) ? 0 : Math.max(0, Math.min(ids.length - 1, at + by));
    const id = ids[to] ?? null;
    if (isTasks) this.#selected.tasks = id;
    else this.#selected.workers = id;
    return null;
  }

  #onTextKey(key: string): null {
    if (key === "j" || key === "down") this.#textFirst++;
    else if (key === "k" || key === "up") this.#textFirst--;
    else if (key === "pagedown" || key === " ") this.#textFirst += this.#page;
    else if (key === "pageup") this.#textFirst -= this.#page;
    else this.#view = this.#back;
    return null;
  }

  #onPromptKey(key: string, prompt: { readonly name: string; text: string }): ScreenAction | null {
    if (key === "escape") this.#prompt = null;
    else if (key === "backspace") prompt.text = prompt.text.slice(0, -1);
    else if (key === "enter") {
      this.#prompt = null;
      const rate = prompt.text.trim();
      if (rate !== "") return { kind: "rate-limit", name: prompt.name, rate };
    } else if (key.length === 1 && prompt.text.length < 40) prompt.text += key;
    return null;
  }

  #showTask(): null {
    const task = this.selectedTask;
    if (!task) return null;
    const fields: [string, unknown][] = [
      ["name", task.name],
      ["state", task.state],
      ["worker", task.worker?.hostname ?? null],
      ["client", task.client],
      ["queue", task.queue],
      ...Object.entries(task.info()),
      ...Object.entries(task.extra),
    ];
    for (
      const when of ["sent", "received", "started", "succeeded", "failed", "retried", "revoked"] as const
    ) {
      const at = task[when];
      if (at !== null) fields.push([when, `${utcTime(at)} UTC`]);
    }
    if (task.children.size > 0) fields.push(["children", [...task.children].join(", ")]);
    const lines = fields.filter(([, value]) => value !== null).map(([key, value]) =>
      `${this.#paint("bold", `${shownLine(snakeCase(key), 200)}:`)} ${plain(value)}`
    );
    return this.#showText(`Task details for ${task.uuid}`, lines);
  }

  #showTraceback(): null {
    const task = this.#view === "tasks" ? this.selectedTask : null;
    if (!task?.isException) return null;
    const lines = (task.traceback ?? task.exception ?? "").trimEnd().split("\n").map((one) =>
      shownLine(one, 2000)
    );
    return this.#showText(`Task Exception Traceback for ${task.uuid}`, lines);
  }

  #showResult(): null {
    const task = this.#view === "tasks" ? this.selectedTask : null;
    if (!task) return null;
    return this.#showText(`Task Result for ${task.uuid}`, [plain(task.result ?? task.exception ?? "")]);
  }

  #showWorker(): null {
    const name = this.#selected.workers;
    const worker = name === null ? undefined : this.#state.workers.get(name);
    if (!worker) return null;
    const fields: [string, unknown][] = [
      ["status", worker.statusString],
      ["pid", worker.pid],
      ["active", worker.active],
      ["processed", worker.processed],
      ["load", worker.loadavg?.join(" ") ?? null],
      ["heartbeat every", `${worker.freq} s`],
      ["last heartbeat", this.#ago(worker)],
      ["clock", worker.clock],
      ["software", [worker.swIdent, worker.swVer, worker.swSys].filter(Boolean).join(" ")],
    ];
    const lines = fields.filter(([, value]) => value !== null).map(([key, value]) =>
      `${this.#paint("bold", `${key}:`)} ${plain(value)}`
    );
    return this.#showText(`Worker ${worker.hostname}`, lines);
  }

  #showText(title: string, lines: readonly string[]): null {
    if (this.#view !== "text") this.#back = this.#view;
    this.#view = "text";
    this.#textFirst = 0;
    this.#text = { title: shownLine(title, 200), lines };
    return null;
  }

  #ago(worker: WorkerState): string {
    const last = worker.heartbeats.at(-1);
    return last === undefined ? "-" : `${Math.max(0, this.#nowMs() / 1000 - last).toFixed(0)}s`;
  }

  #paint(style: Style, text: string): string {
    return this.#isColored ? styleText(style, text, { validateStream: false }) : text;
  }
}

/** Returns the widths of the columns uuid, worker and task. */
function taskWidths(columns: number): readonly [number, number, number] {
  const rest = columns - TIME_WIDTH - STATE_WIDTH - 4;
  const uuid = Math.max(8, Math.min(UUID_WIDTH, rest - 32));
  const worker = Math.max(5, Math.floor((rest - uuid) / 2));
  return [uuid, worker, Math.max(5, rest - uuid - worker)];
}

function count(value: number | null): string {
  return value === null ? "-" : String(value);
}

function plain(value: unknown): string {
  return shownLine(typeof value === "string" ? value : value === undefined ? "" : shownJson(value), 10_000);
}

function utcTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "--:--:--" : date.toISOString().slice(11, 19);
}

/** Cuts a text to `width` columns; wide characters count as two. */
function cut(text: string, width: number): string {
  if (width <= 0) return "";
  if (stringWidth(text) <= width) return text;
  let used = 0;
  let result = "";
  for (const letter of text) {
    const size = stringWidth(letter);
    if (used + size > width - 1) break;
    used += size;
    result += letter;
  }
  return `${result}…`;
}

function pad(text: string, width: number): string {
  const short = cut(shownLine(text, 500), width);
  return short + " ".repeat(Math.max(0, width - stringWidth(short)));
}

/** As `pad`, but cuts the beginning, since the end of a task's name says more. */
function padFromEnd(text: string, width: number): string {
  const name = shownLine(text, 500);
  if (stringWidth(name) <= width) return pad(name, width);
  const letters = [...name];
  let used = 1;
  let from = letters.length;
  while (from > 0 && used + stringWidth(letters[from - 1]!) <= width) used += stringWidth(letters[--from]!);
  return pad(`…${letters.slice(from).join("")}`, width);
}

/** Wraps a text to lines of at most `width` columns. */
function wrap(text: string, width: number): string[] {
  if (stringWidth(text) <= width) return [text];
  const lines: string[] = [];
  let line = "";
  let used = 0;
  // The escape sequence of a style has no width and must not be split.
  // deno-lint-ignore no-control-regex -- the escape that begins a style
  for (const [part] of text.matchAll(/\u001b\[[0-9;]*m|[\s\S]/gu)) {
    const size = stringWidth(part);
    if (used + size > width) {
      lines.push(line);
      line = "";
      used = 0;
    }
    line += part;
    used += size;
  }
  return [...lines, line];
}
