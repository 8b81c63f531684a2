/**
 * Redis Cluster: which node is the master of a slot, and where an error reply sends us.
 *
 * A cluster spreads 16 384 slots over its masters, and a key's slot is that of the text between its first braces (its
 * hash tag) or of the whole key. Serverless offers answer the same questions with one endpoint for everything.
 *
 * Source: Redis "Cluster specification" (keys hash tags, MOVED and ASK redirection), command CLUSTER SLOTS.
 */

import type { Address } from "../base/mod.ts";
import type { Reply, RespError } from "../wire/mod.ts";

/** How many slots a cluster has. */
export const SLOTS = 16_384;

/** A node as clients reach it. */
export interface ClusterNode {
  readonly host: string;
  readonly port: number;
}

/** A run of slots, and who serves it. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly master: ClusterNode;
  /** The replicas that answer. */
  readonly replicas: readonly ClusterNode[];
}

/** How a key is turned into its slot, 0 to 16 383. */
export type SlotOf = (key: string) => number;

/** The function that finds a key's slot; node-redis brings it, and it is loaded for clusters alone. */
export async function loadSlotOf(): Promise<SlotOf> {
  const module = await import("@redis/client/dist/lib/utils/calculate-slot.js");
  // CommonJS: the exports are behind `default`.
  return (module as unknown as { default: { default: SlotOf } }).default.default;
}

/** The answer to CLUSTER SLOTS of a node that was reached as `asked`. Ranges without a usable master are left out. */
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

/** A node that does not know its own name is where it was reached; one that hides it ("?") cannot be used. */
function readNode(node: Reply, askedHost: string): ClusterNode | null {
  const [host, port] = Array.isArray(node) ? node : [];
  if (typeof port !== "number" || host === "?") return null;
  return { host: typeof host === "string" && host !== "" ? host : askedHost, port };
}

/** Where an error reply sends a command: `MOVED <slot> <host>:<port>` for good, `ASK …` once. Null: nowhere. */
export function redirectionOf(error: RespError, askedHost: string): ClusterNode | null {
  const match = /^(?:MOVED|ASK) \d+ (\S*):(\d+)$/.exec(error.text);
  return match === null ? null : { host: match[1] || askedHost, port: Number(match[2]) };
}

/** Another node of the cluster that `like` is a node of. */
export function addressAt(like: Address, { host, port }: ClusterNode): Address {
  return { kind: "tcp", host, port, tls: like.kind === "tcp" ? like.tls : null };
}
