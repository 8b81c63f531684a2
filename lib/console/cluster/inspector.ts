/**
 * What workers told of themselves when they were asked. A worker answers at once, so that nothing waits for a timeout
 * unless a worker is silent; two who ask for the same at the same time share the answer.
 *
 * Source: flower inspector.py (methods, and what is kept of them).
 */

import { errorText, forgetOldest, isRecord } from "../../base/mod.ts";
import type { Cluster } from "./cluster.ts";

/** The questions. */
const METHODS = [
  "stats",
  "active_queues",
  "registered",
  "scheduled",
  "active",
  "reserved",
  "revoked",
  "conf",
] as const;
/** One of them. */
export type Method = (typeof METHODS)[number];

/** Answers of one worker; `timestamp` is when the last one came, seconds. */
export type WorkerInfo = { [M in Method]?: unknown } & { timestamp?: number };

/** What of a worker hardly changes: asked for when it comes. */
const LIGHT: readonly Method[] = ["stats", "active_queues", "active", "reserved"];
/** Between two such questions to all. */
const LIGHT_EVERY_MS = 10_000;

/** Asks workers, and keeps the answers. */
export class Inspector {
  readonly #cluster: Cluster;
  readonly workers = new Map<string, WorkerInfo>();
  /** Of workers that were asked for everything by name: whether they answered when they last were. */
  readonly answered = new Map<string, boolean>();
  readonly #asking = new Map<string, Promise<void>>();
  #lightAtMs = 0;
  #hasHeardAll = false;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Asks a worker, or all; the answers are in `workers` then. Rejects if the broker is away. */
  async refresh(worker: string | null, methods: readonly Method[] = METHODS): Promise<void> {
    const before = worker === null ? undefined : this.workers.get(worker)?.timestamp;
    await Promise.all(methods.map((method) => this.#ask(worker, method)));
    if (worker === null || methods !== METHODS) return;
    this.answered.set(worker, this.workers.get(worker)?.timestamp !== before);
    forgetOldest(this.answered, this.#cluster.options.maxWorkers);
  }

  /** Asks all for the little that lists show of them, now and then; does not wait. */
  refreshSome(): void {
    const { clock } = this.#cluster.world;
    const isNew = [...this.#cluster.workers.values()].some(({ hostname, alive }) =>
      alive && !this.workers.has(hostname)
    );
    const nowMs = clock.monoMs();
    if (nowMs < (isNew ? this.#lightAtMs - LIGHT_EVERY_MS + 2000 : this.#lightAtMs)) return;
    this.refreshLight().catch((error) =>
      this.#cluster.world.log.debug(`Cannot ask workers: ${errorText(error)}`)
    );
  }

  /** Asks all for that little now. Rejects if the broker is away. */
  async refreshLight(): Promise<void> {
    this.#lightAtMs = this.#cluster.world.clock.monoMs() + LIGHT_EVERY_MS;
    await this.refresh(null, LIGHT);
    this.#hasHeardAll = true;
  }

  /** Whether all workers were asked once, and had the time to answer. */
  get hasHeardAll(): boolean {
    return this.#hasHeardAll;
  }

  /** Whether any worker told what it holds. */
  get hasAsked(): boolean {
    return [...this.workers.values()].some(({ reserved }) => reserved !== undefined);
  }

  #ask(worker: string | null, method: Method): Promise<void> {
    const key = `${method} ${worker ?? ""}`;
    const running = this.#asking.get(key);
    if (running !== undefined) return running;
    const asking = this.#askNow(worker, method).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking;
  }

  async #askNow(worker: string | null, method: Method): Promise<void> {
    const cluster = this.#cluster;
    const args = method === "active"
      ? { safe: true }
      : method === "registered"
      ? { taskinfoitems: [] }
      : method === "conf"
      ? { with_defaults: false }
      : {};
    const replies = await cluster.ask(method, args, worker === null ? undefined : [worker]);
    for (const [node, reply] of Object.entries(replies)) {
      if (isRecord(reply) && "error" in reply) continue;
      let info = this.workers.get(node);
      if (info === undefined) {
        if (this.workers.size >= cluster.options.maxWorkers) continue;
        this.workers.set(node, info = {});
      }
      info[method] = method === "stats" ? withoutAlternates(reply) : reply;
      info.timestamp = cluster.world.clock.wallMs() / 1000;
    }
  }
}

/** The names of the queues that a worker told it consumes; null: it did not tell. */
export function consumedQueues({ active_queues: queues }: WorkerInfo): string[] | null {
  return Array.isArray(queues) ? queues.filter(isRecord).map(({ name }) => String(name)) : null;
}

/** Statistics without the broker's other URLs, which have passwords in them. */
function withoutAlternates(stats: unknown): unknown {
  if (!isRecord(stats) || !isRecord(stats["broker"])) return stats;
  const { alternates: _, ...broker } = stats["broker"];
  return { ...stats, broker };
}
