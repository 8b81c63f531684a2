/**
 * The cluster as its events tell of it: workers and tasks, the newest ones, in bounded memory.
 *
 * Source: celery 5.2.6 events/state.py State; protocol.md 5.3.
 */

import { currentWorld, namesOf, refuseUnknown, shownLine, type World } from "../base/mod.ts";
import { eventGroup, type ReceivedEvent } from "./event.ts";
import { eventSubject, TaskState } from "./task_state.ts";
import { DRIFT_MAX_SECONDS, WorkerState } from "./worker_state.ts";

/** Characters of all tasks together at most; past it the oldest tasks go. */
const CHARS_MAX = 64 << 20;
/** Names of tasks remembered. */
const TYPES_MAX = 10_000;

/** How a state is made. */
export interface StateOptions {
  /** Default 5000; past it the worker known longest goes. */
  maxWorkersInMemory?: number;
  /** Default 10000; past it the task known longest goes. */
  maxTasksInMemory?: number;
  /** A worker came, or came back. */
  onNodeJoin?: (worker: WorkerState) => void;
  /** A worker said goodbye. */
  onNodeLeave?: (worker: WorkerState) => void;
  /** Hears every event before it is taken in. */
  callback?: (state: ClusterState, event: ReceivedEvent) => void;
  /** Default the program's. */
  world?: World;
}

/** How to list tasks. */
export interface ListOptions {
  /** Default: all. */
  limit?: number;
  /** Newest first. Default true. */
  reverse?: boolean;
}

const LIST_NAMES = namesOf<ListOptions>({ limit: true, reverse: true });
const STATE_NAMES = namesOf<StateOptions>({
  maxWorkersInMemory: true,
  maxTasksInMemory: true,
  onNodeJoin: true,
  onNodeLeave: true,
  callback: true,
  world: true,
});

/** Records events. `state.event` is what a receiver's handlers call. */
export class ClusterState {
  readonly workers: Map<string, WorkerState> = new Map();
  readonly tasks: Map<string, TaskState> = new Map();
  /** Events taken in. */
  eventCount = 0;
  /** Tasks received by workers. */
  taskCount = 0;
  readonly #options: StateOptions;
  readonly #world: World;
  readonly #maxWorkers: number;
  readonly #maxTasks: number;
  readonly #types = new Set<string>();
  /** Children that came before their parent, by the parent's id. */
  readonly #orphans = new Map<string, Set<string>>();
  readonly #sizes = new Map<string, number>();
  #chars = 0;

  constructor(options: StateOptions = {}) {
    refuseUnknown(options, STATE_NAMES, "a cluster's state");
    this.#options = options;
    this.#world = options.world ?? currentWorld();
    this.#maxWorkers = options.maxWorkersInMemory ?? 5000;
    this.#maxTasks = options.maxTasksInMemory ?? 10_000;
  }

  /** Takes in an event. Groups other than "worker" and "task" only count. */
  event(event: ReceivedEvent): void {
    this.eventCount++;
    this.#options.callback?.(this, event);
    const group = eventGroup(event.type);
    if (group === "worker") this.#workerEvent(event);
    else if (group === "task") this.#taskEvent(event);
  }

