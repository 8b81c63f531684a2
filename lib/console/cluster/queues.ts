/** Queues as the API shows them: what waits, from the broker; who consumes, from the workers' answers. */

import { atMost, isRecord, OperatingError } from "../../base/mod.ts";
import { type Connection, DEAD_LETTERS_MAX } from "../../transport/mod.ts";
import { decodeEnvelope, DecodeError } from "../../wire/mod.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import { consumedQueues, type Inspector, type WorkerInfo } from "./inspector.ts";
import type { ManagedQueue } from "./management.ts";

type List = Shape<"QueueList">;

/** Parked messages looked at. */
const PARKED_MAX = 10_000;
/** How long an answer is good for the next who asks. */
const KEPT_MS = 1000;
/**
 * Between two looks for queues that nobody named, and at least so many times as long as the last one took: on Redis the
 * whole keyspace is gone through, which is to be 2 % of a server's time at most.
 */
const NAMES_EVERY_MS = 15_000;
const NAMES_REST = 50;
/** How long a look at the queues waits for those that nobody named. */
const NAMES_PATIENCE_MS = 200;
/** How long a page waits for what it has an older answer to. */
const PATIENCE_MS = 80;

/** Looks into queues; whoever asks within a second shares the answer. */
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

  /** Consumers by queue as the broker counted them last; empty for brokers that do not count. */
  readonly brokerConsumers: Map<string, number> = new Map();

  /** The last answer, however old. */
  get last(): List {
    return this.#last;
  }

  /**
   * Queues as a page shows them: those of the last look if a new one takes long, which are there next. Rejects as
   * `list` does.
   */
  async shown(): Promise<List> {
    const looking = this.list();
    const isLate = Number.isFinite(this.#atMs) &&
      !await atMost(this.#cluster.world.clock, PATIENCE_MS, looking);
    return isLate ? this.#last : await looking;
  }

  /** Queues, by name. Rejects if the broker is away. */
  async list(): Promise<List> {
    if (this.#cluster.world.clock.monoMs() - this.#atMs < KEPT_MS) return this.#last;
    return await (this.#looking ??= this.#look().finally(() => this.#looking = null));
  }

  /** Names of the queues that workers consume; of the App's own if there are none. Source: flower views. */
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
        ? "RabbitMQ does not show what its messages are: their age is not known."
        : null,
    };
  }

  /** The queues that the broker has, as it told lately. */
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
      // Too old to be asked for lists alone, or gone: what workers consume is known without.
      if (!(error instanceof OperatingError)) throw error;
    }
    const endedMs = clock.monoMs();
    this.#findAgainMs = endedMs + Math.max(NAMES_EVERY_MS, NAMES_REST * (endedMs - beganMs));
  }

  /** How long ago the task of an envelope was sent, as far as events told of it. */
  #age(envelope: string | null): number | null {
    if (envelope === null) return null;
    const sent = sentAt(envelope, this.#cluster);
    return sent === null ? null : Math.max(0, this.#cluster.world.clock.wallMs() / 1000 - sent);
  }

  /** Workers that are there and consume, by queue; each counts for what `weigh` makes of it. */
  workerCounts(weigh: (info: WorkerInfo) => number = () => 1): Map<string, number> {
    const found = new Map<string, number>();
    for (const [worker, info] of this.#inspector.workers) {
      if (!(this.#cluster.workers.get(worker)?.alive ?? true)) continue;
      for (const name of consumedQueues(info) ?? []) found.set(name, (found.get(name) ?? 0) + weigh(info));
    }
    return found;
  }

  /** Tasks that workers hold, by queue, as far as they were asked. */
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

/** Queues of tasks, of all that the management API names. */
function managedNames(managed: ReadonlyMap<string, ManagedQueue>): string[] {
  return [...managed].filter(([, one]) => one["exclusive"] !== true && one["auto_delete"] !== true)
    .map(([name]) => name);
}

/** Queues of one process and of our own: replies, remote control, events, delays, leases, dead letters. */
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

/** How many of some messages belong to each queue; null: the broker has none of the kind. Adds names it finds. */
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
