/**
 * One run of the simulation: a producer, workers with the real lane and the real Redis transport, and faults,
 * on one fake clock and one seed. The network, Redis and the pools are doubles; the same seed gives the same
 * run.
 *
 * The checks know only ids: every task sent ends; how often it may have run follows from its acknowledgement
 * and from what happened to its worker; nothing is left at the broker, and no timer is left armed.
 */

import { App, type Outcome } from "../../lib/app/mod.ts";
import { ConnectionLost, type Disarm, type Level, type Log, type World } from "../../lib/base/mod.ts";
import type { Job, PoolEvents, PoolFactory } from "../../lib/pool/mod.ts";
import { WorkController } from "../../lib/worker/mod.ts";
import { FakeClock, fakeWorld, SeededRandom } from "../support/fake_world.ts";
import { StandInPool } from "../unit/worker/rig.ts";
import { Network } from "./network.ts";
import { RedisDouble } from "./redis_double.ts";

/** The number of workers and tasks, and of faults of each kind. */
export interface Plan {
  readonly workers: number;
  readonly tasks: number;
  readonly cuts: number;
  readonly stalls: number;
  readonly restarts: number;
  readonly kills: number;
  readonly stops: number;
  /** Number of tasks that kill the worker which begins them. */
  readonly poison: number;
}

/** The result of a run. */
export interface Result {
  /** Broken promises; empty if all held. */
  readonly wrong: string[];
  /** Every event in order; the same for the same seed. */
  readonly trace: string[];
  readonly runs: number;
  readonly doubled: number;
}

/** How a task is acknowledged, and what it does. */
type Kind = "early" | "late" | "eta" | "poison";

interface Sent {
  readonly id: string;
  readonly kind: Kind;
  readonly dueMs: number;
  begun: number;
  ended: number;
  /**
   * Number of runs that ended with a killed worker, or ended so shortly before that their acknowledgement may
   * be lost.
   */
  excused: number;
}

const LEASE_SECONDS = 10;
const SLOTS = 2;
const ATTEMPTS_MAX = 3;
/** Faults happen within this time; none happens after it. */
const TROUBLE_MS = 60_000;
/** Long enough for every lease, sweep, delay and retry. */
const QUIET_MS = 400_000;
/** The longest time that a live worker is without a connection. */
const AWAY_MS = 30_000;
/** The longest time that bytes are in transit. */
const FLIGHT_MS = 5;

/** Runs the simulation. */
export async function simulate(seed: number, plan: Plan): Promise<Result> {
  return await new Simulation(seed, plan).run();
}

class Simulation {
  readonly clock = new FakeClock(Date.UTC(2026, 0, 1));
  readonly random: SeededRandom;
  readonly server: RedisDouble;
  readonly network: Network;
  readonly sent = new Map<string, Sent>();
  readonly trace: string[] = [];
  readonly nodes: (Node | null)[] = [];
  readonly plan: Plan;
  readonly name: string;
  #wrong: string[] = [];

  constructor(seed: number, plan: Plan) {
    this.plan = plan;
    this.name = `sim-${seed}-${performance.now()}`;
    this.random = new SeededRandom(seed);
    this.server = new RedisDouble(this.clock);
    this.network = new Network(this.clock, new SeededRandom(seed + 1), this.server);
  }

  note(text: string): void {
    this.trace.push(`${(this.clock.monoMs() / 1000).toFixed(4)} ${text}`);
  }

  wrong(text: string): void {
    this.note(`WRONG ${text}`);
    this.#wrong.push(text);
  }

  async run(): Promise<Result> {
    for (let n = 0; n < this.plan.workers; n++) await this.start(n);
    const producer = await Producer.open(this);
    this.#arrange(producer);
    await this.advance(TROUBLE_MS + QUIET_MS);
    await producer.close();
    this.#check();
    const stopping = this.nodes.map((node) => node?.stop("warm"));
    await this.advance(30_000);
    await Promise.all(stopping);
    this.#checkEmpty();
    const runs = [...this.sent.values()].reduce((sum, { begun }) => sum + begun, 0);
    return { wrong: this.#wrong, trace: this.trace, runs, doubled: runs - this.sent.size };
  }

  /** Advances the clock. */
  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }

  /** Starts a worker in place `n`. */
  async start(n: number): Promise<void> {
    const node = new Node(this, n);
    this.nodes[n] = node;
    await node.start();
  }

