/** From a URL to the server to connect to: reads certificates, and asks sentinels or a cluster's nodes. */

import type { Address, World } from "../base/mod.ts";
import { type Credentials, readTlsOptions } from "../net/mod.ts";
import type { ClusterMaster } from "./cluster_master.ts";
import { RedisConnection, type RedisConnectionOptions, type RedisTarget } from "./connection.ts";
import type { RedisServer } from "./url.ts";

/**
 * Returns the server to connect to now. A master found through sentinels may be another one next time.
 * `timeoutMs` applies to each sentinel. For a cluster it is the first node in the URL; `openMaster` finds the
 * node to use. Rejects with UsageError (certificates) or DialError (no sentinel knows the master).
 */
export async function resolveTarget(
  world: World,
  server: RedisServer,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<RedisTarget> {
  const { username, password, db, place } = server;
  if (place.kind === "unix") return { address: place, username, password, db };
  const at = await addresses(server);
  if (place.kind === "cluster") return { address: at(place.nodes[0]!), username, password, db };
  if (place.kind === "tcp") {
    return { address: at({ host: place.host, port: place.port }), username, password, db };
  }
  const { findMaster } = await import("./sentinel.ts");
  const master = await findMaster(world, { ...place, sentinels: place.nodes.map(at) }, options);
  return { address: at(master), username, password, db };
}

/** The options of `openMaster`. */
export interface OpenOptions extends RedisConnectionOptions {
  /** In a cluster, the master of this key's slot is used. */
  readonly key: string;
  /** Rotating credentials; null: those in the URL. */
  readonly credentials: Credentials | null;
}

/**
 * Opens a connection to the server that accepts writes now. Rejects as `resolveTarget`,
 * `RedisConnection.open` and `openClusterMaster` do; nothing stays open then.
 */
export async function openMaster(
  world: World,
  server: RedisServer,
  { key, credentials, ...options }: OpenOptions,
): Promise<ClusterMaster> {
  if (server.place.kind === "cluster") {
    const seeds = server.place.nodes.map(await addresses(server));
    const { username, password } = server;
    const { openClusterMaster } = await import("./cluster_master.ts");
    return await openClusterMaster(world, { seeds, key, username, password, credentials }, options);
  }
  const target = { ...await resolveTarget(world, server, options), credentials };
  return { target, connection: await RedisConnection.open(world, target, options) };
}

type Place = { readonly host: string; readonly port: number };

async function addresses({ tls }: RedisServer): Promise<(place: Place) => Address> {
  const options = tls === null ? null : await readTlsOptions(tls);
  return ({ host, port }) => ({ kind: "tcp", host, port, tls: options });
}
