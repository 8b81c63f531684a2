/**
 * Settings of content, dates, modules, events, remote control, beat and security, and Lovage's own. Defaults
 * are Celery's.
 *
 * Source: celery 5.2.6 and 5.6.3 app/defaults.py.
 */
import { isOptions } from "../../base/mod.ts";
import {
  choice,
  count,
  flag,
  idOrName,
  names,
  orNull,
  seconds,
  type SettingTable,
  shaped,
  text,
  timeZone,
} from "./kinds.ts";
import type { BeatEntry } from "./schedules.ts";

/** Settings of content, dates, modules, events, remote control, beat and security, and Lovage's own. */
export interface GeneralSettings {
  /** Content types, or names of serializers, that are accepted; others are refused. Default ["json"]. */
  accept_content: readonly string[];
  /** The same for results. Null: `accept_content`. Default null. */
  result_accept_content: readonly string[] | null;
  /** Dates in messages are UTC. Default true. */
  enable_utc: boolean;
  /** Time zone of schedules and of `date_done`, an IANA name. Null: UTC. Default null. */
  timezone: string | null;
  /** Task modules loaded when a worker starts, as paths. Default []. */
  imports: readonly string[];
  /** More task modules, loaded after `imports`. Default []. */
  include: readonly string[];
  /** Prefix of the remote control exchanges: `<name>.pidbox`, `reply.<name>.pidbox`. Default "celery". */
  control_exchange: string;
  /** Declare remote control queues durable (RabbitMQ). Default false. */
  control_queue_durable: boolean;
  /**
   * Declare remote control queues exclusive (RabbitMQ). Null: exclusive on RabbitMQ 4.0 or later and on
   * LavinMQ, unless they are durable. Default null.
   */
  control_queue_exclusive: boolean | null;
  /** Seconds after which an unused remote control queue is deleted. Default 10. */
  control_queue_expires: number;
  /** Maximum seconds that a remote control message waits. Default 300. */
  control_queue_ttl: number;
  /** The exchange of events. Default "celeryev". */
  event_exchange: string;
  /** Declare event queues durable (RabbitMQ). Default false. */
  event_queue_durable: boolean;
  /** Declare event queues exclusive (RabbitMQ). Null: as `control_queue_exclusive`. Default null. */
  event_queue_exclusive: boolean | null;
  /** Seconds after which a monitor's unused queue is deleted. Null: never. Default 60. */
  event_queue_expires: number | null;
  /** Prefix of the names of monitors' queues. Default "celeryev". */
  event_queue_prefix: string;
  /** Maximum seconds that an event waits in a monitor's queue. Null: no limit. Default 5. */
  event_queue_ttl: number | null;
  /** Serializer of events. Default "json". */
  event_serializer: string;
  /** Periodic tasks: name to entry. Default {}. */
  beat_schedule: Record<string, BeatEntry>;
  /** The scheduler; Celery's names are understood. Default "celery.beat:PersistentScheduler". */
  beat_scheduler: string;
  /** File that stores the times of last runs. Default "celerybeat-schedule". */
  beat_schedule_filename: string;
  /** Maximum seconds between two checks of the schedule. 0: the scheduler's own limit, 300. Default 0. */
  beat_max_loop_interval: number;
  /** Saves the times of last runs after this many sends. 0: every 3 minutes. Default 0. */
  beat_sync_every: number;
  /** Seconds after which a missed crontab run is skipped. Null: it runs late. Default null. */
  beat_cron_starting_deadline: number | null;
  /** Beats on one broker elect a leader, and only the leader sends. Ours. Default true. */
  beat_lock: boolean;
  /** Log file of beat. Null: standard error. Default null. */
  beat_logfile: string | null;
  /** Pid file of beat. Null: none. Default null. */
  beat_pidfile: string | null;
  /** User that beat runs as. Null: no change. Default null. */
  beat_uid: string | number | null;
  /** Group that beat runs as. Null: no change. Default null. */
  beat_gid: string | number | null;
  /**
   * Umask of files that beat creates: a number, or octal text such as "022". Null: no change. Default null.
   */
  beat_umask: string | number | null;
  /** File that `events --dump` and `--json` write to. Null: standard output. Default null. */
  events_logfile: string | null;
  /** Pid file of `events --dump` and `--json`. Null: none. Default null. */
  events_pidfile: string | null;
  /** User that `events` runs as. Null: no change. Default null. */
  events_uid: string | number | null;
  /** Group that `events` runs as. Null: no change. Default null. */
  events_gid: string | number | null;
  /** Umask of files that `events` creates, like `beat_umask`. Null: no change. Default null. */
  events_umask: string | number | null;
  /**
   * `celery`: Celery's rules for acknowledgement. `at-least-once`: late acknowledgement, and requeue when a
   * worker or child dies. Ours. Default "celery".
   */
  delivery: "celery" | "at-least-once";
  /** Seconds after a worker's death until its messages are delivered again. Ours. Default 10. */
  lease: number;
  /** Deaths of a process that held a message, before the message becomes a dead letter. Ours. Default 5. */
  task_max_attempts: number;
  /**
   * How many finally failed tasks are kept with their messages, for how many seconds, and the maximum size of
   * a kept message in bytes (`lovage failed`). 0: none. Ours. Default { count: 10000, seconds: 604800, bytes:
   * 65536 }.
   */
  failed_keep: 0 | { readonly count?: number; readonly seconds?: number; readonly bytes?: number };
  /** Path of our signing certificate, PEM. Default null. */
  security_certificate: string | null;
  /** Path of our private key, PEM. Default null. */
  security_key: string | null;
  /** Passphrase of the key. Default null. */
  security_key_password: string | null;
  /** Glob of the trusted certificates. Default null. */
  security_cert_store: string | null;
  /** Hash algorithm of signatures. Default "sha256". */
  security_digest: string;
  /**
   * Layout of signed messages: "5.2" for Celery up to 5.4, "5.5" for later versions; "auto": like the last
   * signed message received, and "5.5" before any. Ours. Default "auto".
   */
  security_layout: "auto" | "5.2" | "5.5";
}

