/**
 * Settings of results and of the result stores. Defaults are Celery's.
 *
 * Source: celery 5.2.6 and 5.6.3 app/defaults.py.
 */
import { amount, count, flag, options, orNull, seconds, type SettingTable, text, tls, url } from "./kinds.ts";

/** Settings of results and of the result stores. */
export interface ResultSettings {
  /**
   * Where results are stored. Not set: in the broker if that is `sqlite://`, or a `redis://` given with `-b`;
   * else nowhere. Default null.
   */
  result_backend: string | null;
  /** Store a result again after errors that may be temporary. Default false. */
  result_backend_always_retry: boolean;
  /** Milliseconds before the first retry of `result_backend_always_retry`. Default 10. */
  result_backend_base_sleep_between_retries_ms: number;
  /** Maximum milliseconds between two such retries. Default 10000. */
  result_backend_max_sleep_between_retries_ms: number;
  /** Maximum number of such retries; `Infinity`: no limit. Default Infinity. */
  result_backend_max_retries: number;
  /**
   * Options of the store: `global_keyprefix`, `master_name`, `retry_policy`, `result_chord_ordered`.
   * Default {}.
   */
  result_backend_transport_options: Record<string, unknown>;
  /** Kept for shared configuration: each result object keeps its own final state. Default -1. */
  result_cache_max: number;
  /**
   * Kept for shared configuration: all results of the header are stored before a chord's body is sent.
   * Default 3.
   */
  result_chord_join_timeout: number;
  /** Seconds between two checks of `celery.chord_unlock`. Default 1. */
  result_chord_retry_interval: number;
  /** Kept for shared configuration: results are not compressed, as in Celery. Default null. */
  result_compression: string | null;
  /**
   * Kept for shared configuration: result messages are sent directly to their queue. Default "celeryresults".
   */
  result_exchange: string;
  /** Kept for shared configuration, see `result_exchange`. Default "direct". */
  result_exchange_type: string;
  /** Seconds that results are kept. Null or 0: no limit. Default 86400. */
  result_expires: number | null;
  /** Store name, arguments, worker, retries and queue with each result. Default false. */
  result_extended: boolean;
  /** Result messages survive a restart of the broker. Null: no. Default null. */
  result_persistent: boolean | null;
  /** Serializer of results. Default "json". */
  result_serializer: string;
  /** TLS of the Redis store. Null: according to the URL. Default null. */
  redis_backend_use_ssl: boolean | Record<string, unknown> | null;
  /** Seconds of idleness after which a connection is checked. Null: never. Default null. */
  redis_backend_health_check_interval: number | null;
  /** Name of our connections in Redis. Default null. */
  redis_client_name: string | null;
  /** Host of the Redis store if the URL has none. Default null. */
  redis_host: string | null;
  /** Port of the Redis store. Default null. */
  redis_port: number | null;
  /** Database of the Redis store, a number. Default null. */
  redis_db: number | null;
  /** User of the Redis store. Default null. */
  redis_username: string | null;
  /** Password of the Redis store. Default null. */
  redis_password: string | null;
  /** Kept for shared configuration: one connection serves all calls, another one all waits. Default null. */
  redis_max_connections: number | null;
  /**
   * Kept for shared configuration: calls that timed out are retried within the store's own limits. Default
   * false.
   */
  redis_retry_on_timeout: boolean;
  /** Seconds allowed to connect to the Redis store. Null: the system's default. Default null. */
  redis_socket_connect_timeout: number | null;
  /** Seconds to wait for a reply of the Redis store. Null: no limit. Default 120. */
  redis_socket_timeout: number | null;
  /** TCP keepalive on connections to the Redis store. Default false. */
  redis_socket_keepalive: boolean;
}

/** Kinds and defaults of the result settings. */
export const RESULT_SETTINGS: SettingTable<ResultSettings> = {
  result_backend: orNull(url("")),
  result_backend_always_retry: flag(false),
  result_backend_base_sleep_between_retries_ms: amount(10, "milliseconds"),
  result_backend_max_sleep_between_retries_ms: amount(10000, "milliseconds"),
  result_backend_max_retries: amount(Infinity, "retries"),
  result_backend_transport_options: options(),
  result_cache_max: count(-1, -1),
  result_chord_join_timeout: seconds(3),
  result_chord_retry_interval: seconds(1),
  result_compression: orNull(text("")),
  result_exchange: text("celeryresults"),
  result_exchange_type: text("direct"),
  result_expires: orNull(seconds(0), 86400),
  result_extended: flag(false),
  result_persistent: orNull(flag(false)),
  result_serializer: text("json"),
  redis_backend_use_ssl: orNull(tls(false)),
  redis_backend_health_check_interval: orNull(seconds(0)),
  redis_client_name: orNull(text("")),
  redis_host: orNull(text("")),
  redis_port: orNull(count(0)),
  redis_db: orNull(count(0)),
  redis_username: orNull(text("")),
  redis_password: orNull(text("")),
  redis_max_connections: orNull(count(0)),
  redis_retry_on_timeout: flag(false),
  redis_socket_connect_timeout: orNull(seconds(0)),
  redis_socket_timeout: orNull(seconds(0), 120),
  redis_socket_keepalive: flag(false),
};
