/**
 * A task as its events describe it, in whatever order they came.
 *
 * Source: celery 5.2.6 events/state.py Task, TASK_EVENT_TO_STATE; states.py PRECEDENCE.
 */

import { eventGroup, type ReceivedEvent } from "./event.ts";
import { finite, integer, longText, plainValue, shortText } from "./fields.ts";
import type { WorkerState } from "./worker_state.ts";

const STATES: Readonly<Record<string, string>> = {
  sent: "PENDING",
  received: "RECEIVED",
  started: "STARTED",
  failed: "FAILURE",
  retried: "RETRY",
  succeeded: "SUCCESS",
  revoked: "REVOKED",
  rejected: "REJECTED",
};

/** States in order of precedence, highest first; the empty name stands for states of custom events. */
const PRECEDENCE = [
  "SUCCESS",
  "FAILURE",
  "",
  "REVOKED",
  "STARTED",
  "RECEIVED",
  "REJECTED",
  "RETRY",
  "PENDING",
];
/** Final states. */
const READY: ReadonlySet<string> = new Set(["SUCCESS", "FAILURE", "REVOKED"]);
/** States with an exception to show. */
const EXCEPTION: ReadonlySet<string> = new Set(["RETRY", "FAILURE", "REVOKED"]);
/** Fields of a late task-received event that are still recorded; other fields of it are ignored. */
const LATE_RECEIVED: ReadonlySet<string> = new Set([
  "name",
  "args",
  "kwargs",
  "parent_id",
  "root_id",
  "retries",
  "eta",
  "expires",
]);
/** Custom fields kept for one task at most. */
const EXTRA_MAX = 50;

/** The fields that `info` shows, in this order. */
const INFO_FIELDS = [
  "args",
  "kwargs",
  "retries",
  "result",
  "eta",
  "runtime",
  "expires",
  "exception",
  "exchange",
  "routingKey",
  "rootId",
  "parentId",
] as const;

/** Finds other tasks by id: the state that the task belongs to. */
export interface TaskLookup {
  readonly tasks: ReadonlyMap<string, TaskState>;
}

/** A task. Times are epoch seconds; a field that no event has given is null. */
export class TaskState {
  readonly uuid: string;
  name: string | null = null;
  /** PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED, REJECTED, or a custom event's subject. */
  state = "PENDING";
  /** Times of the events. */
  sent: number | null = null;
  received: number | null = null;
  started: number | null = null;
  succeeded: number | null = null;
  failed: number | null = null;
  retried: number | null = null;
  revoked: number | null = null;
  rejected: number | null = null;
  /** The arguments as Python text. */
  args: string | null = null;
  kwargs: string | null = null;
  eta: string | null = null;
  expires: string | null = null;
  retries: number | null = null;
  /** The worker that runs or ran it. */
  worker: WorkerState | null = null;
  /** The node name of its sender. */
  client: string | null = null;
  result: string | null = null;
  exception: string | null = null;
  traceback: string | null = null;
  /** Seconds. */
  runtime: number | null = null;
  /** When it reached its state. */
  timestamp: number | null = null;
  clock = 0;
  queue: string | null = null;
  exchange: string | null = null;
  routingKey: string | null = null;
  rootId: string | null = null;
  parentId: string | null = null;
  /** Ids of known tasks that it sent. */
  readonly children: Set<string> = new Set();
  /** Fields of custom events, by wire name; at most 50. */
  extra: Record<string, string | number | boolean | null> = {};
  /** Clock and time of the last event, of any kind: the order of `tasksByTime`. */
  lastClock = 0;
  lastTimestamp = 0;
  readonly #cluster: TaskLookup;

  constructor(uuid: string, cluster: TaskLookup) {
    this.uuid = uuid;
    this.#cluster = cluster;
  }

  /** The same as `uuid`. */
  get id(): string {
    return this.uuid;
  }

  /** True if the task has ended. */
  get ready(): boolean {
    return READY.has(this.state);
  }

  /** True if it has an exception to show. */
  get isException(): boolean {
    return EXCEPTION.has(this.state);
  }

  /** The task that sent it, if that is known here. */
  get parent(): TaskState | null {
    return this.parentId === null ? null : this.#cluster.tasks.get(this.parentId) ?? null;
  }

  /** The first task of its tree, if that is known here. */
  get root(): TaskState | null {
    return this.rootId === null ? null : this.#cluster.tasks.get(this.rootId) ?? null;
  }

  /** The id of its worker, else its sender's name. */
  get origin(): string | null {
    return this.worker === null ? this.client : this.worker.id;
  }

  /** Approximate number of characters that it holds. */
  get chars(): number {
    let sum = 200;
    for (const text of [this.args, this.kwargs, this.result, this.exception, this.traceback]) {
      if (text !== null) sum += text.length;
    }
    for (const key in this.extra) sum += key.length + String(this.extra[key]).length;
    return sum;
  }

  /** Records a task event; `subject` is the type without "task-". */
  event(subject: string, event: ReceivedEvent): void {
    const known = Object.hasOwn(STATES, subject) ? STATES[subject]! : null;
    const timestamp = event.timestamp;
    if (known !== null) this[subject as "sent"] = timestamp;
    const state = known ?? subject.toUpperCase();
    this.lastClock = event.clock;
    this.lastTimestamp = timestamp;
    // A retry starts the states again, so no event is too late then.
    const isLate = state !== "RETRY" && this.state !== "RETRY" && precedence(state) > precedence(this.state);
    for (const key in event) {
      if (COMMON.has(key)) continue;
      if (isLate && state === "RECEIVED" && !LATE_RECEIVED.has(key)) continue;
      this.#set(key, event[key]);
    }
    if (isLate) return;
    this.state = state;
    this.timestamp = timestamp;
    this.clock = event.clock;
  }

  /** Returns the fields to show, without those that are null. */
  info(): Record<string, string | number> {
    const info: Record<string, string | number> = {};
    for (const field of INFO_FIELDS) {
      const value = this[field];
      if (value !== null) info[field] = value;
    }
    return info;
  }

  #set(key: string, value: unknown): void {
    switch (key) {
      case "name":
      case "eta":
      case "expires":
      case "queue":
      case "exchange":
        this[key] = shortText(value);
        return;
      case "args":
      case "kwargs":
      case "result":
      case "exception":
      case "traceback":
        this[key] = longText(value);
        return;
      case "retries":
        this.retries = integer(value);
        return;
      case "runtime":
        this.runtime = finite(value);
        return;
      case "routing_key":
        this.routingKey = shortText(value);
        return;
      case "root_id":
        this.rootId = shortText(value);
        return;
      case "parent_id":
        this.parentId = shortText(value);
        return;
    }
    if (key in this.extra || Object.keys(this.extra).length < EXTRA_MAX) {
      this.extra[shortText(key)!] = plainValue(value);
    }
  }
}

const COMMON: ReadonlySet<string> = new Set([
  "type",
  "hostname",
  "utcoffset",
  "pid",
  "clock",
  "timestamp",
  "local_received",
  "uuid",
]);

function precedence(state: string): number {
  const index = PRECEDENCE.indexOf(state);
  return index < 0 ? PRECEDENCE.indexOf("") : index;
}

/** Returns the subject of an event: the type without its group, such as "received". */
export function eventSubject(type: string): string {
  return type.slice(eventGroup(type).length + 1);
}
