/** Servers of Redis's family that cannot be a broker. */

import { UsageError } from "../../base/mod.ts";
import { type RedisConnection, UNUSABLE_SERVER } from "../../redis/mod.ts";

/**
 * Refuses KeyDB with active replicas: each of two servers is master to the other, and hands out what the other has
 * handed out already. Throws UsageError with the status of a server that cannot be used.
 *
 * Source: KeyDB documentation "Active Replication"; command ROLE.
 */
export async function refuseActiveReplica(connection: RedisConnection): Promise<void> {
  const reply = connection.role === "active-replica" ? ["active-replica"] : await connection.ask(["ROLE"]);
  // Not allowed to ask (an ACL without @dangerous): then nothing says that it is one.
  if (!Array.isArray(reply) || reply[0] !== "active-replica") return;
  throw new UsageError(
    `Cannot use ${connection.serverName} with active replicas as a broker: two masters would each hand out the same ` +
      'message; use one master ("active-replica no"), or Sentinel',
    { exitCode: UNUSABLE_SERVER },
  );
}
