/**
 * What `inspect` shows of requests, queues, the broker and the process, in Celery's shapes.
 *
 * Source: celery 5.2.6 worker/request.py Request.info, worker/worker.py rusage; kombu 5.2.4 entity.py
 * Queue.as_dict, connection.py Connection._info; protocol.md 6.3, 6.4.
 */

import { brokerUrls, maskedSetting, type RequestInfo } from "../../app/mod.ts";
import type { Exchange, Queue } from "../../transport/mod.ts";
import { decodeTaskBody, MAIN_UNPACKED_BYTES_MAX } from "../../wire/mod.ts";
import type { Request } from "../lane/request.ts";
import type { WorkerCore } from "../core.ts";

/** Returns a request as `inspect active` shows it; with `safe` the arguments are their reprs. */
export function requestInfo(worker: WorkerCore, request: Request, safe = false): RequestInfo {
  const { info } = request;
  const { args, kwargs } = safe ? reprs(request) : argumentsOf(worker, request);
  return {
    id: request.id,
    name: request.label,
    args,
    kwargs,
    type: request.name,
    hostname: worker.hostname,
    time_start: begunSeconds(worker, request),
    acknowledged: request.isSettled,
    delivery_info: {
      exchange: info.exchange,
      routing_key: info.routingKey,
      priority: request.delivery.message.properties.priority,
      redelivered: request.redelivered,
    },
    worker_pid: request.pid === 0 ? null : request.pid,
  };
}

// The data lane reads only the monotonic clock. The wall time is computed once, so that a task keeps the time
// first shown.
function begunSeconds({ world }: WorkerCore, request: Request): number | null {
  if (Number.isNaN(request.acceptedMonoMs)) return null;
  if (Number.isNaN(request.acceptedWallMs)) {
    request.acceptedWallMs = world.clock.wallMs() - (world.clock.monoMs() - request.acceptedMonoMs);
  }
  return request.acceptedWallMs / 1000;
}

function reprs({ headers }: Request): { args: unknown; kwargs: unknown } {
  return { args: headers.argsrepr, kwargs: headers.kwargsrepr };
}

// The main isolate decodes no body on the data lane; only here, when somebody asks.
function argumentsOf(worker: WorkerCore, request: Request): { args: unknown; kwargs: unknown } {
  try {
    const { args, kwargs } = decodeTaskBody(request.message, worker.parts.options.accept, {
      unpackedMax: MAIN_UNPACKED_BYTES_MAX,
    });
    return { args, kwargs };
  } catch {
    // The slot reports what is wrong with the body.
    return reprs(request);
  }
}

/** Returns a queue as `inspect active_queues` shows it. */
export function queueInfo(queue: Queue): Record<string, unknown> {
  const given = queue.queueArguments;
  const seconds = (name: string): number | null => {
    const value = given[name];
    return typeof value === "number" ? value / 1000 : null;
  };
  const whole = (name: string): number | null => typeof given[name] === "number" ? given[name] : null;
  return {
    name: queue.name,
    exchange: exchangeInfo(queue.exchange),
    routing_key: queue.routingKey,
    queue_arguments: orNull(given),
    binding_arguments: orNull(queue.bindingArguments),
    consumer_arguments: orNull(queue.consumerArguments),
    durable: queue.durable,
    exclusive: queue.exclusive,
    auto_delete: queue.autoDelete,
    no_ack: queue.noAck,
    alias: queue.alias,
    bindings: [],
    no_declare: queue.noDeclare ?? null,
    expires: seconds("x-expires"),
    message_ttl: seconds("x-message-ttl"),
    max_length: whole("x-max-length"),
    max_length_bytes: whole("x-max-length-bytes"),
    max_priority: whole("x-max-priority"),
  };
}

function exchangeInfo(exchange: Exchange): Record<string, unknown> {
  return {
    name: exchange.name,
    type: exchange.type,
    arguments: orNull(exchange.arguments),
    durable: exchange.durable,
    passive: false,
    auto_delete: exchange.autoDelete,
    delivery_mode: null,
    no_declare: exchange.noDeclare ?? false,
  };
}

