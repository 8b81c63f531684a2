/** Relatives of Redis that cannot be a broker. */

import { UsageError } from "../../base/mod.ts";
import { type RedisConnection, UNUSABLE_SERVER } from "../../redis/mod.ts";

/**
 * Refuses KeyDB with active replicas: each of two servers is the other's master, and delivers messages that
 * the other has delivered already. Rejects with UsageError, whose exit status is that of an unusable server.
 *
 * Source: KeyDB documentation "Active Replication"; command ROLE.
 */
export async function refuseActiveReplica(connection: RedisConnection): Promise<void> {
  const reply = connection.role === "active-replica" ? ["active-replica"] : await connection.ask(["ROLE"]);
  // A user who may not call ROLE (an ACL without @dangerous) gets an error reply, and the server is accepted.
  if (!Array.isArray(reply) || reply[0] !== "active-replica") return;
  throw new UsageError(
    `Cannot use ${connection.serverName} with active replicas as a broker: two masters would each deliver the same ` +
      'message; use one master ("active-replica no"), or Sentinel',
    { exitCode: UNUSABLE_SERVER },
  );
}
