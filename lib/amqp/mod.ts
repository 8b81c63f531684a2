/**
 * amqp: a client for AMQP 0-9-1 brokers (RabbitMQ). It handles connections, channels and messages; the
 * meaning of queues and exchanges belongs to transport.
 *
 * May touch: a ByteStream from the World's dialer. Imports base, net and wire.
 *
 * Reading order: connection.ts (one socket: login, one write per turn, blocked, close), login.ts (SASL),
 * product.ts (the server's product and version), heartbeat.ts, channel.ts (calls in order, consumers,
 * publishing), content.ts (assembles messages from frames), confirms.ts (publisher confirms), errors.ts
 * (close codes as errors).
 *
 * A lost connection is never reused: its owner opens a new one and declares everything again, which is cheap.
 * Methods of the data lane (`publish`, `ack`, `onMessage`) make no promise per message.
 */

export { AmqpChannel } from "./channel.ts";
export type { ConfirmBatch } from "./confirms.ts";
export * from "./connection.ts";
export type { AmqpMessage } from "./content.ts";
export { isLowOnDisk } from "./errors.ts";
export { AmqpProduct } from "./product.ts";
