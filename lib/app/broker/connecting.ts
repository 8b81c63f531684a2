/**
 * Connecting to a broker: which URLs are tried, in which order, and how often.
 *
 * Source: kombu 5.2.4 connection.py _ensure_connection, completes_cycle, maybe_switch_next; celery 5.2.6
 * worker/consumer/consumer.py ensure_connected; protocol.md 3.1.
 */

import {
  ConnectionLost,
  DialError,
  isRetryable,
  OperatingError,
  UsageError,
  type World,
} from "../../base/mod.ts";
import { connect, type Connection, type ConnectOptions } from "../../transport/mod.ts";
import type { AppCore } from "../core.ts";
import type { FailoverStrategy } from "../conf/broker.ts";

/** Seconds between rounds: the first delay, the increment, and the maximum. */
const INTERVAL_START = 2;
const INTERVAL_STEP = 2;
const INTERVAL_MAX = 30;

/** Used if `broker_connection_timeout` is 0 or null: the maximum of a timer. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

/** Options of `connectBroker`. */
export interface ConnectBrokerOptions {
  /** True: use `broker_write_url`; false: `broker_read_url`. */
  forWriting: boolean;
  signal?: AbortSignal;
  /** True: `broker_connection_retry_on_startup` decides whether to retry, else `broker_connection_retry`. */
  isStartup?: boolean;
  /** False: each URL is tried once. Default by the settings. */
  retry?: boolean;
  /**
   * True if this process was connected before. Then a refusal may be temporary (a password being changed, a
   * virtual host being created), and is retried like an unreachable broker.
   */
  isReconnect?: boolean;
  /** AMQP: negotiate heartbeats. */
  heartbeat?: boolean;
  clientName?: string;
  /** Opens one connection, or rejects with its error; for tests. Default: the transport room's `connect`. */
  connect?: (world: World, url: string, options: ConnectOptions) => Promise<Connection>;
  /**
   * Called after each failed attempt that will be followed by another: seconds until then (0: the next broker
   * is tried at once), the number of delays so far, the maximum number of attempts (null: no limit), and the
   * URL (mask it in output).
   */
  onAttempt?(error: Error, delaySeconds: number, attempt: number, max: number | null, url: string): void;
}

/**
 * Returns the URLs of a setting: a list, or joined by `;`. Source: kombu 5.2.4 connection.py
 * Connection.__init__.
 */
export function brokerUrls(given: string | readonly string[] | null): string[] {
  const list = given === null ? [] : typeof given === "string" ? given.split(";") : given;
  const urls = list.flatMap((one) => one.split(";")).map((one) => one.trim()).filter(Boolean);
  return urls.length > 0 ? urls : ["sqlite://"];
}

/** Returns the URLs that an App publishes to, or consumes from. */
export function appBrokerUrls(app: AppCore, forWriting: boolean): string[] {
  const { conf } = app;
  const urls = brokerUrls(forWriting ? conf.broker_write_url : conf.broker_read_url);
  const scheme = conf.broker_transport;
  return !scheme ? urls : urls.map((url) => url.includes("://") ? url : `${scheme}://${url}`);
}

/** Returns a connection's options from the settings. */
export function connectOptions(app: AppCore, options: ConnectBrokerOptions): ConnectOptions {
  const { conf, world } = app;
  return {
    timeoutMs: conf.broker_connection_timeout ? conf.broker_connection_timeout * 1000 : NO_TIMEOUT_MS,
    transportOptions: conf.broker_transport_options,
    useSsl: conf.broker_use_ssl,
    heartbeatSeconds: options.heartbeat ? conf.broker_heartbeat ?? 0 : 0,
    loginMethod: conf.broker_login_method || null,
    delayQueueType: conf.broker_native_delayed_delivery_queue_type,
    delayQueuePrefix: conf.broker_native_delayed_delivery_queue_prefix ?? "",
    detectQuorumQueues: conf.worker_detect_quorum_queues,
    clientName: options.clientName ?? `lovage-${world.host.pid}@${world.host.hostname}`,
    ...(options.signal ? { signal: options.signal } : {}),
  };
}

/**
 * Connects to the first broker that answers. All URLs are tried in turn without a delay, then a delay of 2, 4
 * … 30 seconds follows before the next round, with at most `broker_connection_max_retries` retries in all.
 *
 * Rejects with the last error when retries are used up or not wanted; at once if every broker refuses finally
 * (wrong password, unknown scheme; with `isReconnect` only an unusable URL); and with the signal's reason
 * when it aborts.
 */
export async function connectBroker(app: AppCore, options: ConnectBrokerOptions): Promise<Connection> {
  const { conf, world } = app;
  const open = options.connect ?? connect;
  const urls = appBrokerUrls(app, options.forWriting);
  const order = failover(conf.broker_failover_strategy, urls, world);
  const connecting = connectOptions(app, options);
  const isRetried = options.retry ??
    (options.isStartup ? conf.broker_connection_retry_on_startup : conf.broker_connection_retry) ?? true;
  const max = conf.broker_connection_max_retries || null;
  let isAnyRetryable = false;
  let waits = 0;
  for (let turn = 0;; turn++) {
    options.signal?.throwIfAborted();
    const url = order(turn);
    try {
      return await open(world, url, connecting);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof Error)) throw error;
      isAnyRetryable ||= isWorthRetrying(error) || (options.isReconnect === true && mayBeTemporary(error));
      const isRoundDone = (turn + 1) % urls.length === 0;
      if (isRoundDone && (!isRetried || !isAnyRetryable)) throw error;
      if (max !== null && turn >= max) throw error;
      let delaySeconds = 0;
      if (isRoundDone) {
        delaySeconds = Math.min(INTERVAL_START + waits * INTERVAL_STEP, INTERVAL_MAX);
        waits++;
        isAnyRetryable = false;
      }
      options.onAttempt?.(error, delaySeconds, waits, max, url);
      if (delaySeconds > 0) await world.clock.sleep(delaySeconds * 1000, options.signal);
    }
  }
}

/**
 * Returns true for an error that may be temporary: no connection, a lost one, a server that asks to retry
 * later.
 */
export function isWorthRetrying(error: unknown): boolean {
  if (error instanceof DialError) {
    // If the server answered at the login, its answer decides.
    return error.cause instanceof OperatingError ? isWorthRetrying(error.cause) : true;
  }
  if (error instanceof ConnectionLost) return true;
  return isRetryable(error);
}

/**
 * Returns true for any error of a broker that accepted this process before, except errors of usage such as a
 * bad URL.
 */
export function mayBeTemporary(error: unknown): boolean {
  return error instanceof OperatingError && !(error instanceof UsageError);
}

/**
 * Returns which URL to try at each turn. Source: kombu 5.2.4 connection.py roundrobin_failover, shufflecycle.
 */
function failover(
  strategy: FailoverStrategy | null,
  urls: readonly string[],
  world: World,
): (turn: number) => string {
  if (typeof strategy === "function") return (turn) => strategy(urls, turn);
  if (strategy !== "shuffle") return (turn) => urls[turn % urls.length]!;
  let round: string[] = [];
  return () => {
    if (round.length === 0) round = [...urls];
    return round.splice(Math.floor(world.random.fraction() * round.length), 1)[0]!;
  };
}
