/**
 * `broker_transport_options` of Redis, parsed once.
 *
 * Source: kombu 5.2.4 and 5.6.2 transport/redis.py Channel.from_transport_options.
 */

import { OptionReader, type RedisServer } from "../../redis/mod.ts";
import { priorityStepsOf } from "../routing.ts";
import type { ConnectOptions } from "../transport.ts";
import { type QueueGroups, readQueueGroups } from "./queue_groups.ts";

/** The options with kombu's defaults. Times are milliseconds. */
export interface RedisOptions {
  /** Put before every key and channel; default "", on a cluster `{celery}`. */
  readonly keyPrefix: string;
  /** Put before every fanout channel: the key prefix of the broker's own group, in every queue group. */
  readonly channelPrefix: string;
  /** The hash tag on a cluster; else "". */
  readonly tag: string;
  /** Queues with tags of their own; null: there are none. */
  readonly groups: QueueGroups | null;
  /** Whether the server is a node of a cluster. */
  readonly isCluster: boolean;
  /** How many replicas must have a message before it counts as published; 0: none. */
  readonly waitReplicas: number;
  /** Between a queue's name and its priority step, and inside bindings; default the bytes 06 16. */
  readonly sep: string;
  /** Ascending; the base list first. */
  readonly steps: readonly number[];
  /** Put before the exchange in channels; `{db}` is the database's number. */
  readonly fanoutPrefix: string;
  /** Whether routing keys become part of channels. */
  readonly fanoutPatterns: boolean;
  readonly unackedKey: string;
  readonly unackedIndexKey: string;
  readonly unackedMutexKey: string;
  readonly unackedMutexExpireMs: number;
  /** How many one check of the visibility timeout restores; null: all. */
  readonly unackedRestoreLimit: number | null;
  readonly visibilityTimeoutMs: number;
  /** False: messages are popped for good and nothing is recorded. */
  readonly ackEmulation: boolean;
  readonly queueOrder: "round_robin" | "sorted" | "priority";
  /** The queue for messages that match no binding; null: they are dropped. */
  readonly deadletterQueue: string | null;
  /** The longest pause between fetches if the server does not announce new messages. */
  readonly pollingIntervalMs: number;
  readonly connectTimeoutMs: number;
  readonly healthCheckMs: number;
  /** Milliseconds without an answer before the connection counts as lost. */
  readonly replyTimeoutMs: number;
  readonly clientName: string;
}

/** Kombu's separator. */
const SEP = "\x06\x16";

const HASH_TAG = "celery";

/**
 * Reads the options; `server` null: a single server. Throws UsageError that names the option with a wrong
 * value. Ignores unknown options.
 */
export function redisOptionsOf(connect: ConnectOptions, server: RedisServer | null = null): RedisOptions {
  const isCluster = server?.place.kind === "cluster";
  const given = new OptionReader("broker_transport_options", connect.transportOptions);
  const fanoutPrefix = given.value("fanout_prefix") ?? true;
  const { tag, prefix } = isCluster
    ? tagged(given, server.query)
    : { tag: "", prefix: given.text("global_keyprefix", "") };
  return {
    keyPrefix: prefix,
    channelPrefix: prefix,
    tag,
    groups: isCluster ? readQueueGroups(given, tag) : null,
    isCluster,
    waitReplicas: given.number("wait_replicas", isCluster ? 1 : 0),
    sep: given.text("sep", SEP),
    steps: priorityStepsOf(connect.transportOptions),
    fanoutPrefix: typeof fanoutPrefix === "string" ? fanoutPrefix : fanoutPrefix ? "/{db}." : "",
    fanoutPatterns: given.flag("fanout_patterns", true),
    unackedKey: given.text("unacked_key", "unacked"),
    unackedIndexKey: given.text("unacked_index_key", "unacked_index"),
    unackedMutexKey: given.text("unacked_mutex_key", "unacked_mutex"),
    unackedMutexExpireMs: given.seconds("unacked_mutex_expire", 0) || 300_000,
    unackedRestoreLimit: given.number("unacked_restore_limit", null),
    visibilityTimeoutMs: given.seconds("visibility_timeout", 0) || 3_600_000,
    ackEmulation: given.flag("ack_emulation", true),
    queueOrder: queueOrder(given),
    deadletterQueue: given.text("deadletter_queue", null) || null,
    pollingIntervalMs: given.seconds("polling_interval", 0) || 1000,
    connectTimeoutMs: Math.min(given.seconds("socket_connect_timeout", 0) || Infinity, connect.timeoutMs),
    healthCheckMs: given.seconds("health_check_interval", 25_000),
    replyTimeoutMs: given.seconds("socket_timeout", 0) || 10_000,
    clientName: given.text("client_name", connect.clientName),
  };
}

/** Returns the options of a queue group, whose keys have its own tag. */
export function groupOptions(options: RedisOptions, tag: string): RedisOptions {
  const keyPrefix = options.keyPrefix.replace(`{${options.tag}}`, () => `{${tag}}`);
  return { ...options, keyPrefix, tag };
}

/**
 * Returns the prefix that puts all keys of a cluster into one slot: `{<hash_tag>}` and the user's own prefix,
 * or that prefix alone if it has a tag.
 */
function tagged(given: OptionReader, query: RedisServer["query"]): { tag: string; prefix: string } {
  const prefix = given.text("global_keyprefix", "");
  const tag = query["hash_tag"] || given.text("hash_tag", HASH_TAG);
  if (tag === "" || /[{}]/.test(tag)) throw given.wrong("hash_tag", "a name without braces");
  const own = /\{([^}]+)\}/.exec(prefix)?.[1];
  return own === undefined ? { tag, prefix: `{${tag}}${prefix}` } : { tag: own, prefix };
}

function queueOrder(given: OptionReader): RedisOptions["queueOrder"] {
  const value = given.value("queue_order_strategy") ?? "round_robin";
  if (value === "round_robin" || value === "sorted" || value === "priority") return value;
  throw given.wrong("queue_order_strategy", "round_robin, sorted or priority");
}
