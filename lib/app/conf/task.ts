/**
 * Settings of tasks, their messages and their queues. Defaults are Celery's.
 *
 * Source: celery 5.2.6 and 5.6.3 app/defaults.py.
 */
import { isOptions } from "../../base/mod.ts";
import {
  choice,
  compressor,
  count,
  flag,
  orNull,
  rate,
  REFUSED,
  seconds,
  type Setting,
  type SettingTable,
  shaped,
  text,
} from "./kinds.ts";
import { PRIORITY_MAX, type PublishRetryPolicy, RETRY_POLICY_NAMES } from "../call/send_options.ts";
import type { TaskQueues } from "./queues.ts";
import type { TaskRoutes } from "./routing.ts";

/**
 * Options by task name; `*` applies to all tasks. A function is called for each task. Source: celery 5.2.6
 * app/annotations.py.
 */
export type TaskAnnotations =
  | Record<string, Record<string, unknown>>
  | readonly (
    | Record<string, Record<string, unknown>>
    | ((task: unknown) => Record<string, unknown> | null)
  )[];

/** Settings of tasks, their messages and their queues. */
export interface TaskSettings {
  /** Acknowledge after a task has run, not before. Default false. */
  task_acks_late: boolean;
  /** With late acks, acknowledge failed and timed-out tasks too. Default true. */
  task_acks_on_failure_or_timeout: boolean;
  /** With late acks, acknowledge failed tasks too. Null: `task_acks_on_failure_or_timeout`. Default null. */
  task_acks_on_failure: boolean | null;
  /**
   * With late acks, acknowledge timed-out tasks too. Null: `task_acks_on_failure_or_timeout`. Default null.
   */
  task_acks_on_timeout: boolean | null;
  /** Add a chord's error callbacks to its header tasks too. Default false. */
  task_allow_error_cb_on_chord_header: boolean;
  /** Calls run at once in the calling process, without a broker. Default false. */
  task_always_eager: boolean;
  /** Options of tasks by name, `*` for all, as in Celery. Default null. */
  task_annotations: TaskAnnotations | null;
  /** Compressor of bodies: gzip, zlib, brotli, zstd. Null: none. Default null. */
  task_compression: string | null;
  /** Create a queue that is not in `task_queues` when it is named. Default true. */
  task_create_missing_queues: boolean;
  /** Type of a queue created that way (RabbitMQ). Default "classic". */
  task_create_missing_queue_type: "classic" | "quorum";
  /** Exchange type of a queue created that way. Null: direct. Default null. */
  task_create_missing_queue_exchange_type: string | null;
  /**
   * 2, also `persistent`: messages survive a restart of the broker. 1, also `transient`: they do not. Default
   * 2.
   */
  task_default_delivery_mode: 1 | 2;
  /** Exchange of the default queue. Null: `task_default_queue`. Default null. */
  task_default_exchange: string | null;
  /** Type of the default exchange. Default "direct". */
  task_default_exchange_type: string;
  /** Priority of tasks that have none, 0 to 9. Null: 0. Default null. */
  task_default_priority: number | null;
  /** Queue of tasks that have no other by a route. Default "celery". */
  task_default_queue: string;
  /** Type of the default queue (RabbitMQ). Default "classic". */
  task_default_queue_type: "classic" | "quorum";
  /**
   * Rate limit of tasks that have none: `10/s`, `10/m`, `10/h`, or a number per second. Null: no limit.
   * Default null.
   */
  task_default_rate_limit: string | number | null;
  /** Routing key of the default queue. Null: `task_default_queue`. Default null. */
  task_default_routing_key: string | null;
  /** Calls that run at once throw the task's error. Default false. */
  task_eager_propagates: boolean;
  /** Do not store results. Default false. */
  task_ignore_result: boolean;
  /** Messages that a task sends take the task's own priority. Default false. */
  task_inherit_parent_priority: boolean;
  /** Version of the message protocol for sending. Both are understood. Default 2. */
  task_protocol: 1 | 2;
  /** Publish again after a connection was lost. Default true. */
  task_publish_retry: boolean;
  /**
   * How often, and after how many seconds, a failed publish is retried. Default { max_retries: 3,
   * interval_start: 0, interval_max: 1, interval_step: 0.2 }.
   */
  task_publish_retry_policy: PublishRetryPolicy;
  /** `x-max-priority` of every queue that has none of its own (RabbitMQ). Null: none. Default null. */
  task_queue_max_priority: number | null;
  /** The queues: an array, or name to options. Null: the default queue alone. Default null. */
  task_queues: TaskQueues | null;
  /** Put late-acknowledged tasks whose process died back into their queue. Null: no. Default null. */
  task_reject_on_worker_lost: boolean | null;
  /**
   * Task name, glob or regular expression to queue or routing options; functions; lists of those.
   * Default null.
   */
  task_routes: TaskRoutes | null;
  /** Publish a `task-sent` event with every message. Default false. */
  task_send_sent_event: boolean;
  /** Serializer of messages: json, yaml, msgpack, cbor. Default "json". */
  task_serializer: string;
  /** Seconds until a task is asked to stop. Null: no limit. Default null. */
  task_soft_time_limit: number | null;
  /** Store the results of calls that run at once. Default false. */
  task_store_eager_result: boolean;
  /** Store failures even if results are ignored. Default false. */
  task_store_errors_even_if_ignored: boolean;
  /** Seconds until a task's process is killed. Null: no limit. Default null. */
  task_time_limit: number | null;
  /** Store the state STARTED when a task starts. Default false. */
  task_track_started: boolean;
}

