import { DatabaseSync } from "node:sqlite";
import { connect } from "../../lib/transport/mod.ts";
import { ConnectionLost } from "../../lib/base/mod.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { transportConformance } from "./transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

transportConformance("sqlite", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lovage-sqlite-" });
  const path = `${folder}/broker.db`;
  const world = realTestWorld();
  return {
    connect: () => connect(world, `sqlite://${path}`, CONNECT_OPTIONS),
    abandon: (connection) => connection.fail!(new ConnectionLost("abandoned")),
    putRaw(queueName, text) {
      using db = new DatabaseSync(path);
      db.exec("BEGIN IMMEDIATE");
      const { id } = db.prepare("UPDATE broker_counter SET next_id = next_id + 1 RETURNING next_id - 1 AS id")
        .get()! as { id: number };
      db.prepare("INSERT INTO broker_message VALUES (?, ?, 0, 0, ?)").run(id, queueName, text);
      db.prepare("INSERT INTO broker_ready VALUES (?, 0, ?, ?)").run(queueName, id, id);
      db.exec("COMMIT");
      return Promise.resolve();
    },
    isZeroFirst: true,
    canPark: true,
    countsAttempts: true,
    knowsListeners: true,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
});
