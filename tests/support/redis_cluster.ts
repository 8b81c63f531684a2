/**
 * A Redis Cluster for one test: three masters and three replicas on free ports of 127.0.0.1; ended with the
 * test.
 */

import type { Signer } from "./certificates.ts";
import { eventually, freePort } from "./ports.ts";
import { type RedisServer, startRedis } from "./servers.ts";

/** Six servers that form a cluster. */
export interface RedisCluster extends AsyncDisposable {
  /** First the original masters, then their replicas in the same order. */
  readonly nodes: readonly RedisServer[];
  /** Returns `redis-cluster://` with every node, and the query if one is given. */
  url(query?: string): string;
  /** Returns `rediss-cluster://` with every node and verification of certificates; needs `tls`. */
  secureUrl(): string;
  /** Returns the present master of a key's slot. */
  masterOf(key: string): Promise<RedisServer>;
  /** Returns a replica that follows a node now. */
  replicaOf(master: RedisServer): Promise<RedisServer>;
  /** Runs redis-cli in cluster mode (`-c`) on a live node. */
  cli(...args: string[]): Promise<string>;
  /** Resolves when every slot has a master, and every live node agrees. */
  untilHealthy(): Promise<void>;
  /** Kills a master (SIGKILL) and resolves when its replica is the master. */
  killMaster(master: RedisServer): Promise<RedisServer>;
  /** Restarts a killed node and resolves when it follows as a replica. */
  revive(node: RedisServer): Promise<void>;
  /** Makes a master's replica take over in order (CLUSTER FAILOVER). */
  failOver(master: RedisServer): Promise<RedisServer>;
  /** Ends every node. */
  stop(): Promise<void>;
  /** Moves the slot of a key, with its keys, to another master; pauses `pauseMs` between keys. */
  moveSlot(key: string, to: RedisServer, pauseMs?: number): Promise<void>;
}

/** Options of a cluster. */
export interface RedisClusterOptions {
  readonly password?: string;
  /**
   * Every node also listens for TLS with this certificate for 127.0.0.1, and nodes use it among themselves.
   */
  readonly tls?: Signer;
  /** Added to each node's command line. */
  readonly args?: readonly string[];
}

const MASTERS = 3;
const SLOTS = 16_384;

/** Starts the cluster; fails after a minute. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const busPorts: number[] = [];
  const tlsPorts: number[] = [];
  const nodes = await startNodes(options, busPorts, tlsPorts);
  const cluster = new Cluster(nodes, options, tlsPorts);
  try {
    await join(cluster, options.tls ? tlsPorts : nodes.map(({ port }) => port), busPorts);
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
  return cluster;
}

async function startNodes(
  options: RedisClusterOptions,
  busPorts: number[],
  tlsPorts: number[],
): Promise<RedisServer[]> {
  const starting = Array.from({ length: MASTERS * 2 }, () => {
    const [busPort, tlsPort] = [freePort(), freePort()];
    busPorts.push(busPort);
    tlsPorts.push(tlsPort);
    return startRedis({
      ...(options.password === undefined ? {} : { password: options.password }),
      args: [
        ...["--cluster-enabled", "yes", "--cluster-port", String(busPort)],
        ...["--cluster-node-timeout", "5000", "--cluster-replica-validity-factor", "0"],
        ...["--repl-diskless-sync-delay", "0", "--enable-debug-command", "local"],
        ...(options.password === undefined ? [] : ["--masterauth", options.password]),
        ...(options.tls === undefined ? [] : tlsArgs(options.tls, tlsPort)),
        ...options.args ?? [],
      ],
    });
  });
  const started = await Promise.allSettled(starting);
  const nodes = started.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
  const failed = started.find((one) => one.status === "rejected");
  if (failed === undefined) return nodes;
  await Promise.all(nodes.map((node) => node.stop()));
  throw failed.reason;
}

function tlsArgs({ key, certificate }: Signer, port: number): string[] {
  return [
    ...["--tls-port", String(port), "--tls-cluster", "yes", "--tls-replication", "yes"],
    ...["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate],
    ...["--tls-auth-clients", "no"],
  ];
}

/** `ports`: the ports under which nodes know each other. */
async function join(
  cluster: Cluster,
  ports: readonly number[],
  busPorts: readonly number[],
): Promise<void> {
  const { nodes } = cluster;
  await Promise.all(nodes.map((node, n) => ok(node, "cluster", "set-config-epoch", String(n + 1))));
  for (let n = 0; n < MASTERS; n++) {
    const [from, to] = [Math.ceil(n * SLOTS / MASTERS), Math.ceil((n + 1) * SLOTS / MASTERS) - 1];
    await ok(nodes[n]!, "cluster", "addslotsrange", String(from), String(to));
  }
  for (let n = 1; n < nodes.length; n++) {
    await ok(nodes[0]!, "cluster", "meet", "127.0.0.1", String(ports[n]), String(busPorts[n]));
  }
  for (let n = 0; n < MASTERS; n++) {
    const master = await nodes[n]!.cli("cluster", "myid");
    const replica = nodes[MASTERS + n]!;
    await eventually(
      async () => await replica.cli("cluster", "replicate", master) === "OK",
      "a replica knows its master",
      { everyMs: 50 },
    );
  }
  await cluster.untilHealthy();
}

async function ok(node: RedisServer, ...args: string[]): Promise<void> {
  const answer = await node.cli(...args);
  if (answer !== "OK") throw new Error(`${args.join(" ")}: ${answer}`);
}

class Cluster implements RedisCluster {
  readonly nodes: readonly RedisServer[];
  #password: string | null;
  #tls: Signer | null;
  #tlsPorts: readonly number[];
  #dead = new Set<RedisServer>();

