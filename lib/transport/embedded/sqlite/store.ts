/**
 * sqlite: the embedded broker. One database file, many processes of one machine, no server.
 *
 * Messages are durable from the moment `publish` resolves. A consumer's messages belong to its session, which
 * ends with its process. Other processes see that at once in the process table (or, if they have another
 * process table, when the lease ends); then they put its messages back at the heads of their queues and count
 * the attempt. Processes wake each other through files (hub.ts), so that an idle one polls only once a
 * second.
 */

import { embeddedDatabasePath, type World } from "../../../base/mod.ts";
import { Database } from "../../../sqlite/mod.ts";
import { priorityStepsOf } from "../../routing.ts";
import type { Connect } from "../../transport.ts";
import type { Store } from "../store.ts";
import { VirtualConnection } from "../virtual.ts";
import { Counter } from "./counter.ts";
import { SqliteDead } from "./dead.ts";
import { SqliteFailed } from "./failed.ts";
import { SqliteFanouts } from "./fanouts.ts";
import { SqliteHub } from "./hub.ts";
import { SqliteLedger } from "./ledger.ts";
import { SqliteMessages } from "./messages.ts";
import { SqliteParked } from "./parked.ts";
import { makeTables } from "./schema.ts";
import { SqliteSessions } from "./sessions.ts";
import { SqliteTopology } from "./topology.ts";

/**
 * How long a process that lives but does not renew its lease (stopped, hung) keeps its messages; kombu's
 * default.
 */
const VISIBILITY_TIMEOUT_SECONDS = 3600;

/** Returns the database as a Store. One per connection. */
function sqliteStore(world: World, database: Database, visibilityMs: number): Store {
  const hub = SqliteHub.open(world, database.path);
  const counter = new Counter(database);
  const messages = new SqliteMessages(database, counter);
  const topology = new SqliteTopology(database, messages);
  const parts = { world, database, counter, hub, messages, topology, visibilityMs, transact };
  const sessions = new SqliteSessions(parts);
  let isClosed = false;
  const store: Store = {
    kind: "sqlite",
    isShared: true,
    messages,
    topology,
    sessions,
    parked: new SqliteParked(database, counter, messages),
    dead: new SqliteDead(database, messages),
    failed: new SqliteFailed(database),
    fanouts: new SqliteFanouts(database, counter),
    ledger: new SqliteLedger(database),
    transact,
    wake: (topics) => hub.wake(topics),
    watch: (topics, onWake) => hub.watch(store, topics, onWake),
    close() {
      if (isClosed) return;
      isClosed = true;
      sessions.abandon();
      hub.close(store);
      database.close();
    },
  };
  return store;

  function transact<T>(fn: () => T): T {
    try {
      return database.transact(() => {
        counter.reset();
        messages.reset();
        const result = fn();
        counter.save();
        return result;
      });
    } catch (error) {
      topology.reset();
      throw error;
    } finally {
      counter.reset();
    }
  }
}

/**
 * Opens the embedded broker of `sqlite://` (default place), `sqlite:///absolute.db` or `sqlite://relative.db`
 * (base/paths.ts), and creates what is missing. Of `broker_transport_options` it reads `priority_steps` and
 * `visibility_timeout` (seconds; default 3600): how long a process that lives but does not renew its lease
 * keeps its messages. Rejects with AccessRefused, ServerError or DialError, whose message is one line with
 * the path.
 */
export const connectSqlite: Connect = async (world, url, options) => {
  options.signal?.throwIfAborted();
  const prioritySteps = priorityStepsOf(options.transportOptions);
  const visibility = options.transportOptions["visibility_timeout"];
  const database = await Database.open({
    path: embeddedDatabasePath(url, world.host),
    clock: world.clock,
    noun: "database",
    whenReplaced: "fail",
    makeTables,
  });
  const visibilitySeconds = typeof visibility === "number" ? visibility : VISIBILITY_TIMEOUT_SECONDS;
  const store = sqliteStore(world, database, visibilitySeconds * 1000);
  return new VirtualConnection(world, store, { url, prioritySteps, clientName: options.clientName });
};
