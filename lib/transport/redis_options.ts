/**
 * `broker_transport_options` of Redis, read once into what the rest works with.
 *
 * Source: kombu 5.2.4 and 5.6.2 transport/redis.py Channel.from_transport_options.
 */

import { UsageError } from "../base/mod.ts";
import { priorityStepsOf } from "./routing.ts";
import type { ConnectOptions } from "./transport.ts";

/** The options with kombu's defaults. Times are milliseconds. */
export interface RedisOptions {
  /** Put before every key and channel; default "". */
  readonly keyPrefix: string;
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
  /** Where a message goes that nothing is bound for; null: nowhere. */
  readonly deadletterQueue: string | null;
  /** The longest pause between fetches where the server cannot wake us. */
  readonly pollingIntervalMs: number;
  readonly connectTimeoutMs: number;
  readonly healthCheckMs: number;
  /** Milliseconds without an answer before the connection counts as lost. */
  readonly replyTimeoutMs: number;
  readonly clientName: string;
  /** Sentinel only. */
  readonly masterName: string | null;
  readonly minOtherSentinels: number;
  readonly sentinelUsername: string | null;
  readonly sentinelPassword: string | null;
}

/** Kombu's separator. */
export const SEP = "\x06\x16";

/** Reads the options. Throws UsageError that names the option with a wrong value. Unknown ones are left alone. */
export function redisOptionsOf(connect: ConnectOptions): RedisOptions {
  const given = connect.transportOptions;
  const sentinel = record(given, "sentinel_kwargs") ?? {};
  const fanoutPrefix = given["fanout_prefix"] ?? true;
  const connectTimeoutMs = seconds(given, "socket_connect_timeout", null);
  const socketTimeoutMs = seconds(given, "socket_timeout", null);
  return {
    keyPrefix: text(given, "global_keyprefix", ""),
    sep: text(given, "sep", SEP),
    steps: priorityStepsOf(given),
    fanoutPrefix: typeof fanoutPrefix === "string" ? fanoutPrefix : fanoutPrefix ? "/{db}." : "",
    fanoutPatterns: flag(given, "fanout_patterns", true),
    unackedKey: text(given, "unacked_key", "unacked"),
    unackedIndexKey: text(given, "unacked_index_key", "unacked_index"),
    unackedMutexKey: text(given, "unacked_mutex_key", "unacked_mutex"),
    unackedMutexExpireMs: seconds(given, "unacked_mutex_expire", 300_000) || 300_000,
    unackedRestoreLimit: number(given, "unacked_restore_limit", null),
    visibilityTimeoutMs: seconds(given, "visibility_timeout", 3_600_000),
    ackEmulation: flag(given, "ack_emulation", true),
    queueOrder: queueOrder(given),
    deadletterQueue: text(given, "deadletter_queue", "") || null,
    pollingIntervalMs: seconds(given, "polling_interval", 1000) || 1000,
    connectTimeoutMs: Math.min(connectTimeoutMs ?? Infinity, connect.timeoutMs),
    healthCheckMs: seconds(given, "health_check_interval", 25_000),
    replyTimeoutMs: socketTimeoutMs || 10_000,
    clientName: text(given, "client_name", connect.clientName),
    masterName: text(given, "master_name", "") || null,
    minOtherSentinels: number(given, "min_other_sentinels", 0),
    sentinelUsername: text(sentinel, "username", "") || null,
    sentinelPassword: text(sentinel, "password", "") || null,
  };
}

type Given = Readonly<Record<string, unknown>>;

function text(given: Given, name: string, standard: string): string {
  const value = given[name] ?? standard;
  if (typeof value !== "string") throw wrong(name, "a text");
  return value;
}

function flag(given: Given, name: string, standard: boolean): boolean {
  const value = given[name] ?? standard;
  if (typeof value === "boolean") return value;
  if (value === 0 || value === 1) return value === 1;
  throw wrong(name, "true or false");
}

function number<T extends number | null>(given: Given, name: string, standard: T): number | T {
  const value = given[name] ?? standard;
  if (value === null) return standard;
  if (typeof value !== "number" || !(value >= 0)) throw wrong(name, "a number from 0");
  return value;
}

/** Seconds as given, milliseconds as returned. */
function seconds<T extends number | null>(given: Given, name: string, standardMs: T): number | T {
  const value = number(given, name, null);
  return value === null ? standardMs : value * 1000;
}

function record(given: Given, name: string): Given | null {
  const value = given[name];
  if (value === undefined || value === null) return null;
  if (typeof value !== "object" || Array.isArray(value)) throw wrong(name, "a record");
  return value as Given;
}

function queueOrder(given: Given): RedisOptions["queueOrder"] {
  const value = given["queue_order_strategy"] ?? "round_robin";
  if (value === "round_robin" || value === "sorted" || value === "priority") return value;
  throw wrong("queue_order_strategy", "one of round_robin, sorted, priority");
}

function wrong(name: string, needed: string): UsageError {
  return new UsageError(`Cannot use broker_transport_options["${name}"]: ${needed} is needed`);
}