  constructor(nodes: readonly RedisServer[], options: RedisClusterOptions, tlsPorts: readonly number[]) {
    this.nodes = nodes;
    this.#password = options.password ?? null;
    this.#tls = options.tls ?? null;
    this.#tlsPorts = tlsPorts;
  }

  get #living(): RedisServer[] {
    return this.nodes.filter((node) => !this.#dead.has(node));
  }

  url(query = ""): string {
    return this.#url("redis-cluster", this.nodes.map(({ port }) => port), query);
  }

  secureUrl(): string {
    if (this.#tls === null) throw new Error("the cluster was started without tls");
    const ca = encodeURIComponent(this.#tls.certificate);
    return this.#url("rediss-cluster", this.#tlsPorts, `?ssl_cert_reqs=required&ssl_ca_certs=${ca}`);
  }

  #url(scheme: string, ports: readonly number[], query: string): string {
    const login = this.#password === null ? "" : `:${encodeURIComponent(this.#password)}@`;
    return `${scheme}://${login}${ports.map((port) => `127.0.0.1:${port}`).join(",")}/0${query}`;
  }

  async masterOf(key: string): Promise<RedisServer> {
    const slot = Number(await this.#living[0]!.cli("cluster", "keyslot", key));
    const lines = (await this.#table()).filter((line) => line.flags.includes("master"));
    const line = lines.find((one) => one.ranges.some(([from, to]) => from <= slot && slot <= to));
    if (line === undefined) throw new Error(`slot ${slot} has no master`);
    return this.#nodeAt(line.port);
  }

  async replicaOf(master: RedisServer): Promise<RedisServer> {
    const id = await master.cli("cluster", "myid");
    const line = (await this.#table()).find((one) => one.master === id && !one.flags.includes("fail"));
    if (line === undefined) throw new Error(`${master.port} has no replica`);
    return this.#nodeAt(line.port);
  }

  async cli(...args: string[]): Promise<string> {
    return await this.#living[0]!.cli("-c", ...args);
  }

  async untilHealthy(): Promise<void> {
    await eventually(
      async () => {
        for (const node of this.#living) {
          const info = await node.cli("cluster", "info");
          if (!/cluster_state:ok/.test(info) || !/cluster_slots_assigned:16384/.test(info)) return false;
          if (!/cluster_known_nodes:6/.test(info)) return false;
          const replication = await node.cli("info", "replication");
          if (/role:slave/.test(replication) && !/master_link_status:up/.test(replication)) return false;
          // A node that follows again may still count as failed elsewhere.
          if (this.#dead.size === 0 && /\bfail\b/.test(await node.cli("cluster", "nodes"))) return false;
        }
        return true;
      },
      "the cluster is well",
      { everyMs: 50 },
    );
  }

  async killMaster(master: RedisServer): Promise<RedisServer> {
    const replica = await this.replicaOf(master);
    this.#dead.add(master);
    await master.kill();
    await this.#becomesMaster(replica);
    return replica;
  }

  async revive(node: RedisServer): Promise<void> {
    await node.restart(0);
    this.#dead.delete(node);
    await eventually(
      async () => {
        const info = await node.cli("info", "replication");
        return /role:slave/.test(info) && /master_link_status:up/.test(info);
      },
      "the node follows",
      { everyMs: 50 },
    );
    await this.untilHealthy();
  }

  async failOver(master: RedisServer): Promise<RedisServer> {
    const replica = await this.replicaOf(master);
    await ok(replica, "cluster", "failover");
    await this.#becomesMaster(replica);
    return replica;
  }

  async moveSlot(key: string, to: RedisServer, pauseMs = 0): Promise<void> {
    const from = await this.masterOf(key);
    const slot = await from.cli("cluster", "keyslot", key);
    const [fromId, toId] = [await from.cli("cluster", "myid"), await to.cli("cluster", "myid")];
    await ok(to, "cluster", "setslot", slot, "importing", fromId);
    await ok(from, "cluster", "setslot", slot, "migrating", toId);
    for (;;) {
      const keys = (await from.cli("cluster", "getkeysinslot", slot, "1")).split("\n").filter(Boolean);
      if (keys.length === 0) break;
      const login = this.#password === null ? [] : ["auth", this.#password];
      await from.cli("migrate", "127.0.0.1", String(to.port), "", "0", "10000", ...login, "keys", ...keys);
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    for (const node of [to, from, ...this.#living]) {
      if ((await node.cli("role")).startsWith("master")) {
        await ok(node, "cluster", "setslot", slot, "node", toId);
      }
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #becomesMaster(node: RedisServer): Promise<void> {
    await eventually(
      async () => (await node.cli("role")).startsWith("master"),
      "the replica is the master",
      // If a slow machine misses an election, it is repeated after 20 s.
      { everyMs: 20 },
    );
  }

  #nodeAt(port: number): RedisServer {
    return this.nodes.find((node) => node.port === port)!;
  }

  /** Returns CLUSTER NODES, parsed. */
  async #table(): Promise<{ port: number; flags: string[]; master: string; ranges: [number, number][] }[]> {
    const text = await this.#living[0]!.cli("cluster", "nodes");
    return text.split("\n").filter(Boolean).map((line) => {
      const [, address, flags, master, , , , , ...slots] = line.split(" ");
      const ranges = slots.filter((one) => !one.startsWith("[")).map((one): [number, number] => {
        const [from, to] = one.split("-").map(Number);
        return [from!, to ?? from!];
      });
      const port = Number(/:(\d+)@/.exec(address!)![1]);
      return { port, flags: flags!.split(","), master: master!, ranges };
    });
  }
}
