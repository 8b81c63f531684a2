/**
 * Asks workers about themselves and keeps their replies. Workers reply at once, so a request waits for its
 * timeout only if a worker is silent. Simultaneous requests for the same share one reply.
 *
 * Source: flower inspector.py (methods, and what is kept of them).
 */

import { errorText, forgetOldest, isRecord } from "../../base/mod.ts";
import type { Cluster } from "./cluster.ts";

/** The inspect commands that are sent. */
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
/** An inspect command. */
export type Method = (typeof METHODS)[number];

/** Replies of one worker; `timestamp` is when the last one came, seconds. */
export type WorkerInfo = { [M in Method]?: unknown } & { timestamp?: number };

/** The commands whose replies lists of workers and queues show: sent to all workers periodically. */
const LIGHT: readonly Method[] = ["stats", "active_queues", "active", "reserved"];
/** Interval between two such requests. */
const LIGHT_EVERY_MS = 10_000;

/** Asks workers and keeps their replies. */
export class Inspector {
  readonly #cluster: Cluster;
  readonly workers = new Map<string, WorkerInfo>();
  /** Whether a worker answered the last time it was asked by name for everything. */
  readonly answered = new Map<string, boolean>();
  readonly #asking = new Map<string, Promise<void>>();
  #lightAtMs = 0;
  #hasHeardAll = false;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Asks a worker, or all (null), and stores the replies in `workers`. Rejects if the broker is away. */
  async refresh(worker: string | null, methods: readonly Method[] = METHODS): Promise<void> {
    const before = worker === null ? undefined : this.workers.get(worker)?.timestamp;
    await Promise.all(methods.map((method) => this.#ask(worker, method)));
    if (worker === null || methods !== METHODS) return;
    this.answered.set(worker, this.workers.get(worker)?.timestamp !== before);
    forgetOldest(this.answered, this.#cluster.options.maxWorkers);
  }

  /**
   * Asks all workers for the data that lists show, at most every 10 s, or every 2 s while a worker is new.
   * Does not wait for the replies.
   */
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

  /** Asks all workers for that data now. Rejects if the broker is away. */
  async refreshLight(): Promise<void> {
    this.#lightAtMs = this.#cluster.world.clock.monoMs() + LIGHT_EVERY_MS;
    await this.refresh(null, LIGHT);
    this.#hasHeardAll = true;
  }

  /** True once all workers were asked and had time to reply. */
  get hasHeardAll(): boolean {
    return this.#hasHeardAll;
  }

  /** True if any worker reported its reserved tasks. */
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

/** Returns the names of the queues that a worker consumes; null if it has not reported them. */
export function consumedQueues({ active_queues: queues }: WorkerInfo): string[] | null {
  return Array.isArray(queues) ? queues.filter(isRecord).map(({ name }) => String(name)) : null;
}

/** Removes the broker's alternate URLs from statistics, since they contain passwords. */
function withoutAlternates(stats: unknown): unknown {
  if (!isRecord(stats) || !isRecord(stats["broker"])) return stats;
  const { alternates: _, ...broker } = stats["broker"];
  return { ...stats, broker };
}
