/**
 * A fleet of nodes: started at the same time, stopped and restarted in the order of their names.
 *
 *     const cluster = Cluster.parse(["3", "-A", "tasks.ts", "-c", "2"]);
 *     await cluster.start();                 // each node is ready, or its outcome says why not
 *     await cluster.restart();
 *     await cluster.stopwait();
 *
 * Source: celery 5.2.6 apps/multi.py Cluster (actions and texts). Other than in Celery, nodes start at the
 * same time, a start resolves when the node is ready or has failed, and a signal is sent only to the process
 * that wrote the pid file.
 */

import {
  currentWorld,
  type Disarm,
  longName,
  namesOf,
  refuseUnknown,
  type SignalName,
  type World,
} from "../base/mod.ts";
import { nodesOf } from "./cluster_names.ts";
import { defaultFiles } from "./defaults.ts";
import { FleetMemory } from "./memory.ts";
import { Node, type NodeOutcome } from "./node.ts";
import { NodeHost } from "./node_host.ts";
import { type NodeOptions, readWords } from "./options.ts";

/** How often a stopping node is checked, and how often progress is reported, milliseconds. */
const LOOK_MS = 50;
const PROGRESS_MS = 2000;
/** How long a killed node may take to end, milliseconds. */
const KILL_MS = 5000;
/** Nodes that start at the same time for each CPU at most; more than one, since a start also waits. */
const STARTS_PER_CPU = 4;

/** What a cluster reports while it works; the names are Celery's. */
export interface ClusterEvents {
  onNodeStart?(node: Node): void;
  onNodeRestart?(node: Node): void;
  onChildSpawn?(node: Node, argv: readonly string[]): void;
  onChildFailure?(node: Node, outcome: NodeOutcome, signal: string | null): void;
  onNodeStatus?(node: Node, outcome: NodeOutcome): void;
  onStoppingPreamble?(nodes: readonly Node[]): void;
  onSendSignal?(node: Node, signal: string, pid: number): void;
  onNodeSignal?(node: Node, signal: string, pid: number): void;
  onNodeSignalDead?(node: Node, pid: number): void;
  /** The system does not allow us to signal it. */
  onNodeRefused?(node: Node, pid: number): void;
  /** The pid file names a process that is not our worker. */
  onNodeForeign?(node: Node, pid: number): void;
  onStillWaitingFor?(nodes: readonly Node[], pids: readonly number[]): void;
  onStillWaitingProgress?(nodes: readonly Node[]): void;
  onStillWaitingEnd?(): void;
  onNodeShutdownOk?(node: Node): void;
  onNodeDown?(node: Node): void;
}

/** Options of a cluster. */
export interface ClusterOptions {
  readonly events?: ClusterEvents;
  readonly world?: World;
  /** If true, options of an earlier start apply where none are given; for stop and restart. Default false. */
  readonly recalls?: boolean;
  /** Aborts starts and waits. */
  readonly signal?: AbortSignal;
}

const NAMES = namesOf<ClusterOptions>({ events: true, world: true, recalls: true, signal: true });

/**
 * A fleet of nodes.
 *
 * @example
 * ```ts
 * import { Cluster } from "lovage";
 *
 * const cluster = Cluster.of(["w1", "w2"], { app: "tasks.ts", concurrency: 2 });
 * for (const { name, status } of await cluster.start()) console.log(name, status);
 * await cluster.stopwait();
 * ```
 */
export class Cluster {
  readonly nodes: readonly Node[];
  readonly #events: ClusterEvents;
  readonly #world: World;
  readonly #host: NodeHost;
  readonly #signal: AbortSignal | null;

  constructor(nodes: readonly Node[], options: ClusterOptions = {}) {
    refuseUnknown(options, NAMES, "a cluster");
    this.nodes = nodes;
    this.#events = options.events ?? {};
    this.#world = options.world ?? currentWorld();
    this.#host = new NodeHost(this.#world);
    this.#signal = options.signal ?? null;
  }

  /**
   * Reads words as `multi` does, such as `["3", "-c:1", "10"]`, and makes their nodes.
   *
   * @throws {UsageError} if words name no node, or a name is invalid.
   */
  static parse(words: readonly string[], options: ClusterOptions = {}): Cluster {
    const { host } = options.world ?? currentWorld();
    const memory = new FleetMemory(host);
    const folder = host.cwd;
    const files = defaultFiles(host);
    const at = (name: string, pidfile: string) =>
      nodeOf(name, new Map([["--pidfile", pidfile]]), { ...files, folder }).pidfilePath;
    const nodes = nodesOf(readWords(words), {
      ...files,
      hostname: host.hostname,
      folder,
      ...(!options.recalls ? {} : {
        recall: (name, { isHostGiven, pidfile }) => {
          const which = { folder, pidfile: pidfile === null ? null : (one: string) => at(one, pidfile) };
          return memory.recall(name, which) ??
            (isHostGiven
              ? null
              : memory.recall(name.slice(0, name.indexOf("@")), { ...which, isShort: true }));
        },
      }),
    });
    return new Cluster(nodes, options);
  }

