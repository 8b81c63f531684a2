/**
 * All settings in one table, and the names they are known by.
 *
 * Source: celery 5.2.6 app/defaults.py (NAMESPACES, _OLD_DEFAULTS), app/utils.py detect_settings.
 */

import { BROKER_SETTINGS, type BrokerSettings } from "./broker.ts";
import { GENERAL_SETTINGS, type GeneralSettings } from "./general.ts";
import { RESULT_SETTINGS, type ResultSettings } from "./result.ts";
import { TASK_SETTINGS, type TaskSettings } from "./task.ts";
import { WORKER_SETTINGS, type WorkerSettings } from "./worker.ts";
import type { Setting } from "./kinds.ts";

/** All supported settings, under Celery's names. Durations are seconds. */
export interface Settings
  extends GeneralSettings, TaskSettings, WorkerSettings, BrokerSettings, ResultSettings {}

/** The rows, by name. */
export const SETTINGS: ReadonlyMap<string, Setting<unknown>> = new Map(
  Object.entries({
    ...GENERAL_SETTINGS,
    ...TASK_SETTINGS,
    ...WORKER_SETTINGS,
    ...BROKER_SETTINGS,
    ...RESULT_SETTINGS,
  } as Record<string, Setting<unknown>>),
);

/**
 * Celery's settings that have no effect here, since they concern other result stores or Python classes. They
 * are accepted and kept, so that one configuration serves both.
 */
export const INERT_SETTINGS: ReadonlySet<string> = new Set(
  `arangodb_backend_settings azureblockblob_base_path azureblockblob_connection_timeout
  azureblockblob_container_name azureblockblob_read_timeout azureblockblob_retry_increment_base
  azureblockblob_retry_initial_backoff_sec azureblockblob_retry_max_attempts beat_executable
  cache_backend cache_backend_options cassandra_auth_kwargs
  cassandra_auth_provider cassandra_bundle_path cassandra_entry_ttl cassandra_keyspace cassandra_options
  cassandra_port cassandra_read_consistency cassandra_secure_bundle_path cassandra_servers cassandra_table
  cassandra_write_consistency cosmosdbsql_collection_name cosmosdbsql_consistency_level
  cosmosdbsql_database_name cosmosdbsql_max_retry_attempts cosmosdbsql_max_retry_wait_time
  couchbase_backend_settings database_create_tables_at_setup database_engine_callback
  database_engine_options database_short_lived_sessions database_table_names database_table_schemas
  database_url elasticsearch_max_retries elasticsearch_retry_on_timeout elasticsearch_save_meta_as_text
  elasticsearch_timeout events_executable
  gcs_base_path gcs_bucket gcs_project gcs_ttl mongodb_backend_settings override_backends
  redis_backend_credential_provider result_backend_thread_safe s3_access_key_id s3_base_path s3_bucket
  s3_endpoint_url s3_region s3_secret_access_key task_remote_tracebacks worker_agent worker_consumer
  worker_executable worker_hijack_root_logger worker_timer`.split(/\s+/),
);

/** Old names that no rule covers. */
const OLD_NAMES: ReadonlyMap<string, string> = new Map([
  ["CELERY_EAGER_PROPAGATES_EXCEPTIONS", "task_eager_propagates"],
  ["CELERY_MAX_CACHED_RESULTS", "result_cache_max"],
  ["CELERY_MESSAGE_COMPRESSION", "task_compression"],
  ["CELERY_RESULT_DBURI", "database_url"],
  ["CELERY_RESULT_DB_SHORT_LIVED_SESSIONS", "database_short_lived_sessions"],
  ["CELERY_RESULT_DB_TABLENAMES", "database_table_names"],
  ["CELERY_RESULT_ENGINE_OPTIONS", "database_engine_options"],
  ["CELERY_TASK_RESULT_EXPIRES", "result_expires"],
  ["CELERY_SEND_TASK_SENT_EVENT", "task_send_sent_event"],
  ["CELERY_SEND_EVENTS", "worker_send_task_events"],
  ["CELERYD_FORCE_EXECV", "worker_executable"],
]);

/** Prefixes of old names and what replaces them, in the order in which they are tried. */
const OLD_PREFIXES: readonly (readonly [string, readonly string[]])[] = [
  ["celerybeat_", ["beat_"]],
  ["celeryd_", ["worker_", "", "task_"]],
  ["celeryev_", ["event_"]],
  ["celery_", ["", "task_", "worker_", "beat_", "result_"]],
];

function isKnown(name: string): boolean {
  return SETTINGS.has(name) || INERT_SETTINGS.has(name);
}

/**
 * Returns the setting that a name stands for: itself, or the current name of an old upper-case one
 * (`CELERY_ACKS_LATE`, `CELERYD_CONCURRENCY`, `BROKER_URL`, and with Django's namespace
 * `CELERY_TASK_ACKS_LATE`). Null if there is none.
 */
export function settingName(given: string): string | null {
  if (isKnown(given)) return given;
  if (given !== given.toUpperCase()) return null;
  const old = OLD_NAMES.get(given);
  if (old) return old;
  const lower = given.toLowerCase();
  if (isKnown(lower)) return lower;
  for (const [prefix, groups] of OLD_PREFIXES) {
    if (!lower.startsWith(prefix)) continue;
    const rest = lower.slice(prefix.length);
    for (const group of groups) if (isKnown(group + rest)) return group + rest;
  }
  return null;
}