function orNull(values: Readonly<Record<string, unknown>>): Record<string, unknown> | null {
  return Object.keys(values).length === 0 ? null : { ...values };
}

/** Returns the broker as `inspect stats` shows it, without its password. */
export function brokerInfo(worker: WorkerCore): Record<string, unknown> {
  const { conf } = worker.support.app;
  const [first, ...alternates] = brokerUrls(conf.broker_read_url);
  const url = parsed(worker.consumer.connection?.url ?? first!);
  return {
    hostname: url.hostname,
    userid: url.userid,
    virtual_host: url.virtualHost,
    port: url.port,
    insist: false,
    ssl: conf.broker_use_ssl !== false,
    transport: url.transport,
    connect_timeout: conf.broker_connection_timeout,
    transport_options: jsonable(maskedSetting("broker_transport_options", conf.broker_transport_options)),
    login_method: conf.broker_login_method,
    uri_prefix: null,
    heartbeat: conf.broker_heartbeat ?? 0,
    failover_strategy: typeof conf.broker_failover_strategy === "string"
      ? conf.broker_failover_strategy
      : "round-robin",
    alternates: alternates.map((one) => maskedSetting("", one)),
    // A field of kombu 5.6. Our `credentials` are in transport_options.
    credential_provider: null,
  };
}

function parsed(text: string): {
  transport: string;
  hostname: string | null;
  userid: string | null;
  port: number | null;
  virtualHost: string | null;
} {
  const match = /^([^:]+):\/\/(?:([^@/]*)@)?(\[[^\]]*\]|[^:/]*)(?::(\d+))?(?:\/(.*))?$/s.exec(text);
  if (!match) return { transport: text, hostname: null, userid: null, port: null, virtualHost: null };
  const [, transport, login, hostname, port, path] = match;
  return {
    transport: transport!,
    hostname: hostname || null,
    userid: login?.split(":")[0] || null,
    port: port === undefined ? null : Number(port),
    virtualHost: path || (transport!.startsWith("redis") ? "0" : "/"),
  };
}

/**
 * Returns resource use under getrusage's names; times in seconds, `maxrss` in KiB. "N/A" if the host does not
 * report it.
 */
export function resourceUse(worker: WorkerCore): Record<string, number> | "N/A" {
  const use = worker.world.host.resourceUsage?.();
  if (!use) return "N/A";
  return {
    utime: use.userMs / 1000,
    stime: use.systemMs / 1000,
    maxrss: use.maxRssKib,
    ixrss: 0,
    idrss: 0,
    isrss: 0,
    minflt: use.minorFaults,
    majflt: use.majorFaults,
    nswap: 0,
    inblock: use.blocksRead,
    oublock: use.blocksWritten,
    msgsnd: 0,
    msgrcv: 0,
    nsignals: 0,
    nvcsw: use.voluntarySwitches,
    nivcsw: use.involuntarySwitches,
  };
}

/**
 * Returns a size such as "46.895MB", with five significant digits. Source: celery 5.2.6 utils/debug.py
 * humanbytes, hfloat.
 */
export function humanBytes(bytes: number): string {
  for (const [size, unit] of UNITS) {
    if (bytes >= size) {
      const value = bytes / size;
      return (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)))) + unit;
    }
  }
  return `${bytes}b`;
}

const UNITS: readonly (readonly [number, string])[] = [
  [2 ** 40, "TB"],
  [2 ** 30, "GB"],
  [2 ** 20, "MB"],
  [2 ** 10, "KB"],
];

/** Returns a value as JSON can carry it. What JSON has no form for becomes text. */
export function jsonable(value: unknown, level = 0): unknown {
  if (value === undefined || value === null) return null;
  if (typeof value === "function") return `<function ${value.name || "anonymous"}>`;
  if (typeof value !== "object") return typeof value === "symbol" ? String(value) : value;
  if (level > 20) return "...";
  if (Array.isArray(value)) return value.map((item) => jsonable(item, level + 1));
  if (value instanceof Date) return value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (value instanceof Map) return jsonable(Object.fromEntries(value), level);
  if (value instanceof Set) return jsonable([...value], level);
  const result: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (!key.startsWith("__")) result[key] = jsonable(item, level + 1);
  }
  return result;
}