const FAILED_KEEP = { count: 10_000, seconds: 604_800, bytes: 65_536 };

function isFailedKeep(value: unknown): boolean {
  if (value === 0) return true;
  return isOptions(value) &&
    Object.entries(value).every(([name, amount]) =>
      Object.hasOwn(FAILED_KEEP, name) && typeof amount === "number" && Number.isFinite(amount) && amount >= 0
    );
}

/** Kinds and defaults of the general settings. */
export const GENERAL_SETTINGS: SettingTable<GeneralSettings> = {
  accept_content: names(["json"]),
  result_accept_content: orNull(names([])),
  enable_utc: flag(true),
  timezone: timeZone(),
  imports: names([]),
  include: names([]),
  control_exchange: text("celery"),
  control_queue_durable: flag(false),
  control_queue_exclusive: orNull(flag(false)),
  control_queue_expires: seconds(10),
  control_queue_ttl: seconds(300),
  event_exchange: text("celeryev"),
  event_queue_durable: flag(false),
  event_queue_exclusive: orNull(flag(false)),
  event_queue_expires: orNull(seconds(60), 60),
  event_queue_prefix: text("celeryev"),
  event_queue_ttl: orNull(seconds(5), 5),
  event_serializer: text("json"),
  beat_schedule: shaped("an object of schedule entries", {}, isOptions),
  beat_scheduler: text("celery.beat:PersistentScheduler"),
  beat_schedule_filename: text("celerybeat-schedule"),
  beat_max_loop_interval: seconds(0),
  beat_sync_every: count(0),
  beat_cron_starting_deadline: orNull(seconds(0)),
  beat_lock: flag(true),
  beat_logfile: orNull(text("")),
  beat_pidfile: orNull(text("")),
  beat_uid: orNull(idOrName),
  beat_gid: orNull(idOrName),
  beat_umask: orNull(idOrName),
  events_logfile: orNull(text("")),
  events_pidfile: orNull(text("")),
  events_uid: orNull(idOrName),
  events_gid: orNull(idOrName),
  events_umask: orNull(idOrName),
  delivery: choice("celery", ["celery", "at-least-once"]),
  lease: seconds(10, 1),
  task_max_attempts: count(5, 1),
  failed_keep: shaped("0 or an object of count, seconds and bytes", FAILED_KEEP, isFailedKeep),
  security_certificate: orNull(text("")),
  security_key: orNull(text("")),
  security_key_password: orNull(text("")),
  security_cert_store: orNull(text("")),
  security_digest: text("sha256"),
  security_layout: choice("auto", ["auto", "5.2", "5.5"]),
};
