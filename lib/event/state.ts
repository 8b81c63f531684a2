/**
 * The cluster as its events describe it: workers and tasks, the newest ones, in bounded memory.
 *
 * Source: celery 5.2.6 events/state.py State; protocol.md 5.3.
 */

import { currentWorld, namesOf, refuseUnknown, shownLine, type World } from "../base/mod.ts";
import { eventGroup, type ReceivedEvent } from "./event.ts";
import { eventSubject, TaskState } from "./task_state.ts";
import { DRIFT_MAX_SECONDS, WorkerState } from "./worker_state.ts";

/** Characters of all tasks together at most; the oldest tasks are dropped first. */
const CHARS_MAX = 64 << 20;
/** Task names remembered at most. */
const TYPES_MAX = 10_000;

/** Options of a cluster state. */
export interface StateOptions {
  /** Workers kept at most; the worker known longest is dropped first. Default 5000. */
  maxWorkersInMemory?: number;
  /** Tasks kept at most; the task known longest is dropped first. Default 10000. */
  maxTasksInMemory?: number;
  /** Called when a worker has come, or come back. */
  onNodeJoin?: (worker: WorkerState) => void;
  /** Called when a worker has gone offline in order. */
  onNodeLeave?: (worker: WorkerState) => void;
  /** Called with every event before it is recorded. */
  callback?: (state: ClusterState, event: ReceivedEvent) => void;
  /** Default the World of the program. */
  world?: World;
}

/** Options of lists of tasks. */
export interface ListOptions {
  /** Maximum number of tasks. Default: all. */
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

/**
 * Records events. A receiver's handler passes them to `state.event`.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop");
 * const state = new app.events.State();
 * await using receiver = await app.events.receiver({ handlers: { "*": (event) => state.event(event) } });
 * await receiver.ended();
 * console.log(state.aliveWorkers().length, state.tasksByTime({ limit: 5 }));
 * ```
 */
export class ClusterState {
  readonly workers: Map<string, WorkerState> = new Map();
  readonly tasks: Map<string, TaskState> = new Map();
  /** Number of events recorded. */
  eventCount = 0;
  /** Number of tasks that workers have received. */
  taskCount = 0;
  readonly #options: StateOptions;
  readonly #world: World;
  readonly #maxWorkers: number;
  readonly #maxTasks: number;
  readonly #types = new Set<string>();
  /** Children whose parent is not known yet, by the parent's id. */
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

  /** Records an event. Events of groups other than "worker" and "task" are only counted. */
  event(event: ReceivedEvent): void {
    this.eventCount++;
    this.#options.callback?.(this, event);
    const group = eventGroup(event.type);
    if (group === "worker") this.#workerEvent(event);
    else if (group === "task") this.#taskEvent(event);
  }

  /** Returns the worker of a name, which is added if it is not known. */
  getOrCreateWorker(hostname: string): [worker: WorkerState, isNew: boolean] {
    const known = this.workers.get(hostname);
    if (known) return [known, false];
    const worker = this.#newWorker(hostname);
    this.workers.set(hostname, worker);
    if (this.workers.size > this.#maxWorkers) this.workers.delete(oldest(this.workers));
    return [worker, true];
  }

  /** Returns the task of an id, which is added if it is not known. */
  getOrCreateTask(uuid: string): [task: TaskState, isNew: boolean] {
    const known = this.tasks.get(uuid);
    if (known) return [known, false];
    const task = new TaskState(uuid, this);
    this.tasks.set(uuid, task);
    if (this.tasks.size > this.#maxTasks) this.#forget(oldest(this.tasks));
    return [task, true];
  }

  /** Returns tasks by logical time, newest first. It sorts all tasks: not to be called for each event. */
  tasksByTime(options: ListOptions = {}): TaskState[] {
    refuseUnknown(options, LIST_NAMES, "a list of tasks");
    const all = [...this.tasks.values()].sort(compareTime);
    if (options.reverse ?? true) all.reverse();
    return options.limit === undefined ? all : all.slice(0, options.limit);
  }

  /** Returns tasks of one name, newest first. */
  tasksByType(name: string, options: ListOptions = {}): TaskState[] {
    refuseUnknown(options, LIST_NAMES, "a list of tasks");
    return limited(
      this.tasksByTime({ reverse: options.reverse ?? true }).filter((one) => one.name === name),
      options,
    );
  }

  /** Returns tasks of one worker, newest first. */
  tasksByWorker(hostname: string, options: ListOptions = {}): TaskState[] {
    refuseUnknown(options, LIST_NAMES, "a list of tasks");
    const all = this.tasksByTime({ reverse: options.reverse ?? true });
    return limited(all.filter((one) => one.worker?.hostname === hostname), options);
  }

  /** Returns the names of tasks seen, sorted. */
  taskTypes(): string[] {
    return [...this.#types].sort();
  }

  /** Returns the workers that count as alive now. */
  aliveWorkers(): WorkerState[] {
    return [...this.workers.values()].filter((worker) => worker.alive);
  }

  /** Forgets tasks that have ended; with `ready` false, all tasks. */
  clearTasks(ready = true): void {
    for (const [uuid, task] of this.tasks) if (!ready || task.ready) this.#forget(uuid);
  }

  /** Forgets workers and counts, and tasks as `clearTasks` does. */
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
    // A retry has its own id as its parent.
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
    if (worker.isDriftLogged || drift <= DRIFT_MAX_SECONDS) return;
    worker.isDriftLogged = true;
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

/**
 * Compares logical clocks if both tasks have one, else wall clocks. Source: kombu 5.2 clocks.py timetuple.
 */
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
