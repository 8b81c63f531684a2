/**
 * Redis Cluster: the masters of slots, and redirections in error replies.
 *
 * A cluster spreads 16 384 slots over its masters. A key's slot follows from the text between its first
 * braces (its hash tag), or else from the whole key. Serverless services reply to the same commands with one
 * endpoint for all slots.
 *
 * Source: Redis "Cluster specification" (keys hash tags, MOVED and ASK redirection), command CLUSTER SLOTS.
 */

import type { Address } from "../base/mod.ts";
import type { Reply, RespError } from "../wire/mod.ts";

/** The number of slots of a cluster. */
export const SLOTS = 16_384;

/** The address of a node as clients reach it. */
export interface ClusterNode {
  readonly host: string;
  readonly port: number;
}

/** A range of slots and the nodes that serve it. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly master: ClusterNode;
  /** The replicas with a usable address. */
  readonly replicas: readonly ClusterNode[];
}

/** Computes a key's slot, 0 to 16 383. */
export type SlotOf = (key: string) => number;

/** Loads node-redis's function that computes a key's slot. Only clusters need it. */
export async function loadSlotOf(): Promise<SlotOf> {
  const module = await import("@redis/client/dist/lib/utils/calculate-slot.js");
  // CommonJS: the exports are behind `default`.
  return (module as unknown as { default: { default: SlotOf } }).default.default;
}

/** Reads the reply to CLUSTER SLOTS from the node at `asked`. Ranges without a usable master are left out. */
export function readSlots(reply: Reply, asked: ClusterNode): SlotRange[] {
  const ranges: SlotRange[] = [];
  for (const row of Array.isArray(reply) ? reply : []) {
    if (!Array.isArray(row)) continue;
    const [from, to, ...nodes] = row;
    const [master, ...replicas] = nodes.map((node) => readNode(node, asked.host));
    if (typeof from !== "number" || typeof to !== "number" || !master) continue;
    ranges.push({ from, to, master, replicas: replicas.filter((node) => node !== null) });
  }
  return ranges;
}

/**
 * Reads a node's address. An empty host means the host at which we reached the node; a hidden one ("?")
 * cannot be used.
 */
function readNode(node: Reply, askedHost: string): ClusterNode | null {
  const [host, port] = Array.isArray(node) ? node : [];
  if (typeof port !== "number" || host === "?") return null;
  return { host: typeof host === "string" && host !== "" ? host : askedHost, port };
}

/**
 * Returns the node that an error reply redirects to: `MOVED <slot> <host>:<port>` for good, `ASK …` for one
 * command. Null if it redirects nowhere.
 */
export function redirectionOf(error: RespError, askedHost: string): ClusterNode | null {
  const match = /^(?:MOVED|ASK) \d+ (\S*):(\d+)$/.exec(error.text);
  return match === null ? null : { host: match[1] || askedHost, port: Number(match[2]) };
}

/** Returns the address of another node of the cluster to which `like` belongs. */
export function addressAt(like: Address, { host, port }: ClusterNode): Address {
  return { kind: "tcp", host, port, tls: like.kind === "tcp" ? like.tls : null };
}