  kill(n: number): void {
    const node = this.nodes[n];
    if (!node) return;
    this.nodes[n] = null;
    this.note(`kill w${n}`);
    node.die();
    this.#later(500 + this.random.fraction() * 5000, () => void this.start(n));
  }

  #later(ms: number, fn: () => void): void {
    this.clock.arm(this.clock.monoMs() + ms, fn);
  }

  #arrange(producer: Producer): void {
    const at = () => this.random.fraction() * TROUBLE_MS;
    const { plan, random } = this;
    const kinds: Kind[] = ["early", "late", "late", "eta"];
    for (let n = 0; n < plan.tasks; n++) {
      const kind = n < plan.poison ? "poison" : kinds[random.u32() % kinds.length]!;
      const delayMs = kind === "eta" ? 500 + random.fraction() * 20_000 : 0;
      this.#later(at(), () => producer.send(`${kind}-${n}`, kind, delayMs));
    }
    const anyLink = () => {
      const links = this.network.of(null);
      return links.length === 0 ? null : links[random.u32() % links.length]!;
    };
    for (let n = 0; n < plan.cuts; n++) {
      this.#later(at(), () => {
        const link = anyLink();
        this.note(`cut ${link?.node}`);
        link?.cut(random.fraction() < 0.5);
      });
    }
    for (let n = 0; n < plan.stalls; n++) {
      this.#later(at(), () => {
        const link = anyLink();
        this.note(`stall ${link?.node}`);
        link?.stall();
      });
    }
    for (let n = 0; n < plan.restarts; n++) this.#later(at(), () => this.#restartServer());
    for (let n = 0; n < plan.kills; n++) this.#later(at(), () => this.kill(random.u32() % plan.workers));
    for (let n = 0; n < plan.stops; n++) {
      const mode = random.fraction() < 0.5 ? "warm" : "cold";
      this.#later(at(), () => void this.#stopAndStart(random.u32() % plan.workers, mode));
    }
  }

  #restartServer(): void {
    if (!this.network.isUp) return;
    this.note("server away");
    this.network.isUp = false;
    for (const link of this.network.of(null)) link.cut(this.random.fraction() < 0.5);
    this.#later(200 + this.random.fraction() * 4000, () => {
      this.note("server back");
      this.network.isUp = true;
      this.server.restarted();
    });
  }

  async #stopAndStart(n: number, mode: "warm" | "cold"): Promise<void> {
    const node = this.nodes[n];
    if (!node) return;
    this.nodes[n] = null;
    this.note(`stop w${n} ${mode}`);
    await node.stop(mode);
    await this.clock.sleep(this.random.fraction() * 2000);
    await this.start(n);
  }

  #check(): void {
    const dead = new Set<string>();
    for (const text of this.server.run("LRANGE", "lovage:dead", 0, -1) as string[]) {
      dead.add(JSON.parse(JSON.parse(text).envelope).headers.id);
    }
    for (const task of this.sent.values()) {
      const { id, kind, begun, ended, excused } = task;
      if (kind === "poison") {
        if (!dead.has(id)) this.wrong(`${id} is not among the dead letters after ${begun} runs`);
        if (begun > ATTEMPTS_MAX + 2) this.wrong(`${id} was begun ${begun} times`);
        continue;
      }
      if (dead.has(id)) {
        // One death may be counted while it only waited; it must have run at every other.
        if (excused < ATTEMPTS_MAX - 1) this.wrong(`${id} is among the dead letters after ${begun} runs`);
        continue;
      }
      // An early-acknowledged task is lost with its worker; every other task ends.
      if (ended === 0 && (kind !== "early" || excused === 0)) {
        this.wrong(`${id} never ended, begun ${begun} times`);
      }
      if (begun > 1 + excused) this.wrong(`${id} was begun ${begun} times, excused ${excused}`);
    }
  }

  #checkEmpty(): void {
    for (
      const [command, key] of [["LLEN", "celery"], ["HLEN", "unacked"], ["ZCARD", "unacked_index"], [
        "ZCARD",
        "lovage:parked",
      ]] as const
    ) {
      const left = this.server.run(command, key);
      if (left !== 0) this.wrong(`${left} left in ${key}`);
    }
    const timers = this.clock.armed.length;
    if (timers > 0) this.wrong(`${timers} timers are still armed`);
  }
}

/** A clock that stops for its node when the node dies. */
class NodeClock {
  isDead = false;
  #base: FakeClock;
  #armed = new Set<Disarm>();

