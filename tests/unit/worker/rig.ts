/** A worker on the memory broker and store, on a fake clock, with a pool that the test scripts. */

import { App, type Outcome, type Settings } from "../../../lib/app/mod.ts";
import type { Job, Pool, PoolEvents, PoolFactory, PoolInfo } from "../../../lib/pool/mod.ts";
import type { Connection, Consumer, Delivery } from "../../../lib/transport/mod.ts";
import type { EncodedMessage } from "../../../lib/wire/mod.ts";
import { WorkController, type WorkerOptions } from "../../../lib/worker/mod.ts";
import { type FakeWorld, fakeWorld, type FakeWorldOptions } from "../../support/fake_world.ts";

// Memory brokers of one name are one broker, so each rig has its own name.
let rigs = 0;

/** Celery's debug lines as the consumer's steps start. */
export const CONSUMER_STARTS: readonly string[] = [
  "| Consumer: Starting Connection",
  "^-- substep ok",
  "| Consumer: Starting Events",
  "^-- substep ok",
  "| Consumer: Starting Heart",
  "^-- substep ok",
  "| Consumer: Starting Mingle",
  "mingle: searching for neighbors",
  "^-- substep ok",
  "| Consumer: Starting Gossip",
  "^-- substep ok",
  "| Consumer: Starting Tasks",
  "^-- substep ok",
  "| Consumer: Starting Control",
  "^-- substep ok",
  "| Consumer: Starting event loop",
  "| Worker: Hub.register Pool...",
];

/** The result of a scripted run. */
export type Script = (job: Job, pool: ScriptedPool) => Outcome | null;

/** An outcome with its defaults. */
export function outcome(job: Job, given: Partial<Outcome> = {}): Outcome {
  const kind = given.kind ?? "success";
  return {
    seq: job.seq,
    kind,
    state: kind === "success" ? "SUCCESS" : kind === "failure" ? "FAILURE" : null,
    document: kind === "success" || kind === "failure"
      ? JSON.stringify({
        status: kind === "success" ? "SUCCESS" : "FAILURE",
        result: kind === "success"
          ? 3
          : { exc_type: "ValueError", exc_message: ["boom"], exc_module: "builtins" },
        traceback: null,
        children: [],
        date_done: "2024-01-02T03:04:05.678000+00:00",
        task_id: job.id,
      })
      : null,
    runtime: 0.005,
    summary: kind === "success" ? "3" : "ValueError('boom')",
    exception: "",
    traceback: null,
    expected: false,
    requeue: false,
    chord: null,
    ...given,
  };
}

/** A pool for tests, of fixed size and in this process. */
export abstract class StandInPool implements Pool {
  readonly name = "processes";
  readonly size: number;
  protected readonly events: PoolEvents;
  #idle: (() => void)[] = [];

  constructor(size: number, events: PoolEvents) {
    this.size = size;
    this.events = events;
  }

  abstract get busy(): number;

  get free(): number {
    return this.size - this.busy;
  }

  abstract submit(jobs: readonly Job[]): void;
  abstract terminateAll(): Promise<void>;

