/**
 * transport: Celery's view of a broker. One interface and four transports, chosen by the URL.
 *
 *   memory:  one process                           sqlite:  one machine, many processes, durable, no server
 *   redis:   kombu's own keys, with leases         amqp:    RabbitMQ
 *
 * Reading order: entity.ts (exchanges, queues, bindings), message.ts (outgoing, received and kept messages),
 * transport.ts (the interface: Connection, Consumer), failed.ts (tasks that failed for good), ledger.ts
 * (leases and records), url.ts, registry.ts (which kind), routing.ts (exchanges of brokers that do not route
 * themselves); joint.ts (several sockets as one connection); then the transports, none of which imports
 * another.
 *
 * Memory and sqlite: embedded/store.ts (what a store does), embedded/virtual.ts (the connection over either),
 * embedded/consumer.ts (the data lane), embedded/subscriptions.ts, embedded/failed.ts, embedded/ledger.ts. Memory:
 * embedded/memory/store.ts, embedded/memory/messages.ts over embedded/memory/message_queue.ts,
 * embedded/memory/topology.ts, embedded/memory/kept.ts. SQLite: embedded/sqlite/store.ts, embedded/sqlite/schema.ts,
 * then one file for each family of tables: embedded/sqlite/counter.ts, embedded/sqlite/messages.ts,
 * embedded/sqlite/topology.ts, embedded/sqlite/parked.ts, embedded/sqlite/dead.ts, embedded/sqlite/failed.ts,
 * embedded/sqlite/fanouts.ts, embedded/sqlite/ledger.ts, embedded/sqlite/sessions.ts (which processes live);
 * embedded/sqlite/hub.ts (waking other processes).
 *
 * Redis: redis/redis.ts (the connection), redis/options.ts, redis/keys.ts, redis/scripts.ts,
 * redis/envelope.ts, redis/publish.ts with redis/expiry.ts and redis/replica_wait.ts; redis/consumer.ts (the
 * data lane) with redis/fetch.ts, redis/inbox.ts, redis/hand_on.ts (a chain's next step), redis/unacked.ts,
 * redis/lease.ts, redis/sorted.ts, redis/handover.ts (after a cut) and redis/park.ts; redis/fanout.ts,
 * redis/dead.ts and redis/failed.ts over redis/letter.ts, redis/ledger.ts, redis/relatives.ts (servers that
 * are refused); on clusters redis/queue_groups.ts and redis/groups.ts (queues with a hash tag of their own).
 *
 * AMQP: amqp/amqp.ts (the connection), amqp/url.ts, amqp/server.ts (which broker it is), amqp/control.ts (declaring),
 * amqp/message.ts, amqp/publish.ts (confirms), amqp/consumer.ts (the data lane) with amqp/prefetch.ts,
 * amqp/subscription.ts, amqp/delay.ts and amqp/delays.ts (native delayed delivery), amqp/dead.ts, amqp/failed.ts,
 * amqp/ledger.ts.
 *
 * May import base, wire, net, platform, redis, amqp and sqlite. Routes task messages, and never reads their
 * bodies.
 */

export * from "./entity.ts";
export type { FailedEntry, FailedLimits } from "./failed.ts";
export type * from "./ledger.ts";
export * from "./message.ts";
export { connect } from "./registry.ts";
export * from "./transport.ts";
export * from "./url.ts";
