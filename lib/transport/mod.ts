/**
 * transport: Celery's view of a broker. One interface, four kinds, chosen by the URL.
 *
 *   memory:  one process                           sqlite:  one machine, many processes, durable, no server
 *   redis:   kombu's own keys, with leases         amqp:    RabbitMQ
 *
 * Reading order: entity.ts (exchanges and queues), transport.ts (the interface: Connection, Consumer), url.ts,
 * registry.ts (which kind), then the kinds. memory.ts and sqlite.ts are stores under one connection that does the
 * rest for both: routing.ts (exchanges), virtual_store.ts (what a store does), virtual.ts (connection),
 * virtual_consumer.ts (the data lane); memory_line.ts; sqlite_schema.ts, sqlite_statements.ts, sqlite_session.ts
 * (who lives), sqlite_hub.ts (waking other processes). ledger.ts (leases and records), redis_ledger.ts,
 * virtual_ledger.ts, amqp_ledger.ts.
 * Redis: redis.ts (the connection), redis_keys.ts, redis_scripts.ts, redis_publish.ts, redis_consumer.ts (the data
 * lane) with redis_fetch.ts, redis_claim.ts (a chain's next step), redis_unacked.ts, redis_lease.ts, redis_adopt.ts
 * (after a cut) and redis_park.ts; redis_dead.ts.
 * AMQP: amqp.ts (the connection), amqp_url.ts, amqp_control.ts (declaring), amqp_publish.ts (confirms),
 * amqp_message.ts, amqp_consumer.ts (the data lane), amqp_subscription.ts, amqp_delay.ts and amqp_delays.ts (native
 * delayed delivery), amqp_dead.ts.
 *
 * May import base, wire, net, platform, redis and amqp, and node:sqlite. Routes task messages, never looks into them.
 */

export * from "./entity.ts";
export type * from "./ledger.ts";
export { connect } from "./registry.ts";
export * from "./transport.ts";
export * from "./url.ts";