  constructor(base: FakeClock) {
    this.#base = base;
  }

  monoMs = () => this.#base.monoMs();
  wallMs = () => this.#base.wallMs();

  arm(atMonoMs: number, fn: () => void): Disarm {
    if (this.isDead) return () => {};
    const disarm = this.#base.arm(atMonoMs, () => {
      this.#armed.delete(disarm);
      fn();
    });
    this.#armed.add(disarm);
    return () => {
      this.#armed.delete(disarm);
      disarm();
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.isDead ? new Promise(() => {}) : this.#base.sleep(ms, signal);
  }

  defer(fn: () => void): void {
    if (!this.isDead) this.#base.defer(() => this.isDead || fn());
  }

  die(): void {
    this.isDead = true;
    for (const disarm of this.#armed) disarm();
  }
}

/** One worker process. */
class Node {
  readonly name: string;
  readonly clock: NodeClock;
  pool: SimPool | null = null;
  #simulation: Simulation;
  #worker: WorkController;
  #app: App;
  #ended: Promise<number> | null = null;

  constructor(simulation: Simulation, n: number) {
    const { clock, network, random } = simulation;
    this.#simulation = simulation;
    this.name = `w${n}`;
    this.clock = new NodeClock(clock);
    const world = worldOf(this.clock, new SeededRandom(random.u32()), network, this.name, (level, text) => {
      if (level !== "DEBUG") simulation.note(`${this.name} ${level} ${text.split("\n")[0]}`);
    });
    this.#app = appOf(world, simulation.name);
    const poolFactory: PoolFactory = (_world, options, events) =>
      this.pool = new SimPool(simulation, this, options.concurrency, events);
    this.#worker = WorkController.create(world, this.#app, {
      hostname: `${this.name}@sim`,
      concurrency: SLOTS,
      quiet: true,
      gossip: false,
      mingle: false,
      heartbeat: false,
      poolFactory,
    });
  }

  async start(): Promise<void> {
    this.#simulation.note(`start ${this.name}`);
    this.#ended = this.#worker.run();
    await Promise.resolve();
  }

  async stop(mode: "warm" | "cold"): Promise<void> {
    void this.#worker.stop(mode);
    await this.#ended;
    await this.#app.close();
    this.#simulation.note(`ended ${this.name}`);
  }

  /** Acts as SIGKILL: nothing of the process runs any more, and its connections close. */
  die(): void {
    this.pool?.die();
    this.clock.die();
    for (const link of this.#simulation.network.of(this.name)) {
      link.cut(this.#simulation.random.fraction() < 0.5);
    }
  }
}

/** A pool whose tasks take simulated time and are counted when they begin and end. */
class SimPool extends StandInPool {
  #simulation: Simulation;
  #node: Node;
  #running = new Map<number, { job: Job; atMs: number; disarm: Disarm }>();

  constructor(simulation: Simulation, node: Node, size: number, events: PoolEvents) {
    super(size, events);
    this.#simulation = simulation;
    this.#node = node;
  }

  get busy(): number {
    return this.#running.size;
  }

  submit(jobs: readonly Job[]): void {
    for (const job of jobs) this.#begin(job);
  }

  #begin(job: Job): void {
    const { random, clock, sent } = this.#simulation;
    const task = sent.get(job.id)!;
    task.begun++;
    this.#simulation.note(`${this.#node.name} begins ${job.id}`);
    if (clock.wallMs() < task.dueMs - 0.01) {
      this.#simulation.wrong(`${job.id} was begun ${task.dueMs - clock.wallMs()} ms before it was due`);
    }
    const ms = task.kind === "poison"
      ? 60_000
      : random.fraction() < 0.1
      ? random.fraction() * 15_000
      : random.fraction() * 300;
    const disarm = this.#node.clock.arm(clock.monoMs() + ms, () => this.#end(job, {}));
    this.#running.set(job.seq, { job, atMs: clock.monoMs(), disarm });
    this.events.onAccepted([job], 100);
    if (task.kind === "poison") {
      const n = Number(this.#node.name.slice(1));
      clock.arm(
        clock.monoMs() + 20,
        () => this.#simulation.nodes[n] === this.#node && this.#simulation.kill(n),
      );
    }
  }

