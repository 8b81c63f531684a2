/**
 * Connects to the master of a slot: asks the seeds in order, connects to the node that they name, and follows
 * its redirections.
 */

import {
  type Address,
  ConnectionLost,
  DialError,
  errorText,
  type OperatingError,
  ProtocolError,
  ServerError,
  type World,
} from "../base/mod.ts";
import type { Credentials } from "../net/mod.ts";
import { RespError } from "../wire/mod.ts";
import {
  addressAt,
  type ClusterNode,
  loadSlotOf,
  readSlots,
  redirectionOf,
  type SlotRange,
} from "./cluster.ts";
import { RedisConnection, type RedisConnectionOptions, type RedisTarget } from "./connection.ts";
import { toOperatingError } from "./errors.ts";

/** How many redirections are followed to find a slot's master. */
const REDIRECTIONS_MAX = 5;
/** The pause before asking again if a slot has no master. An election takes about a second. */
const ELECTION_PAUSE_MS = 100;
const NO_CLUSTER = "the server is not in cluster mode; use redis:// for it";

/** The slot whose master is wanted, and how to log in. */
export interface ClusterQuestion {
  /** At least one; tried in order. */
  readonly seeds: readonly Address[];
  /** The key whose slot is meant. */
  readonly key: string;
  readonly username: string | null;
  readonly password: string | null;
  /** Rotating credentials; null: `username` and `password`. */
  readonly credentials: Credentials | null;
}

/** An open connection to the master of a slot. */
export interface ClusterMaster {
  readonly target: RedisTarget;
  readonly connection: RedisConnection;
}

/**
 * Opens a connection to the master of a key's slot. While the cluster elects one, tries again until
 * `timeoutMs` has passed. Rejects with DialError (which contains each seed's answer), AccessRefused,
 * ServerError (not a cluster), or with the signal's reason.
 */
export async function openClusterMaster(
  world: World,
  question: ClusterQuestion,
  options: RedisConnectionOptions,
): Promise<ClusterMaster> {
  const slotOf = await loadSlotOf();
  const slot = slotOf(question.key);
  const untilMs = world.clock.monoMs() + options.timeoutMs;
  for (;;) {
    try {
      const ranges = await askSeeds(world, question, options);
      const range = ranges.find(({ from, to }) => from <= slot && slot <= to);
      if (range === undefined) throw electing(`slot ${slot} of "${question.key}" has no master`);
      return await openMaster(world, question, range, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      const isPassing = error instanceof DialError || error instanceof ConnectionLost ||
        (error instanceof ServerError && error.isRetryable);
      if (!isPassing || world.clock.monoMs() + ELECTION_PAUSE_MS > untilMs) throw error;
      await world.clock.sleep(ELECTION_PAUSE_MS, options.signal);
    }
  }
}

/** Connects to the presumed master and follows its MOVED replies. */
async function openMaster(
  world: World,
  question: ClusterQuestion,
  range: SlotRange,
  options: RedisConnectionOptions,
): Promise<ClusterMaster> {
  let node = range.master;
  for (let hop = 0; hop <= REDIRECTIONS_MAX; hop++) {
    const target = targetAt(question, node, range.replicas.length);
    const connection = await RedisConnection.open(world, target, options);
    const reply = await connection.ask(["EXISTS", question.key]);
    // ASK comes while the slot is being moved: it still belongs to this node.
    if (!(reply instanceof RespError) || reply.code === "ASK") return { target, connection };
    await connection.close(0);
    const next = reply.code === "MOVED" ? redirectionOf(reply, node.host) : null;
    if (next === null) throw refused(reply);
    node = next;
  }
  throw electing("its nodes disagree about who is the master");
}

function targetAt(question: ClusterQuestion, node: ClusterNode, replicas: number): RedisTarget {
  const { username, password, credentials } = question;
  const address = addressAt(question.seeds[0]!, node);
  return { address, username, password, credentials, db: 0, cluster: { replicas } };
}

/** Returns the reply to CLUSTER SLOTS of the first seed that gives one. */
async function askSeeds(
  world: World,
  question: ClusterQuestion,
  options: RedisConnectionOptions,
): Promise<SlotRange[]> {
  const { seeds, username, password, credentials } = question;
  const refusals: { where: string; error: unknown }[] = [];
  for (const address of seeds) {
    options.signal?.throwIfAborted();
    const where = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
    try {
      await using connection = await RedisConnection.open(
        world,
        { address, username, password, credentials, db: 0 },
        { ...options, bulk: "text", onPush: () => {} },
      );
      const reply = await connection.ask(["CLUSTER", "SLOTS"]);
      if (reply instanceof RespError) throw refused(reply);
      const asked = address.kind === "unix" ? { host: "127.0.0.1", port: 0 } : address;
      const ranges = readSlots(reply, asked);
      if (ranges.length > 0) return ranges;
      refusals.push({ where, error: "it knows no slots" });
    } catch (error) {
      options.signal?.throwIfAborted();
      refusals.push({ where, error });
    }
  }
  throw noSeed(refusals);
}

function refused(reply: RespError): OperatingError {
  if (/cluster support disabled/i.test(reply.text)) {
    return new ServerError(`Cannot use it as a cluster: ${NO_CLUSTER}`, { code: "ERR" });
  }
  return toOperatingError(reply, "use the cluster");
}

/** Returns the first error that a retry cannot mend, else a DialError with each seed's answer. */
function noSeed(refusals: readonly { where: string; error: unknown }[]): Error {
  for (const { error } of refusals) {
    const isDial = error instanceof DialError || error instanceof ProtocolError;
    if (error instanceof Error && !isDial && !(error as OperatingError).isRetryable) return error;
  }
  const answers = refusals.map(({ where, error }) => `${where}: ${errorText(error)}`).join("; ");
  return new DialError(`Cannot find the cluster through any of its nodes: ${answers}`, { isRetryable: true });
}

function electing(why: string): ServerError {
  return new ServerError(`Cannot use the cluster now: ${why}`, { code: "CLUSTERDOWN", isRetryable: true });
}