  /**
   * Makes nodes with the same options for all, by their long names: `Cluster.of(["w1"], { app: "tasks.ts"
   * })`. True is an option without a value; false leaves the option out.
   *
   * @throws {UsageError} if a name is invalid.
   */
  static of(
    names: readonly string[],
    nodeOptions: Readonly<Record<string, string | number | boolean>> = {},
    options: ClusterOptions = {},
  ): Cluster {
    const given = Object.entries(nodeOptions).filter(([, value]) => value !== false);
    return Cluster.parse([
      ...names,
      ...given.map(([name, value]) => {
        const option = longName(name);
        return value === true ? option : `${option}=${value}`;
      }),
    ], options);
  }

  /** Returns the node with a whole name, or null. */
  find(name: string): Node | null {
    return this.nodes.find((node) => node.name === name) ?? null;
  }

  /** Returns the pid of a running node, or null. */
  pidOf(node: Node): number | null {
    const pid = this.#host.pidOf(node);
    return pid !== null && this.#host.isRunning(node, pid) && this.#host.isTrusted(node, pid) ? pid : null;
  }

  /**
   * Starts every node; resolves when each is ready or has failed. A node's failure is in its outcome and
   * rejects nothing.
   */
  async start(): Promise<NodeOutcome[]> {
    const starting = this.#startAll(this.nodes);
    const outcomes: NodeOutcome[] = [];
    for (const [n, node] of this.nodes.entries()) {
      this.#events.onNodeStart?.(node);
      outcomes.push(await this.#outcomeOf(node, starting[n]!));
    }
    return outcomes;
  }

  /** Sends a signal to every running node, without waiting for its end. */
  stop(signal: SignalName = "SIGTERM"): Promise<NodeOutcome[]> {
    return this.#stopNodes(signal, { isWaiting: false, isRestart: false });
  }

  /**
   * Does the same as `stop`, and waits until every node has ended. Rejects with the abort reason if `signal`
   * of the options aborts meanwhile.
   */
  stopwait(signal: SignalName = "SIGTERM"): Promise<NodeOutcome[]> {
    return this.#stopNodes(signal, { isWaiting: true, isRestart: false });
  }

  /**
   * Stops every node, and starts each as soon as it has ended. Nodes that were down are started too. Rejects
   * as `stopwait` does.
   */
  restart(signal: SignalName = "SIGTERM"): Promise<NodeOutcome[]> {
    return this.#stopNodes(signal, { isWaiting: true, isRestart: true });
  }

  /** Kills every running node, and removes pid files that the nodes cannot remove any more. */
  async kill(): Promise<NodeOutcome[]> {
    const outcomes: NodeOutcome[] = [];
    for (const node of this.nodes) {
      const pid = this.#host.pidOf(node);
      if (pid === null) {
        this.#events.onNodeDown?.(node);
        outcomes.push({ name: node.name, status: "down", pid: null });
        continue;
      }
      this.#events.onNodeSignal?.(node, "KILL", pid);
      const status = this.#send(node, pid, "SIGKILL");
      outcomes.push({ name: node.name, status, pid });
    }
    const end = this.#world.clock.monoMs() + KILL_MS;
    for (const { name, status, pid } of outcomes) {
      const node = this.find(name)!;
      while (status === "signalled" && this.#host.isRunning(node, pid!) && this.#world.clock.monoMs() < end) {
        await this.#world.clock.sleep(LOOK_MS);
      }
      this.#host.cleanUp(node);
    }
    return outcomes;
  }

  async #stopNodes(
    signal: SignalName,
    { isWaiting, isRestart }: { isWaiting: boolean; isRestart: boolean },
  ): Promise<NodeOutcome[]> {
    const outcomes = new Map<Node, NodeOutcome>();
    const starts = new Map<Node, Promise<Started>>();
    const limit = this.#limit();
    const down = (node: Node, outcome: NodeOutcome) => {
      outcomes.set(node, outcome);
      this.#host.cleanUp(node);
      if (isRestart) starts.set(node, limit(() => this.#startOne(node)));
      else this.#events.onNodeDown?.(node);
    };
    const up = new Map<Node, number>();
    for (const node of this.nodes) {
      const pid = this.#host.pidOf(node);
      if (pid === null) down(node, { name: node.name, status: "down", pid: null });
      else up.set(node, pid);
    }
    if (up.size > 0) {
      this.#events.onStoppingPreamble?.([...up.keys()]);
      this.#sendAll(up, signal, outcomes, down);
      if (isWaiting && up.size > 0) await this.#wait(up, down);
    }
    if (isRestart) {
      for (const node of this.nodes) {
        const starting = starts.get(node);
        if (!starting) continue;
        this.#events.onNodeRestart?.(node);
        outcomes.set(node, await this.#outcomeOf(node, starting));
      }
    }
    return this.nodes.map((node) => outcomes.get(node)!);
  }

  /** Signals nodes, and removes from `up` those that need no wait. */
  #sendAll(
    up: Map<Node, number>,
    signal: SignalName,
    outcomes: Map<Node, NodeOutcome>,
    down: (node: Node, outcome: NodeOutcome) => void,
  ): void {
    for (const [node, pid] of [...up]) {
      this.#events.onSendSignal?.(node, signal.replace(/^SIG/, ""), pid);
      const status = this.#send(node, pid, signal);
      const outcome: NodeOutcome = { name: node.name, status, pid };
      if (status === "signalled") {
        outcomes.set(node, outcome);
        continue;
      }
      up.delete(node);
      if (status === "down") down(node, outcome);
      else outcomes.set(node, outcome);
    }
  }

  #send(node: Node, pid: number, signal: SignalName): "signalled" | "down" | "refused" {
    if (this.#host.isRunning(node, pid)) {
      if (!this.#host.isTrusted(node, pid)) {
        this.#events.onNodeForeign?.(node, pid);
        return "refused";
      }
      if (this.#host.signal(pid, signal)) return "signalled";
      if (this.#host.isRunning(node, pid)) {
        this.#events.onNodeRefused?.(node, pid);
        return "refused";
      }
    }
    this.#events.onNodeSignalDead?.(node, pid);
    return "down";
  }

  async #wait(up: Map<Node, number>, down: (node: Node, outcome: NodeOutcome) => void): Promise<void> {
    const { clock } = this.#world;
    const showWaiting = () => {
      if (up.size > 0) this.#events.onStillWaitingFor?.([...up.keys()], [...up.values()]);
    };
    showWaiting();
    let shownMs = -Infinity;
    while (up.size > 0) {
      if (clock.monoMs() - shownMs >= PROGRESS_MS) {
        shownMs = clock.monoMs();
        this.#events.onStillWaitingProgress?.([...up.keys()]);
      }
      for (const [node, pid] of [...up]) {
        if (this.#host.isRunning(node, pid)) continue;
        up.delete(node);
        this.#events.onNodeShutdownOk?.(node);
        down(node, { name: node.name, status: "stopped", pid });
        showWaiting();
      }
      if (up.size > 0) await clock.sleep(LOOK_MS, this.#signal ?? undefined);
    }
    this.#events.onStillWaitingEnd?.();
  }

  #startAll(nodes: readonly Node[]): Promise<Started>[] {
    const limit = this.#limit();
    return nodes.map((node) => limit(() => this.#startOne(node)));
  }

  async #startOne(node: Node): Promise<Started> {
    const { outcome, signal } = await this.#host.start(node, this.#signal);
    return { outcome, signal };
  }

  async #outcomeOf(node: Node, starting: Promise<Started>): Promise<NodeOutcome> {
    this.#events.onChildSpawn?.(node, this.#host.commandLine(node));
    const { outcome, signal } = await starting;
    if (outcome.status === "failed") this.#events.onChildFailure?.(node, outcome, signal);
    this.#events.onNodeStatus?.(node, outcome);
    return outcome;
  }

  /** Returns a function that runs work in order, a limited number at a time. */
  #limit(): <T>(work: () => Promise<T>) => Promise<T> {
    let free = Math.max(2, this.#world.host.cpus * STARTS_PER_CPU);
    const waiting: Disarm[] = [];
    return async (work) => {
      if (free > 0) free--;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await work();
      } finally {
        const next = waiting.shift();
        if (next) next();
        else free++;
      }
    };
  }
}

interface Started {
  readonly outcome: NodeOutcome;
  readonly signal: string | null;
}

function nodeOf(
  name: string,
  options: NodeOptions,
  place: { pidfile: string; logfile: string; folder: string },
): Node {
  return new Node({
    name,
    options,
    passThrough: [],
    cmd: null,
    append: null,
    defaults: place,
    folder: place.folder,
  });
}
