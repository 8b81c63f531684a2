/** A task as the console holds it in memory, and as a row of the history. */

import type { SQLInputValue } from "node:sqlite";
import { textOrNull } from "../../base/mod.ts";
import { TaskState } from "../../event/mod.ts";
import type { Row } from "../../sqlite/mod.ts";
import { fromJson, toJson } from "../../wire/mod.ts";
import { COUNTED, isCounted } from "./figures.ts";
import { packId, unpackId } from "./ids.ts";
import type { Words } from "./words.ts";

/** Characters kept of each of arguments, result and exception. */
const TEXT_MAX = 4096;
/** Characters kept of a traceback: its end, which has the error. */
const TRACEBACK_MAX = 16_384;
/** Events kept of one task; beyond this, events in the middle are dropped. */
const TIMELINE_MAX = 60;

const NOBODY = { tasks: new Map<string, TaskState>() };
/** An event of a task: its kind, time and sender. */
export type TimelineEntry = readonly [subject: string, at: number, sender: string];

/** A task with the data that the history keeps. */
export class TaskRecord {
  readonly state: TaskState;
  /** Its row number; 0 until first written. */
  seq = 0;
  worker: string | null = null;
  waited: number | null = null;
  /** Events in the order received; null: each kind came at most once, and the times in `state` say when. */
  timeline: TimelineEntry[] | null = null;
  /** True if it changed since it was last written. */
  isDirty = false;
  /** True if arguments, result or exception changed since they were indexed. */
  isTextDirty = false;

  constructor(id: string) {
    this.state = new TaskState(id, NOBODY);
  }

  get id(): string {
    return this.state.uuid;
  }

  /** When it succeeded, failed, was revoked or rejected; null: it has not ended. */
  get ended(): number | null {
    const { succeeded, failed, revoked, rejected } = this.state;
    return succeeded ?? failed ?? revoked ?? rejected;
  }

  /** Adds an event to the timeline; called before `state` takes the event in. */
  note(subject: string, at: number, sender: string): void {
    const isPlain = isCounted(subject) && this.state[subject] === null;
    if (isPlain && this.timeline === null) return;
    // From now on all events are listed, those before too.
    const timeline = this.timeline ??= this.entries();
    timeline.push([subject, at, sender]);
    if (timeline.length > TIMELINE_MAX) timeline.splice(TIMELINE_MAX / 2, 1);
  }

  /** Returns its events, oldest first. */
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

/** The columns of a task after `seq`, in the order of `rowValues`. */
export const COLUMNS = [
  ...["id", "name", "state", "worker", "queue", "class", "client", "exchange", "routing_key"],
  ...COUNTED,
  ...["timestamp", "clock", "runtime", "waited", "retries", "eta", "expires"],
  ...["args", "kwargs", "result", "exception", "root", "parent"],
] as const;

/** Returns the values of a task's row, without `seq`. Cost: per task written. */
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

/** Returns the text of a task for the full-text index. */
export function indexedText({ state }: TaskRecord): string {
  return [state.args, state.kwargs, state.result, state.exception].map(cut).filter((one) => one !== null)
    .join("\n");
}

/** Returns the values of a task's row of details, without `seq`; null if it needs none. */
export function detailValues({ state, timeline }: TaskRecord): SQLInputValue[] | null {
  const extra = Object.keys(state.extra).length === 0 ? null : toJson(state.extra);
  if (state.traceback === null && extra === null && timeline === null) return null;
  return [
    state.traceback?.slice(-TRACEBACK_MAX) ?? null,
    extra,
    timeline === null ? null : toJson(timeline),
  ];
}

/** Makes the record of a row, with its details if they are given. */
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

/** Returns the class name in an exception's repr: `ValueError` for `ValueError('x')`. */
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
