/** Queues as the API shows them: messages from the broker, consumers from workers' replies. */

import { atMost, isRecord, OperatingError } from "../../base/mod.ts";
import { type Connection, DEAD_LETTERS_MAX } from "../../transport/mod.ts";
import { decodeEnvelope, DecodeError } from "../../wire/mod.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import { consumedQueues, type Inspector, type WorkerInfo } from "./inspector.ts";
import type { ManagedQueue } from "./management.ts";

type List = Shape<"QueueList">;

/** Parked messages read. */
const PARKED_MAX = 10_000;
/** How long a list is reused for further requests. */
const KEPT_MS = 1000;
/**
 * Interval between two searches for queues that neither workers nor the App name, and at least so many times
 * the duration of the last search: on Redis it scans the whole keyspace, and may take at most 2 % of the
 * server's time.
 */
const NAMES_EVERY_MS = 15_000;
const NAMES_REST = 50;
/** How long listing the queues waits for that search. */
const NAMES_PATIENCE_MS = 200;
/** How long a page waits for a new list if there is an older one. */
const PATIENCE_MS = 80;

/** Lists queues; requests within a second share one list. */
export class QueueWatch {
  readonly #cluster: Cluster;
  readonly #inspector: Inspector;
  #last: List = { rows: [], dead: null, failed: null, why: null };
  #atMs = -Infinity;
  #looking: Promise<List> | null = null;
  #found: readonly string[] = [];
  #finding: Promise<void> | null = null;
  #findAgainMs = -Infinity;

  constructor(cluster: Cluster, inspector: Inspector) {
    this.#cluster = cluster;
    this.#inspector = inspector;
  }

  /** Consumers by queue as the broker last counted them; empty for brokers that do not count. */
  readonly brokerConsumers: Map<string, number> = new Map();

  /** The last list, however old. */
  get last(): List {
    return this.#last;
  }

