/**
 * Settings of the connection to the broker. Defaults are Celery's.
 *
 * Source: celery 5.2.6 and 5.6.3 app/defaults.py.
 */
import {
  amount,
  choice,
  count,
  flag,
  options,
  orNull,
  seconds,
  type SettingTable,
  shaped,
  text,
  tls,
  urls,
} from "./kinds.ts";

/** How to choose from several brokers. `turn` counts attempts from 0. */
export type FailoverStrategy =
  | "round-robin"
  | "shuffle"
  | ((urls: readonly string[], turn: number) => string);

/** Settings of the connection to the broker. */
export interface BrokerSettings {
  /**
   * The broker, or several for failover: a list, or joined by `;`. Null: `sqlite://`, the embedded one.
   * Default null.
   */
  broker_url: string | readonly string[] | null;
  /** Broker to consume from. Null: `broker_url`. Default null. */
  broker_read_url: string | readonly string[] | null;
  /** Broker to publish to. Null: `broker_url`. Default null. */
  broker_write_url: string | readonly string[] | null;
  /** Scheme of broker URLs that have none, and of `broker_host`. Default null. */
  broker_transport: string | null;
  /** Host or URL of the broker if `broker_url` is not given. Default null. */
  broker_host: string | null;
  /** Port of `broker_host`. Default null. */
  broker_port: number | null;
  /** User at `broker_host`. Default null. */
  broker_user: string | null;
  /** Password of `broker_user`. Default null. */
  broker_password: string | null;
  /** Virtual host (RabbitMQ) or database (Redis) of `broker_host`. Default null. */
  broker_vhost: string | null;
  /** Options of the transport, under kombu's names. Default {}. */
  broker_transport_options: Record<string, unknown>;
  /** TLS: true, or options (`ca_certs`, `certfile`, `keyfile`, `cert_reqs`). Default false. */
  broker_use_ssl: boolean | Record<string, unknown>;
  /** Seconds allowed to connect and to log in; 0 or null: no limit. Default 4. */
  broker_connection_timeout: number | null;
  /** Connect again when the connection is lost. Default true. */
  broker_connection_retry: boolean;
  /** Connect again when the first connection fails. Null: `broker_connection_retry`. Default null. */
  broker_connection_retry_on_startup: boolean | null;
  /** Connection attempts before giving up. Null or 0: never give up. Default 100. */
  broker_connection_max_retries: number | null;
  /** Connect again after errors of a channel, too (RabbitMQ). Default false. */
  broker_channel_error_retry: boolean;
  /** Order of the URLs: `round-robin`, `shuffle`, or a function. Null: `round-robin`. Default null. */
  broker_failover_strategy: FailoverStrategy | null;
  /** Seconds between heartbeats to negotiate (RabbitMQ). 0 or null: none. Default 120. */
  broker_heartbeat: number | null;
  /** Kept for shared configuration: heartbeats have exact timers. Default 3. */
  broker_heartbeat_checkrate: number;
  /** SASL mechanism: PLAIN, AMQPLAIN, EXTERNAL. Null: PLAIN. Default null. */
  broker_login_method: string | null;
  /** Type of the delay queues (RabbitMQ). Default "quorum". */
  broker_native_delayed_delivery_queue_type: "classic" | "quorum";
  /**
   * Prefix of the names of delay queues and their exchanges, followed by `_` (RabbitMQ). Null: none. Default
   * null.
   */
  broker_native_delayed_delivery_queue_prefix: string | null;
  /** Kept for shared configuration: one connection carries all messages. Default 10. */
  broker_pool_limit: number | null;
  /** Kept for shared configuration. Default null. */
  broker_pool_acquire_timeout: number | null;
}

const failover = shaped<FailoverStrategy>(
  '"round-robin", "shuffle" or a function',
  "round-robin",
  (value) => value === "" || value === "round-robin" || value === "shuffle" || typeof value === "function",
);

/** Kinds and defaults of the broker settings. */
export const BROKER_SETTINGS: SettingTable<BrokerSettings> = {
  broker_url: orNull(urls()),
  broker_read_url: orNull(urls()),
  broker_write_url: orNull(urls()),
  broker_transport: orNull(text("")),
  broker_host: orNull(text("")),
  broker_port: orNull(count(0)),
  broker_user: orNull(text("")),
  broker_password: orNull(text("")),
  broker_vhost: orNull(text("")),
  broker_transport_options: options(),
  broker_use_ssl: tls(false),
  broker_connection_timeout: orNull(seconds(4), 4),
  broker_connection_retry: flag(true),
  broker_connection_retry_on_startup: orNull(flag(true)),
  broker_connection_max_retries: orNull(count(0), 100),
  broker_channel_error_retry: flag(false),
  broker_failover_strategy: orNull(failover),
  broker_heartbeat: orNull(seconds(0), 120),
  broker_heartbeat_checkrate: amount(3, "checks"),
  broker_login_method: orNull(text("")),
  broker_native_delayed_delivery_queue_type: choice("quorum", ["classic", "quorum"]),
  broker_native_delayed_delivery_queue_prefix: orNull(text("")),
  broker_pool_limit: orNull(count(0), 10),
  broker_pool_acquire_timeout: orNull(seconds(0)),
};
