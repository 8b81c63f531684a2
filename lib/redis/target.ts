/** From a URL to the server to connect to: certificates read, sentinels or a cluster's nodes asked. */

import type { Address, World } from "../base/mod.ts";
import { type Credentials, readTlsOptions } from "../net/mod.ts";
import type { ClusterMaster } from "./cluster_master.ts";
import { RedisConnection, type RedisConnectionOptions, type RedisTarget } from "./connection.ts";
import type { RedisServer } from "./url.ts";

/**
 * The server to connect to now: a master found by sentinels may be another one next time. Rejects with UsageError
 * (certificates) or DialError (no sentinel knows the master). `timeoutMs` is for each sentinel. Of a cluster it is the
 * first node of the URL; `openMaster` finds the one to use.
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

/** What a connection is opened with besides its server. */
export interface OpenOptions extends RedisConnectionOptions {
  /** Of a cluster the master of this key's slot is meant. */
  readonly key: string;
  /** Credentials that rotate; null: those of the URL. */
  readonly credentials: Credentials | null;
}

/**
 * Opens a connection to the server that takes writes now. Rejects as `resolveTarget` and `RedisConnection.open` do, or
 * as `openClusterMaster`; nothing stays open then.
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