  /** Reports that a job has ended. */
  protected report(job: Job, given: Partial<Outcome>, process: string): void {
    this.events.onOutcomes([outcome(job, given)], process);
    this.events.onFree();
    if (this.busy === 0) { for (const resolve of this.#idle.splice(0)) resolve(); }
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  terminate(_seq: number, _signal: string): boolean {
    return false;
  }

  grow(): Promise<void> {
    return Promise.resolve();
  }

  shrink(): Promise<void> {
    return Promise.resolve();
  }

  restart(): Promise<void> {
    return Promise.resolve();
  }

  info(): PoolInfo {
    return {
      implementation: "scripted",
      concurrency: this.size,
      pids: [100],
      maxTasksPerChild: null,
      timeouts: [0, 0],
      writes: [],
    };
  }

  drain(): Promise<void> {
    if (this.busy === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * A pool whose slots do what the test says. `script` returns an outcome at once, or null: then the test ends
 * the job.
 */
export class ScriptedPool extends StandInPool {
  readonly submitted: Job[] = [];
  /** Jobs begun and not ended. */
  readonly running = new Map<number, Job>();
  readonly terminated: { seq: number; signal: string }[] = [];
  script: Script = (job) => outcome(job);
  /** False: submitted jobs begin only with `begin`. */
  begins = true;
  #pending = new Map<number, Job>();

  override start(): Promise<void> {
    this.events.onSlot("started", { name: "ForkPoolWorker-1", pid: 100, reason: null });
    return Promise.resolve();
  }

  get busy(): number {
    return this.running.size + this.#pending.size;
  }

  submit(jobs: readonly Job[]): void {
    for (const job of jobs) {
      this.submitted.push(job);
      this.#pending.set(job.seq, job);
    }
    if (this.begins) { for (const job of jobs) this.begin(job); }
  }

  /** Begins the job in a slot. */
  begin(job: Job): void {
    this.#pending.delete(job.seq);
    this.running.set(job.seq, job);
    this.events.onAccepted([job], 100);
    const made = this.script(job, this);
    if (made) this.end(job, made);
  }

  /** Ends the job. */
  end(job: Job, given: Partial<Outcome> = {}): void {
    this.running.delete(job.seq);
    this.#pending.delete(job.seq);
    this.report(job, given, "ForkPoolWorker-1");
  }

  override terminate(seq: number, signal: string): boolean {
    this.terminated.push({ seq, signal });
    return this.running.has(seq);
  }

  terminateAll(): Promise<void> {
    for (const job of [...this.running.values()]) this.end(job, { kind: "lost", summary: "Worker exited" });
    for (const job of [...this.#pending.values()]) this.end(job, { kind: "returned" });
    return Promise.resolve();
  }
}

/** Turns that `until` waits at most: a module loaded for the first time takes many on a busy machine. */
const TURNS_MAX = 20_000;

/** Options of a rig. */
export interface RigOptions {
  readonly settings?: Partial<Settings>;
  readonly options?: WorkerOptions;
  readonly world?: FakeWorldOptions;
  /** Registers tasks; default `bars.add`. */
  readonly tasks?: (app: App) => void;
}

/** A worker with what surrounds it. */
export class Rig implements AsyncDisposable {
  readonly world: FakeWorld;
  readonly app: App;
  readonly worker: WorkController;
  /** A second connection to the same broker, for looking at it. */
  broker!: Connection;
  exit: number | null = null;
  #pool: ScriptedPool | null = null;
  #run: Promise<void> | null = null;

  constructor(given: RigOptions = {}) {
    this.world = fakeWorld(given.world);
    this.app = new App("bars", {
      broker_url: `memory://rig-${++rigs}`,
      result_backend: `memory://rig-${rigs}`,
      ...given.settings,
    }, { world: this.world });
    (given.tasks ?? ((app) => void app.task("bars.add", (x: number, y: number) => x + y)))(this.app);
    const poolFactory: PoolFactory = (_world, options, events) =>
      this.#pool = new ScriptedPool(options.concurrency, events);
    this.worker = WorkController.create(this.world, this.app, {
      hostname: "w1@example",
      concurrency: 2,
      quiet: true,
      poolFactory,
      ...given.options,
    });
  }

  /** Builds and starts a rig; resolves when the worker is ready. */
  static async start(given: RigOptions = {}): Promise<Rig> {
    const rig = new Rig(given);
    await rig.start();
    return rig;
  }

  get pool(): ScriptedPool {
    return this.#pool!;
  }

  /** Number of unsettled messages that the worker holds. */
  get unsettled(): number {
    return this.worker.state.unsettled;
  }

  /** Number of requests that wait for a slot. */
  get ready(): number {
    return this.worker.lane.readyCount;
  }

  /** Number of requests that the worker holds until their eta. */
  get held(): number {
    return this.worker.state.etaHeld;
  }

  /** Number of messages that the worker would take now. */
  get window(): number {
    return this.worker.lane.window();
  }

  /** Whether the worker consumes. */
  get isConsuming(): boolean {
    return this.worker.state.consumer !== null;
  }

  async start(): Promise<void> {
    this.broker = await this.app.connectBroker({ forWriting: true });
    this.#run = this.worker.run().then((code) => {
      this.exit = code;
    });
    await this.until(() => this.exit !== null || this.log().includes("w1@example ready."));
  }

  /** Lets the worker run without advancing the clock, until `done`. */
  async until(done: () => boolean): Promise<void> {
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      await this.world.clock.settle();
      if (done()) return;
    }
    throw new Error(`not done after ${TURNS_MAX} turns; log:\n${this.log().join("\n")}`);
  }

  /** Lets the worker run without advancing the clock. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 10; turn++) await this.world.clock.settle();
  }

  /** Sends `bars.add(1, 1)` or the given call; returns its id. */
  async send(options: Parameters<App["sendTask"]>[1] = {}, name = "bars.add"): Promise<string> {
    const result = await this.app.sendTask(name, { args: [1, 1], ...options });
    await this.settle();
    return result.id;
  }

  /** Returns log messages, optionally of one level. */
  log(level?: Parameters<FakeWorld["log"]["messages"]>[0]): string[] {
    return this.world.log.messages(level);
  }

  /** Returns the stored state of a task. */
  async state(id: string): Promise<string | null> {
    return (await (await this.app.openBackend()).fetch(id))?.state ?? null;
  }

  /** Gives the worker a message, as its consumer would. */
  deliver(message: EncodedMessage, given: Partial<Delivery> = {}): void {
    const info = { exchange: "", routingKey: "celery", redelivered: (given.attempts ?? 0) > 0 };
    this.worker.lane.onDeliveries([
      { tag: 1, queue: "celery", message, info, envelope: "", attempts: 0, wasReported: false, ...given },
    ]);
  }

  /** Replaces methods of the transport's consumer; returns a function that restores them. */
  replace(methods: Partial<Consumer>): () => void {
    const { state } = this.worker;
    const before = state.consumer;
    state.consumer = Object.assign(Object.create(before), methods);
    return () => state.consumer = before;
  }

  /** Returns the number of messages in a queue. */
  async waiting(queue = "celery"): Promise<number> {
    return (await this.broker.queueLength(queue)) ?? 0;
  }

  /** Ends the worker and closes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#run) {
      void this.worker.stop("cold");
      await this.until(() => this.exit !== null);
      await this.#run;
    }
    await this.broker?.close();
    await this.app.close();
  }
}
