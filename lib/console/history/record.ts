/** A task as the console knows it, and as a row of the history. */

import type { SQLInputValue } from "node:sqlite";
import { textOrNull } from "../../base/mod.ts";
import { TaskState } from "../../event/mod.ts";
import type { Row } from "../../sqlite/mod.ts";
import { fromJson, toJson } from "../../wire/mod.ts";
import { COUNTED, isCounted } from "./figures.ts";
import { packId, unpackId } from "./ids.ts";
import type { Words } from "./words.ts";

/** Characters kept of arguments, result and exception, each. */
const TEXT_MAX = 4096;
/** Characters kept of a traceback: its end, where the error stands. */
const TRACEBACK_MAX = 16_384;
/** Events kept of one task; past it those in the middle go. */
const TIMELINE_MAX = 60;

const NOBODY = { tasks: new Map<string, TaskState>() };
/** An event of a task: what, when, and who told. */
export type TimelineEntry = readonly [subject: string, at: number, sender: string];

/** A task and what the history needs of it. */
export class TaskRecord {
  readonly state: TaskState;
  /** Its number; 0 until it was written for the first time. */
  seq = 0;
  worker: string | null = null;
  waited: number | null = null;
  /** Oldest first; null: as the moments say, each once. */
  timeline: TimelineEntry[] | null = null;
  /** Not yet written as it is. */
  isDirty = false;
  /** Arguments, result or exception changed since they were indexed. */
  isTextDirty = false;

  constructor(id: string) {
    this.state = new TaskState(id, NOBODY);
  }

  get id(): string {
    return this.state.uuid;
  }

  /** When it ended, for whatever reason. */
  get ended(): number | null {
    const { succeeded, failed, revoked, rejected } = this.state;
    return succeeded ?? failed ?? revoked ?? rejected;
  }

  /** Takes note of an event in the timeline, before the task takes it in. */
  note(subject: string, at: number, sender: string): void {
    const isPlain = isCounted(subject) && this.state[subject] === null;
    if (isPlain && this.timeline === null) return;
    // What was said before by the moments alone is written out.
    const timeline = this.timeline ??= this.entries();
    timeline.push([subject, at, sender]);
    if (timeline.length > TIMELINE_MAX) timeline.splice(TIMELINE_MAX / 2, 1);
  }

  /** Its events, oldest first. */
  entries(): TimelineEntry[] {
    if (this.timeline !== null) return [...this.timeline].sort((a, b) => a[1] - b[1]);
    const { state } = this;
    return COUNTED.filter((moment) => state[moment] !== null)
      .map((moment): TimelineEntry => [
        moment,
        state[moment]!,
        (moment === "sent" ? state.client : this.worker) ?? "",
      ]).sort((a, b) => a[1] - b[1]);
  }
}

/** The columns of a task behind `seq`, in the order of `rowValues`. */
export const COLUMNS = [
  ...["id", "name", "state", "worker", "queue", "class", "client", "exchange", "routing_key"],
  ...COUNTED,
  ...["timestamp", "clock", "runtime", "waited", "retries", "eta", "expires"],
  ...["args", "kwargs", "result", "exception", "root", "parent"],
] as const;

/** The values of a task's row. Cost: per task written. */
export function rowValues(record: TaskRecord, words: Words): SQLInputValue[] {
  const { state } = record;
  const { rootId, parentId } = state;
  return [
    packId(state.uuid),
    words.number(state.name),
    words.number(state.state),
    words.number(record.worker),
    words.number(state.queue),
    words.number(exceptionClass(state.exception)),
    words.number(state.client),
    words.number(state.exchange),
    words.number(state.routingKey),
    state.sent,
    state.received,
    state.started,
    state.succeeded,
    state.failed,
    state.retried,
    state.revoked,
    state.rejected,
    state.timestamp,
    state.clock,
    state.runtime,
    record.waited,
    state.retries,
    state.eta,
    state.expires,
    cut(state.args),
    cut(state.kwargs),
    cut(state.result),
    cut(state.exception),
    // Most tasks are their own root.
    rootId === null || rootId === state.uuid ? null : packId(rootId),
    parentId === null ? null : packId(parentId),
  ];
}

/** What the index of texts has of a task. */
export function indexedText({ state }: TaskRecord): string {
  return [state.args, state.kwargs, state.result, state.exception].map(cut).filter((one) => one !== null)
    .join("\n");
}

/** The values of the row of details behind `seq`; null if it needs none. */
export function detailValues({ state, timeline }: TaskRecord): SQLInputValue[] | null {
  const extra = Object.keys(state.extra).length === 0 ? null : toJson(state.extra);
  if (state.traceback === null && extra === null && timeline === null) return null;
  return [
    state.traceback?.slice(-TRACEBACK_MAX) ?? null,
    extra,
    timeline === null ? null : toJson(timeline),
  ];
}

/** The task of a row, with the details where they were read too. */
export function recordOf(row: Row, words: Words, detail?: Row): TaskRecord {
  const id = unpackId(row["id"])!;
  const record = new TaskRecord(id);
  const { state } = record;
  record.seq = Number(row["seq"]);
  record.worker = words.text(row["worker"]);
  record.waited = number(row["waited"]);
  state.name = words.text(row["name"]);
  state.state = words.text(row["state"]) ?? "PENDING";
  state.queue = words.text(row["queue"]);
  state.client = words.text(row["client"]);
  state.exchange = words.text(row["exchange"]);
  state.routingKey = words.text(row["routing_key"]);
  for (const moment of COUNTED) state[moment] = number(row[moment]);
  state.timestamp = number(row["timestamp"]);
  state.lastTimestamp = state.timestamp ?? 0;
  state.clock = state.lastClock = number(row["clock"]) ?? 0;
  state.runtime = number(row["runtime"]);
  state.retries = number(row["retries"]);
  state.eta = textOrNull(row["eta"]);
  state.expires = textOrNull(row["expires"]);
  state.args = textOrNull(row["args"]);
  state.kwargs = textOrNull(row["kwargs"]);
  state.result = textOrNull(row["result"]);
  state.exception = textOrNull(row["exception"]);
  state.parentId = unpackId(row["parent"]);
  state.rootId = unpackId(row["root"]) ?? id;
  if (detail !== undefined) {
    state.traceback = textOrNull(detail["traceback"]);
    state.extra = detail["extra"] === null ? {} : fromJson(String(detail["extra"])) as TaskState["extra"];
    record.timeline = detail["timeline"] === null
      ? null
      : fromJson(String(detail["timeline"])) as TimelineEntry[];
  }
  return record;
}

/** The class of an exception that is told as Python's text: `ValueError('x')` is a ValueError. */
export function exceptionClass(exception: string | null): string | null {
  if (exception === null) return null;
  return /^[\p{L}\p{N}_.]+/u.exec(exception)?.[0] ?? "UnknownException";
}

function cut(value: string | null): string | null {
  return value !== null && value.length > TEXT_MAX ? `${value.slice(0, TEXT_MAX)}…` : value;
}

function number(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