  /** The worker of a name, made where it is not known. */
  getOrCreateWorker(hostname: string): [worker: WorkerState, isNew: boolean] {
    const known = this.workers.get(hostname);
    if (known) return [known, false];
    const worker = this.#newWorker(hostname);
    this.workers.set(hostname, worker);
    if (this.workers.size > this.#maxWorkers) this.workers.delete(oldest(this.workers));
    return [worker, true];
  }

  /** The task of an id, made where it is not known. */
  getOrCreateTask(uuid: string): [task: TaskState, isNew: boolean] {
    const known = this.tasks.get(uuid);
    if (known) return [known, false];
    const task = new TaskState(uuid, this);
    this.tasks.set(uuid, task);
    if (this.tasks.size > this.#maxTasks) this.#forget(oldest(this.tasks));
    return [task, true];
  }

  /** Tasks by logical time, newest first. Sorts: for people's eyes, not per event. */
  tasksByTime(options: ListOptions = {}): TaskState[] {
    refuseUnknown(options, LIST_NAMES, "a list of tasks");
    const all = [...this.tasks.values()].sort(compareTime);
    if (options.reverse ?? true) all.reverse();
    return options.limit === undefined ? all : all.slice(0, options.limit);
  }

  /** Tasks of one name, newest first. */
  tasksByType(name: string, options: ListOptions = {}): TaskState[] {
    refuseUnknown(options, LIST_NAMES, "a list of tasks");
    return limited(
      this.tasksByTime({ reverse: options.reverse ?? true }).filter((one) => one.name === name),
      options,
    );
  }

  /** Tasks of one worker, newest first. */
  tasksByWorker(hostname: string, options: ListOptions = {}): TaskState[] {
    refuseUnknown(options, LIST_NAMES, "a list of tasks");
    const all = this.tasksByTime({ reverse: options.reverse ?? true });
    return limited(all.filter((one) => one.worker?.hostname === hostname), options);
  }

  /** Names of the tasks seen, sorted. */
  taskTypes(): string[] {
    return [...this.#types].sort();
  }

  /** Workers that count as alive now. */
  aliveWorkers(): WorkerState[] {
    return [...this.workers.values()].filter((worker) => worker.alive);
  }

  /** Forgets tasks: those that have ended, or with `ready` false all of them. */
  clearTasks(ready = true): void {
    for (const [uuid, task] of this.tasks) if (!ready || task.ready) this.#forget(uuid);
  }

  /** Forgets workers, counts, and tasks as `clearTasks` does. */
  clear(ready = true): void {
    this.workers.clear();
    this.clearTasks(ready);
    this.eventCount = 0;
    this.taskCount = 0;
  }

  #workerEvent(event: ReceivedEvent): void {
    const { onNodeJoin, onNodeLeave } = this.#options;
    const subject = eventSubject(event.type);
    if (subject === "offline") {
      const worker = this.workers.get(event.hostname) ?? this.#newWorker(event.hostname);
      worker.event(subject, event);
      if (!onNodeLeave) return;
      onNodeLeave(worker);
      this.workers.delete(event.hostname);
      return;
    }
    const [worker, isNew] = this.getOrCreateWorker(event.hostname);
    worker.event(subject, event);
    this.#watchDrift(worker, event);
    if (isNew || subject === "online") onNodeJoin?.(worker);
  }

  #taskEvent(event: ReceivedEvent): void {
    const uuid = event["uuid"];
    if (typeof uuid !== "string" || uuid === "" || uuid.length > 512) return;
    const subject = eventSubject(event.type);
    const [task] = this.getOrCreateTask(uuid);
    if (subject === "sent") task.client = event.hostname;
    else {
      const [worker] = this.getOrCreateWorker(event.hostname);
      task.worker = worker;
      worker.beat(event.local_received);
    }
    if (subject === "received") this.taskCount++;
    task.event(subject, event);
    if (task.name !== null && this.#types.size < TYPES_MAX) this.#types.add(task.name);
    this.#relate(task);
    this.#weigh(task);
  }

  #relate(task: TaskState): void {
    const { parentId, uuid } = task;
    // A retry is its own parent.
    if (parentId !== null && parentId !== uuid) {
      const parent = this.tasks.get(parentId);
      if (parent) parent.children.add(uuid);
      else {
        let waiting = this.#orphans.get(parentId);
        if (!waiting) this.#orphans.set(parentId, waiting = new Set());
        waiting.add(uuid);
      }
    }
    const waiting = this.#orphans.get(uuid);
    if (!waiting) return;
    for (const child of waiting) task.children.add(child);
    this.#orphans.delete(uuid);
  }

  #weigh(task: TaskState): void {
    const chars = task.chars;
    this.#chars += chars - (this.#sizes.get(task.uuid) ?? 0);
    this.#sizes.set(task.uuid, chars);
    while (this.#chars > CHARS_MAX && this.tasks.size > 1) this.#forget(oldest(this.tasks));
  }

  #forget(uuid: string): void {
    const task = this.tasks.get(uuid);
    if (!task) return;
    this.tasks.delete(uuid);
    this.#chars -= this.#sizes.get(uuid) ?? 0;
    this.#sizes.delete(uuid);
    if (task.parentId === null) return;
    this.tasks.get(task.parentId)?.children.delete(uuid);
    const waiting = this.#orphans.get(task.parentId);
    if (waiting?.delete(uuid) && waiting.size === 0) this.#orphans.delete(task.parentId);
  }

  #watchDrift(worker: WorkerState, event: ReceivedEvent): void {
    const drift = Math.abs(Math.trunc(event.local_received) - Math.trunc(event.timestamp));
    if (worker.isDriftTold || drift <= DRIFT_MAX_SECONDS) return;
    worker.isDriftTold = true;
    this.#world.log.warning(
      `Substantial drift from ${
        shownLine(worker.hostname, 200)
      } may mean clocks are out of sync.  Current drift is ` +
        `${drift} seconds.  [orig: ${stamp(event.local_received)} recv: ${stamp(event.timestamp)}]`,
    );
  }

  #newWorker(hostname: string): WorkerState {
    return new WorkerState(hostname, () => this.#world.clock.wallMs() / 1000);
  }
}

/** Logical clocks where both have one, else the wall clock's. Source: kombu 5.2 clocks.py timetuple. */
function compareTime(a: TaskState, b: TaskState): number {
  if (a.lastClock > 0 && b.lastClock > 0 && a.lastClock !== b.lastClock) return a.lastClock - b.lastClock;
  return a.lastTimestamp - b.lastTimestamp;
}

function limited(tasks: TaskState[], { limit }: ListOptions): TaskState[] {
  return limit === undefined ? tasks : tasks.slice(0, limit);
}

function oldest(map: ReadonlyMap<string, unknown>): string {
  for (const key of map.keys()) return key;
  return "";
}

function stamp(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "?" : date.toISOString().replace("T", " ").slice(0, 19);
}
