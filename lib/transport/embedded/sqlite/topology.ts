/** Exchanges and bindings of the embedded broker. */

import type { Database, Row } from "../../../sqlite/mod.ts";
import type { Binding, Exchange, ExchangeType, Queue } from "../../entity.ts";
import { bindingOf, RoutingTable } from "../../routing.ts";
import type { TopologyStore } from "../store.ts";
import type { SqliteMessages } from "./messages.ts";

/** The tables broker_exchange and broker_binding. A number in broker_counter changes with them. */
export class SqliteTopology implements TopologyStore {
  readonly #database: Database;
  readonly #messages: SqliteMessages;
  #routing = new RoutingTable();
  /** The number with which `#routing` was read. */
  #version = 0;

  constructor(database: Database, messages: SqliteMessages) {
    this.#database = database;
    this.#messages = messages;
  }

  /** Called after a rollback: what was read in the transaction may be wrong. */
  reset(): void {
    this.#version = 0;
  }

  declareExchange({ name, type }: Exchange): void {
    if (name === "") return;
    const known = this.#database.get("SELECT type FROM broker_exchange WHERE name = ?", name);
    if (known?.["type"] === type) return;
    this.#database.run(
      "INSERT INTO broker_exchange VALUES (?, ?) ON CONFLICT DO UPDATE SET type = excluded.type",
      name,
      type,
    );
    this.#changed();
  }

  declareQueue(queue: Queue): number {
    this.declareExchange(queue.exchange);
    this.#messages.makeQueue(queue.name);
    const binding = bindingOf(queue);
    if (binding) {
      const added = this.#database.run(
        "INSERT OR IGNORE INTO broker_binding VALUES (?, ?, ?)",
        binding.exchange,
        binding.routingKey,
        binding.queue,
      );
      if (added > 0) this.#changed();
    }
    return this.#messages.length(queue.name) ?? 0;
  }

  deleteQueue(name: string): void {
    this.#messages.deleteQueue(name);
    if (this.#database.run("DELETE FROM broker_binding WHERE queue = ?", name) > 0) this.#changed();
  }

  routing(): RoutingTable {
    const version = this.#database.get("SELECT topology FROM broker_counter")!["topology"] as number;
    if (version !== this.#version) {
      const routing = new RoutingTable();
      for (const row of this.#database.all("SELECT name, type FROM broker_exchange")) {
        routing.setExchange(row["name"] as string, row["type"] as ExchangeType);
      }
      for (const row of this.#database.all("SELECT exchange, routing_key, queue FROM broker_binding")) {
        routing.bind(bindingRow(row));
      }
      this.#routing = routing;
      this.#version = version;
    }
    return this.#routing;
  }

  bindings(): Binding[] {
    const subscribers = this.#database.all(
      "SELECT exchange, routing_key, queue FROM broker_listener WHERE is_subscriber = 1 ORDER BY exchange, queue",
    );
    const bound = this.#database.all("SELECT exchange, routing_key, queue FROM broker_binding");
    return bound.concat(subscribers).map(bindingRow);
  }

  #changed(): void {
    this.#database.run("UPDATE broker_counter SET topology = topology + 1");
  }
}

function bindingRow(row: Row): Binding {
  return {
    queue: row["queue"] as string,
    exchange: row["exchange"] as string,
    routingKey: row["routing_key"] as string,
  };
}