function areAnnotations(value: unknown): boolean {
  return isOptions(value) && Object.values(value).every((options) => options === null || isOptions(options));
}

const annotations = shaped<TaskAnnotations>(
  "an object of task name to options, or a list of those",
  {},
  (value) =>
    Array.isArray(value)
      ? value.every((one) => typeof one === "function" || areAnnotations(one))
      : areAnnotations(value),
);
const taskQueues = shaped<TaskQueues>(
  "a list of queues, or an object of name to options",
  [],
  (value) => isOptions(value) || Array.isArray(value),
);
const taskRoutes = shaped<TaskRoutes>(
  "an object of task name to route, a function, or a list of those",
  {},
  (value) => isOptions(value) || Array.isArray(value) || typeof value === "function",
);
const DELIVERY_MODES: ReadonlyMap<unknown, 1 | 2> = new Map<unknown, 1 | 2>([
  [1, 1],
  [2, 2],
  ["1", 1],
  ["2", 2],
  ["transient", 1],
  ["persistent", 2],
]);
const deliveryMode: Setting<1 | 2> = {
  expected: '1, "transient", 2 or "persistent"',
  defaultValue: 2,
  accept: (value) => DELIVERY_MODES.get(value) ?? REFUSED,
  parse: (given) => given,
};

/** Kinds and defaults of the task settings. */
export const TASK_SETTINGS: SettingTable<TaskSettings> = {
  task_acks_late: flag(false),
  task_acks_on_failure_or_timeout: flag(true),
  task_acks_on_failure: orNull(flag(true)),
  task_acks_on_timeout: orNull(flag(true)),
  task_allow_error_cb_on_chord_header: flag(false),
  task_always_eager: flag(false),
  task_annotations: orNull(annotations),
  task_compression: orNull(compressor()),
  task_create_missing_queues: flag(true),
  task_create_missing_queue_type: choice("classic", ["classic", "quorum"]),
  task_create_missing_queue_exchange_type: orNull(text("")),
  task_default_delivery_mode: deliveryMode,
  task_default_exchange: orNull(text("")),
  task_default_exchange_type: text("direct"),
  task_default_priority: orNull(count(0, 0, PRIORITY_MAX)),
  task_default_queue: text("celery"),
  task_default_queue_type: choice("classic", ["classic", "quorum"]),
  task_default_rate_limit: orNull(rate()),
  task_default_routing_key: orNull(text("")),
  task_eager_propagates: flag(false),
  task_ignore_result: flag(false),
  task_inherit_parent_priority: flag(false),
  task_protocol: choice<1 | 2>(2, [1, 2]),
  task_publish_retry: flag(true),
  task_publish_retry_policy: shaped<PublishRetryPolicy>(
    "an object of max_retries, interval_start, interval_step, interval_max",
    { max_retries: 3, interval_start: 0, interval_max: 1, interval_step: 0.2 },
    (value) => isOptions(value) && Object.keys(value).every((name) => RETRY_POLICY_NAMES.has(name)),
  ),
  task_queue_max_priority: orNull(count(0, 0, PRIORITY_MAX)),
  task_queues: orNull(taskQueues),
  task_reject_on_worker_lost: orNull(flag(false)),
  task_routes: orNull(taskRoutes),
  task_send_sent_event: flag(false),
  task_serializer: text("json"),
  task_soft_time_limit: orNull(seconds(0)),
  task_store_eager_result: flag(false),
  task_store_errors_even_if_ignored: flag(false),
  task_time_limit: orNull(seconds(0)),
  task_track_started: flag(false),
};
