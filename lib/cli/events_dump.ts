/**
 * Events as lines of text. Source: celery 5.2.6 events/dumper.py Dumper (layout and words).
 */

import type { ReceivedEvent } from "../event/mod.ts";
import { forgetOldest, shown, shownLine } from "../base/mod.ts";
import { pythonText } from "../wire/mod.ts";

/** Tasks whose names are remembered for their later events. */
const TASKS_MAX = 4095;

const TYPES: Readonly<Record<string, string>> = {
  "worker-offline": "shutdown",
  "worker-online": "started",
  "worker-heartbeat": "heartbeat",
};

/** Fields that are floats in Python, whole or not. */
const FLOATS: ReadonlySet<string> = new Set(["freq", "runtime", "local_received"]);

/** Lines of the dump that are not events. */
export const SAY = {
  start: "-> evdump: starting capture...",
  lost: "-> Connection lost, attempting reconnect",
  attempt: (url: string, reason: string, seconds: number): string =>
    `-> Cannot connect to ${url}: ${reason.replace(/^Cannot connect to \S+: /, "")}.\nTrying again ${
      seconds > 0 ? `in ${seconds.toFixed(2)} second${seconds === 1 ? "" : "s"}` : "now"
    }\n`,
} as const;

/** Formats events as lines; remembers names of tasks by id, since later events lack them. */
export class EventDumper {
  readonly #tasks = new Map<string, string>();

  /** Formats an event, without a final newline. Only a traceback spans several lines. */
  line(event: ReceivedEvent): string {
    const { type, timestamp, hostname, ...rest } = event;
    const name = type.toLowerCase();
    let task: string | null = null;
    if (name.startsWith("task-")) {
      const { uuid, ...own } = rest;
      const id = String(uuid);
      if (name === "task-received" || name === "task-sent") {
        const { name: taskName, args, kwargs, ...others } = own;
        task = `${pythonText(taskName)}(${id}) args=${pythonText(args)} kwargs=${pythonText(kwargs)}`;
        this.#remember(id, task);
        return line(`${hostname} [${stamp(timestamp)}] ${humanType(name)}`, task, others);
      }
      return line(`${hostname} [${stamp(timestamp)}] ${humanType(name)}`, this.#tasks.get(id) ?? "", own);
    }
    return line(`${hostname} [${stamp(timestamp)}] ${humanType(name)}`, task, rest);
  }

  #remember(id: string, task: string): void {
    this.#tasks.delete(id);
    this.#tasks.set(id, task);
    forgetOldest(this.#tasks, TASKS_MAX);
  }
}

function line(head: string, task: string | null, fields: Readonly<Record<string, unknown>>): string {
  const shown = Object.keys(fields).sort().map((key) => `${shownLine(key)}=${text(key, fields[key])}`).join(
    ", ",
  );
  return `${shownLine(head)}${shown === "" ? "" : ":"} ${task === null ? "" : `${shownLine(task)} `}${shown}`;
}

function text(key: string, value: unknown): string {
  // A traceback keeps its lines; a line that looks like an event is indented.
  if (key === "traceback") return shown(pythonText(value)).replace(/\n(?=\S+ \[)/g, "\n ");
  if (FLOATS.has(key) && typeof value === "number" && Number.isInteger(value)) return `${value}.0`;
  return shownLine(pythonText(value));
}

function humanType(type: string): string {
  return Object.hasOwn(TYPES, type) ? TYPES[type]! : type.replaceAll("-", " ");
}

/** Formats a time as Python prints a UTC datetime: microseconds only if they are not 0. */
function stamp(seconds: number): string {
  let whole = Math.floor(seconds);
  const micros = (seconds - whole) * 1e6;
  let fraction = Math.round(micros);
  // Python rounds a half to the even number.
  if (fraction - micros === 0.5 && fraction % 2 === 1) fraction--;
  if (fraction === 1e6) {
    fraction = 0;
    whole++;
  }
  const date = new Date(whole * 1000);
  if (Number.isNaN(date.getTime())) return String(seconds);
  const head = date.toISOString().slice(0, 19).replace("T", " ");
  return fraction === 0 ? head : `${head}.${String(fraction).padStart(6, "0")}`;
}
