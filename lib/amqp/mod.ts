/**
 * amqp: a client of AMQP 0-9-1 brokers (RabbitMQ). It knows connections, channels and messages; what queues and
 * exchanges mean is transport's.
 *
 * May touch: a ByteStream from the World's dialer. Imports base and wire.
 *
 * Reading order: connection.ts (one socket: log in, one write a turn, blocked, close), login.ts (SASL), product.ts
 * (which server it is), heartbeat.ts, channel.ts (calls in order, consumers, publishing), content.ts (messages from
 * frames), confirms.ts (what the broker has taken), errors.ts (close codes in words).
 *
 * A connection that is lost is not mended: its owner opens another and declares again, which is cheap. Methods of the
 * data lane (`publish`, `ack`, `onMessage`) make no promise per message.
 */

export { AmqpChannel } from "./channel.ts";
export type { ConfirmBatch } from "./confirms.ts";
export * from "./connection.ts";
export type { AmqpMessage } from "./content.ts";
export { isLowOnDisk } from "./errors.ts";
export { AmqpProduct } from "./product.ts";