  /**
   * Returns the list for a page: the last one if a new list takes long, which is then ready for the next
   * request. Rejects as `list` does.
   */
  async shown(): Promise<List> {
    const looking = this.list();
    const isLate = Number.isFinite(this.#atMs) &&
      !await atMost(this.#cluster.world.clock, PATIENCE_MS, looking);
    return isLate ? this.#last : await looking;
  }

  /** Returns the queues, sorted by name. Rejects if the broker is away. */
  async list(): Promise<List> {
    if (this.#cluster.world.clock.monoMs() - this.#atMs < KEPT_MS) return this.#last;
    return await (this.#looking ??= this.#look().finally(() => this.#looking = null));
  }

  /** Returns the names of the queues that workers consume, else of the App's queues. Source: flower views. */
  activeNames(): string[] {
    const names = new Set<string>();
    for (const info of this.#inspector.workers.values()) {
      for (const name of consumedQueues(info) ?? []) names.add(name);
    }
    return [...names.size > 0 ? names : this.#cluster.app.amqp.queues.names()].sort();
  }

  async #look(): Promise<List> {
    this.#inspector.refreshSome();
    const connection = await this.#cluster.connection();
    const managed = await this.#cluster.management?.queues() ?? null;
    const names = new Set([
      ...this.activeNames(),
      ...this.#cluster.app.amqp.queues.names(),
      ...(managed === null ? await this.#namesOf(connection) : managedNames(managed)).filter(isForTasks),
    ]);
    const [parked, dead, failed] = await Promise.all([
      countBy(() => connection.parked?.(PARKED_MAX), names),
      countBy(() => connection.deadLetters?.list(DEAD_LETTERS_MAX), names),
      countBy(() => connection.failedTasks?.list(DEAD_LETTERS_MAX), names),
    ]);
    const consumers = this.workerCounts();
    const unacked = this.#unacked();
    const rows: List["rows"] = [];
    this.brokerConsumers.clear();
    for (const name of [...names].sort()) {
      const stats = await connection.queueStats(name);
      const counted = stats?.consumers ?? null;
      if (counted !== null) this.brokerConsumers.set(name, counted);
      const held = unacked.get(name) ?? (this.#inspector.hasAsked ? 0 : null);
      rows.push({
        name,
        ready: stats?.ready ?? null,
        priorities: stats?.priorities.map(({ priority, ready }) => ({ priority, ready })) ?? [],
        unacked: unackedOf(managed?.get(name)) ?? stats?.unacked ?? held,
        parked: parked?.get(name) ?? (parked === null ? null : 0),
        limited: null,
        dead: dead?.get(name) ?? (dead === null ? null : 0),
        failed: failed?.get(name) ?? (failed === null ? null : 0),
        consumers: counted ?? consumers.get(name) ?? (this.#inspector.hasHeardAll ? 0 : null),
        oldest: this.#age(stats?.next ?? null),
        isPaused: null,
      });
    }
    this.#atMs = this.#cluster.world.clock.monoMs();
    return this.#last = {
      rows,
      dead: await countOf(() => connection.deadLetters?.count()),
      failed: await countOf(() => connection.failedTasks?.count()),
      why: connection.transport === "amqp"
        ? "RabbitMQ does not show its messages, so their age is not known."
        : null,
    };
  }

  /** Returns the names of the broker's queues as last searched. */
  async #namesOf(connection: Connection): Promise<readonly string[]> {
    const { clock } = this.#cluster.world;
    if (clock.monoMs() >= this.#findAgainMs) {
      this.#finding ??= this.#find(connection).finally(() => this.#finding = null);
    }
    if (this.#finding !== null) await atMost(clock, NAMES_PATIENCE_MS, this.#finding);
    return this.#found;
  }

  async #find(connection: Connection): Promise<void> {
    const { clock } = this.#cluster.world;
    const beganMs = clock.monoMs();
    try {
      this.#found = await connection.queueNames?.() ?? [];
    } catch (error) {
      // The server is too old for this search, or gone. The queues that workers consume are known without it.
      if (!(error instanceof OperatingError)) throw error;
    }
    const endedMs = clock.monoMs();
    this.#findAgainMs = endedMs + Math.max(NAMES_EVERY_MS, NAMES_REST * (endedMs - beganMs));
  }

  /** Returns how long ago a message's task was sent, if events show it. */
  #age(envelope: string | null): number | null {
    if (envelope === null) return null;
    const sent = sentAt(envelope, this.#cluster);
    return sent === null ? null : Math.max(0, this.#cluster.world.clock.wallMs() / 1000 - sent);
  }

  /** Counts online workers by the queues that they consume; each counts as `weigh` says, 1 by default. */
  workerCounts(weigh: (info: WorkerInfo) => number = () => 1): Map<string, number> {
    const found = new Map<string, number>();
    for (const [worker, info] of this.#inspector.workers) {
      if (!(this.#cluster.workers.get(worker)?.alive ?? true)) continue;
      for (const name of consumedQueues(info) ?? []) found.set(name, (found.get(name) ?? 0) + weigh(info));
    }
    return found;
  }

  /** Counts the tasks that workers hold, by queue, from the workers' last replies. */
  #unacked(): Map<string, number> {
    const found = new Map<string, number>();
    for (const { active, reserved } of this.#inspector.workers.values()) {
      for (const request of [active, reserved].flatMap((all) => Array.isArray(all) ? all : [])) {
        const info = isRecord(request) && isRecord(request["delivery_info"]) ? request["delivery_info"] : {};
        const key = String(info["routing_key"] ?? "");
        found.set(key, (found.get(key) ?? 0) + 1);
      }
    }
    return found;
  }
}

/** Returns the names of those queues of the management API that may hold tasks. */
function managedNames(managed: ReadonlyMap<string, ManagedQueue>): string[] {
  return [...managed].filter(([, one]) => one["exclusive"] !== true && one["auto_delete"] !== true)
    .map(([name]) => name);
}

/** Queues that hold no tasks for workers: replies, remote control, events, delays, leases, dead letters. */
const OF_PROCESS: readonly RegExp[] = [
  /\.pidbox$/,
  /^(celeryev|lovage|amq)\./,
  /celery_delayed_\d+$/,
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/,
];

function isForTasks(name: string): boolean {
  return !OF_PROCESS.some((pattern) => pattern.test(name));
}

function unackedOf(queue: ManagedQueue | undefined): number | null {
  const count = queue?.["messages_unacknowledged"];
  return typeof count === "number" ? count : null;
}

function sentAt(envelope: string, { history }: Cluster): number | null {
  try {
    const { headers } = decodeEnvelope(envelope).message;
    const id = headers["id"];
    if (typeof id !== "string") return null;
    const known = history.task(id)?.state;
    return known?.sent ?? known?.received ?? null;
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/**
 * Counts messages by queue, and adds their queues to `names`; null if the broker has no messages of this
 * kind.
 */
async function countBy(
  list: () => Promise<readonly { readonly queue: string | null }[]> | undefined,
  names: Set<string>,
): Promise<Map<string, number> | null> {
  const all = await list();
  if (all === undefined) return null;
  const counts = new Map<string, number>();
  for (const { queue } of all) {
    if (queue === null) continue;
    names.add(queue);
    counts.set(queue, (counts.get(queue) ?? 0) + 1);
  }
  return counts;
}

async function countOf(count: () => Promise<number> | undefined): Promise<number | null> {
  return await count() ?? null;
}
