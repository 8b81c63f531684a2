/**
 * What is known of a task from its events, put together in whatever order they came.
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

/** From the state that outdoes all others down; the empty name stands for states that users made up. */
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
/** States after which nothing more is expected. */
const READY: ReadonlySet<string> = new Set(["SUCCESS", "FAILURE", "REVOKED"]);
/** States with an exception to show. */
const EXCEPTION: ReadonlySet<string> = new Set(["RETRY", "FAILURE", "REVOKED"]);
/** What an event that came late still tells: nothing but a task-received's own fields. */
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
/** Fields of the users' own that are kept of one task. */
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

/** Where a task is looked up by id: the state it belongs to. */
export interface TaskLookup {
  readonly tasks: ReadonlyMap<string, TaskState>;
}

/** A task. Times are epoch seconds; what no event has told is null. */
export class TaskState {
  readonly uuid: string;
  name: string | null = null;
  /** PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED, REJECTED, or a custom event's subject. */
  state = "PENDING";
  /** When each event happened. */
  sent: number | null = null;
  received: number | null = null;
  started: number | null = null;
  succeeded: number | null = null;
  failed: number | null = null;
  retried: number | null = null;
  revoked: number | null = null;
  rejected: number | null = null;
  /** Python's text of the arguments. */
  args: string | null = null;
  kwargs: string | null = null;
  eta: string | null = null;
  expires: string | null = null;
  retries: number | null = null;
  /** Where it runs or ran. */
  worker: WorkerState | null = null;
  /** Who sent it. */
  client: string | null = null;
  result: string | null = null;
  exception: string | null = null;
  traceback: string | null = null;
  /** Seconds. */
  runtime: number | null = null;
  /** When its state was reached. */
  timestamp: number | null = null;
  clock = 0;
  queue: string | null = null;
  exchange: string | null = null;
  routingKey: string | null = null;
  rootId: string | null = null;
  parentId: string | null = null;
  /** Ids of the tasks it sent, as far as they are known here. */
  readonly children: Set<string> = new Set();
  /** What custom events told, under the wire's names; at most 50 fields. */
  extra: Record<string, string | number | boolean | null> = {};
  /** Of the last event, whatever it told: the order of `tasksByTime`. */
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

  /** True where it has ended. */
  get ready(): boolean {
    return READY.has(this.state);
  }

  /** True where it has an exception to show. */
  get isException(): boolean {
    return EXCEPTION.has(this.state);
  }

  /** The task that sent it, where it is known here. */
  get parent(): TaskState | null {
    return this.parentId === null ? null : this.#cluster.tasks.get(this.parentId) ?? null;
  }

  /** The first task of its tree, where it is known here. */
  get root(): TaskState | null {
    return this.rootId === null ? null : this.#cluster.tasks.get(this.rootId) ?? null;
  }

  /** The id of its worker, else who sent it. */
  get origin(): string | null {
    return this.worker === null ? this.client : this.worker.id;
  }

  /** About how many characters it holds. */
  get chars(): number {
    let sum = 200;
    for (const text of [this.args, this.kwargs, this.result, this.exception, this.traceback]) {
      if (text !== null) sum += text.length;
    }
    for (const key in this.extra) sum += key.length + String(this.extra[key]).length;
    return sum;
  }

  /** Takes in a task event; `subject` is what follows "task-". */
  event(subject: string, event: ReceivedEvent): void {
    const known = Object.hasOwn(STATES, subject) ? STATES[subject]! : null;
    const timestamp = event.timestamp;
    if (known !== null) this[subject as "sent"] = timestamp;
    const state = known ?? subject.toUpperCase();
    this.lastClock = event.clock;
    this.lastTimestamp = timestamp;
    // Retries begin anew, so that nothing comes too late for them.
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

  /** What is worth showing, without what is not known. */
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

/** The subject of an event: what follows its group, such as "received". */
export function eventSubject(type: string): string {
  return type.slice(eventGroup(type).length + 1);
}