  #end(job: Job, given: Partial<Outcome>): void {
    const running = this.#running.get(job.seq);
    if (!running) return;
    running.disarm();
    this.#running.delete(job.seq);
    if (given.kind === undefined) {
      this.#simulation.sent.get(job.id)!.ended++;
      this.#simulation.note(`${this.#node.name} ends ${job.id}`);
      // Without a connection, the end cannot be reported before the connection is back.
      const links = this.#simulation.network.of(this.#node.name);
      const isConnected = links.length > 0 && links.every((link) => !link.isStalled);
      this.#lastEnded.push({
        id: job.id,
        atMs: this.#simulation.clock.monoMs() + (isConnected ? 0 : AWAY_MS),
      });
      if (this.#lastEnded.length > 100) this.#lastEnded.shift();
    }
    this.report(job, { state: null, document: null, ...given }, "Slot-1");
  }

  #lastEnded: { id: string; atMs: number }[] = [];

  /** Ends the process: running tasks may run again, and so may those that have just ended. */
  die(): void {
    const { sent, clock } = this.#simulation;
    for (const { job, disarm } of this.#running.values()) {
      disarm();
      sent.get(job.id)!.excused++;
    }
    for (const { id, atMs } of this.#lastEnded) {
      if (atMs >= clock.monoMs() - FLIGHT_MS) sent.get(id)!.excused++;
    }
  }

  terminateAll(): Promise<void> {
    for (const { job } of [...this.#running.values()]) {
      this.#simulation.sent.get(job.id)!.excused++;
      this.#end(job, { kind: "lost", summary: "cut off" });
    }
    return Promise.resolve();
  }
}

/** Sends tasks over a connection without faults. */
class Producer {
  #simulation: Simulation;
  #app: App;
  #sends: Promise<unknown>[] = [];

  private constructor(simulation: Simulation, app: App) {
    this.#simulation = simulation;
    this.#app = app;
  }

  static async open(simulation: Simulation): Promise<Producer> {
    const clock = new NodeClock(simulation.clock);
    const world = worldOf(
      clock,
      new SeededRandom(simulation.random.u32()),
      simulation.network,
      "producer",
      () => {},
    );
    return await Promise.resolve(new Producer(simulation, appOf(world, simulation.name)));
  }

  send(id: string, kind: Kind, delayMs: number): void {
    const dueMs = delayMs === 0 ? 0 : Math.floor(this.#simulation.clock.wallMs() + delayMs);
    this.#simulation.sent.set(id, { id, kind, dueMs, begun: 0, ended: 0, excused: 0 });
    this.#simulation.note(`send ${id}`);
    this.#sends.push(this.#app.sendTask(kind === "early" ? "sim.early" : "sim.late", {
      args: [id],
      taskId: id,
      ...(delayMs === 0 ? {} : { eta: new Date(dueMs) }),
    }));
  }

  async close(): Promise<void> {
    await Promise.all(this.#sends);
    const closing = this.#app.close();
    await this.#simulation.advance(10_000);
    await closing;
  }
}

function appOf(world: World, name: string): App {
  const app = new App(name, {
    broker_url: "redis://double/0",
    lease: LEASE_SECONDS,
    task_max_attempts: ATTEMPTS_MAX,
    task_ignore_result: true,
    worker_enable_remote_control: false,
    broker_transport_options: { socket_timeout: 2, health_check_interval: 2 },
  }, { world });
  app.task("sim.early", { acksLate: false }, (_id: string) => null);
  app.task("sim.late", { acksLate: true, rejectOnWorkerLost: true }, (_id: string) => null);
  return app;
}

function worldOf(
  clock: NodeClock,
  random: SeededRandom,
  network: Network,
  name: string,
  onLog: (level: Level, text: string) => void,
): World {
  const base = fakeWorld();
  const emit = (level: Level) => (text: string) => onLog(level, text);
  const log: Log = {
    level: "INFO",
    isOn: (level) => level !== "DEBUG",
    emit: (level, text) => onLog(level, text),
    debug: emit("DEBUG"),
    info: emit("INFO"),
    warning: emit("WARNING"),
    error: emit("ERROR"),
    critical: emit("CRITICAL"),
    flush: () => Promise.resolve(),
    reopen: () => {},
  };
  const dialer = network.dialer(name);
  return {
    ...base,
    clock,
    random,
    log,
    dialer: {
      dial: (address, options) =>
        clock.isDead ? Promise.reject(new ConnectionLost("dead")) : dialer.dial(address, options),
    },
    host: { ...base.host, hostname: "sim", pid: 1 + random.u32() % 30_000 },
  };
}
