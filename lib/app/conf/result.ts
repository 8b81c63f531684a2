/**
 * Settings of results and of the result stores. Defaults are Celery's.
 *
 * Source: celery 5.2.6 and 5.6.3 app/defaults.py.
 */
import { amount, count, flag, options, orNull, seconds, type SettingTable, text, tls, url } from "./kinds.ts";

/** Settings of results and of the result stores. */
export interface ResultSettings {
  /**
   * Where results are stored. Unset: the broker itself if that is `sqlite://`, or a `redis://` named by `-b`; else
   * nowhere. Default null.
   */
  result_backend: string | null;
  /** Try to store a result again after errors that may pass. Default false. */
  result_backend_always_retry: boolean;
  /** Milliseconds before the first retry of `result_backend_always_retry`. Default 10. */
  result_backend_base_sleep_between_retries_ms: number;
  /** Milliseconds between two such retries at most. Default 10000. */
  result_backend_max_sleep_between_retries_ms: number;
  /** Such retries at most; `Infinity`: no limit. Default Infinity. */
  result_backend_max_retries: number;
  /**
   * Options of the store: `global_keyprefix`, `master_name`, `retry_policy`, `result_chord_ordered`.
   * Default {}.
   */
  result_backend_transport_options: Record<string, unknown>;
  /** Kept for shared configuration: each result object keeps its own end, and nothing else is kept. Default -1. */
  result_cache_max: number;
  /** Kept for shared configuration: a header's results are there when a chord's body is sent. Default 3. */
  result_chord_join_timeout: number;
  /** Seconds between two looks of `celery.chord_unlock`. Default 1. */
  result_chord_retry_interval: number;
  /** Kept for shared configuration: results are stored as they are, by Celery too. Default null. */
  result_compression: string | null;
  /** Kept for shared configuration: messages with results go straight to their queue. Default "celeryresults". */
  result_exchange: string;
  /** Kept for shared configuration, as `result_exchange`. Default "direct". */
  result_exchange_type: string;
  /** Seconds that results are kept. Null or 0: for ever. Default 86400. */
  result_expires: number | null;
  /** Store name, arguments, worker, retries and queue with a result. Default false. */
  result_extended: boolean;
  /** Results sent as messages survive the broker's restart. Null: no. Default null. */
  result_persistent: boolean | null;
  /** Serializer of results. Default "json". */
  result_serializer: string;
  /** TLS of the Redis store. Null: as the URL says. Default null. */
  redis_backend_use_ssl: boolean | Record<string, unknown> | null;
  /** Seconds of idleness after which a connection is tried. Null: never. Default null. */
  redis_backend_health_check_interval: number | null;
  /** Name that Redis shows for our connections. Default null. */
  redis_client_name: string | null;
  /** Host of the Redis store where the URL names none. Default null. */
  redis_host: string | null;
  /** Port of the Redis store. Default null. */
  redis_port: number | null;
  /** Database of the Redis store, a number. Default null. */
  redis_db: number | null;
  /** User of the Redis store. Default null. */
  redis_username: string | null;
  /** Password of the Redis store. Default null. */
  redis_password: string | null;
  /** Kept for shared configuration: one connection serves all calls, one more those who wait. Default null. */
  redis_max_connections: number | null;
  /** Kept for shared configuration: what timed out is tried again, within the store's own limits. Default false. */
  redis_retry_on_timeout: boolean;
  /** Seconds to connect to the Redis store. Null: the system's. Default null. */
  redis_socket_connect_timeout: number | null;
  /** Seconds to wait for an answer of the Redis store. Null: for ever. Default 120. */
  redis_socket_timeout: number | null;
  /** TCP keepalive on connections to the Redis store. Default false. */
  redis_socket_keepalive: boolean;
}

/** Their kinds and defaults. */
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
