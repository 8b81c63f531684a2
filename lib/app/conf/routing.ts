/**
 * Routing of tasks: turns `task_routes` into a function of a task's name and options.
 *
 * Precedence, strongest first: the call's options, the task's, the route, the default queue.
 *
 * Source: celery 5.2.6 app/routes.py MapRoute, Router, prepare.
 */

import { Glob, isOptions, isRecord, refuseUnknown, UsageError } from "../../base/mod.ts";
import type { Queue } from "../../transport/mod.ts";
import { shownJson } from "../../wire/mod.ts";
import { isQueue, type Queues } from "./queues.ts";
import { SEND_OPTION_NAMES, type SendOptions, withoutEmpty } from "../call/send_options.ts";

/** A route's options as written in settings; the names are Celery's. */
export interface RouteOptions {
  /** A queue, or its name. */
  queue?: string | Queue | null;
  /** Name of an exchange. */
  exchange?: string | null;
  /** Type of that exchange. */
  exchange_type?: string | null;
  /** Routing key. */
  routing_key?: string | null;
  /** 0 to 9. */
  priority?: number | null;
  /** Name of a serializer. */
  serializer?: string | null;
  /** Name of a compressor. */
  compression?: string | null;
  /** 2: persistent, 1: transient. */
  delivery_mode?: 1 | 2 | null;
  /** Seconds after which the task does not run any more. */
  expires?: number | null;
  /** Hard limit, seconds. */
  time_limit?: number | null;
  /** Soft limit, seconds. */
  soft_time_limit?: number | null;
  [option: string]: unknown;
}

/** The name of a queue, or options. */
export type Route = string | RouteOptions;

/** Called for each message. Returns null or undefined for a task that it does not route. */
export type RouteFunction = (
  name: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: SendOptions,
  task: unknown,
) => Route | null | undefined;

/**
 * Task name, glob (`feed.*`) or regular expression, to route. Exact names are tried first, then patterns in
 * order.
 */
export type RouteMap = Readonly<Record<string, Route>> | readonly (readonly [string | RegExp, Route])[];

/** The type of `task_routes`. */
export type TaskRoutes = RouteMap | RouteFunction | readonly (RouteMap | RouteFunction)[];

type PreparedRoute = (...asked: Parameters<RouteFunction>) => SendOptions | null;

/** Celery's option names, with ours if they differ. */
const OPTION_NAMES: Readonly<Record<string, string>> = {
  exchange_type: "exchangeType",
  routing_key: "routingKey",
  delivery_mode: "deliveryMode",
  time_limit: "timeLimit",
  soft_time_limit: "softTimeLimit",
  ignore_result: "ignoreResult",
  reply_to: "replyTo",
  retry_policy: "retryPolicy",
  task_id: "taskId",
  group_id: "groupId",
  group_index: "groupIndex",
  root_id: "rootId",
  parent_id: "parentId",
  link_error: "linkError",
  add_to_parent: "addToParent",
  correlation_id: "correlationId",
  stamped_headers: "stampedHeaders",
  replaced_task_nesting: "replacedTaskNesting",
  route_name: "routeName",
};

/**
 * Renames options from Celery's names to ours, such as `routing_key` to `routingKey`. Throws UsageError for
 * an unknown one; `of` names the options in the error.
 */
export function camelOptions(given: Readonly<Record<string, unknown>>, of: string): SendOptions {
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(given)) result[OPTION_NAMES[key] ?? key] = given[key];
  refuseUnknown(result, SEND_OPTION_NAMES, of);
  return result as SendOptions;
}

/** The routes of an App. `isConstant`: a destination depends only on the task's name, so it may be cached. */
export class Router {
  readonly isConstant: boolean;
  readonly #routes: readonly PreparedRoute[];
  readonly #queues: Queues;
  readonly #defaultQueue: string;

  constructor(routes: TaskRoutes | null, queues: Queues, defaultQueue: string) {
    const given = routeList(routes);
    this.#routes = given.map(prepareRoute);
    this.isConstant = given.every((one) => typeof one !== "function");
    this.#queues = queues;
    this.#defaultQueue = defaultQueue;
  }

  /**
   * Returns the options over those of the matching route. `queue` is a Queue, or absent if a route names only
   * an exchange.
   */
  route(
    options: SendOptions,
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    task: unknown,
  ): SendOptions & { queue?: Queue | null } {
    const expanded = this.#expand(options);
    for (const route of this.#routes) {
      const found = route(name, args, kwargs, options, task);
      if (found !== null) return merged(this.#expand(withoutEmpty(found)!), expanded);
    }
    if (expanded.queue) return expanded;
    return merged({ queue: this.#queues.get(this.#defaultQueue) }, expanded);
  }

  #expand(options: SendOptions): SendOptions & { queue?: Queue | null } {
    if (typeof options.queue !== "string") return options as SendOptions & { queue?: Queue | null };
    return { ...options, queue: this.#queues.get(options.queue) };
  }
}

/**
 * Merges `over` on top of `under`; null and undefined do not override. Source: celery 5.2.6
 * utils/collections.py lpmerge.
 */
function merged<T extends SendOptions>(under: T, over: T): T {
  const result = { ...under };
  for (const key of Object.keys(over) as (keyof T)[]) {
    if (over[key] !== null && over[key] !== undefined) result[key] = over[key];
  }
  return result;
}

function isPair(value: unknown): value is readonly [string | RegExp, Route] {
  return Array.isArray(value) && value.length === 2 &&
    (typeof value[0] === "string" || value[0] instanceof RegExp) &&
    (typeof value[1] === "string" || isRecord(value[1]));
}

function routeList(routes: TaskRoutes | null): (RouteMap | RouteFunction)[] {
  if (routes === null) return [];
  if (!Array.isArray(routes)) return [routes as RouteMap | RouteFunction];
  return routes.length > 0 && routes.every(isPair) ? [routes as RouteMap] : [...routes];
}

function prepareRoute(route: RouteMap | RouteFunction): PreparedRoute {
  if (typeof route === "function") {
    return (...asked) => routeOptions(route(...asked) ?? null, "a route function");
  }
  const pairs = Array.isArray(route) ? route as readonly unknown[] : Object.entries(route);
  const exact = new Map<string, SendOptions>();
  const patterns: [RegExp | Glob, SendOptions][] = [];
  for (const pair of pairs) {
    if (!isPair(pair)) throw new UsageError(`task_routes: ${shownJson(pair)} is not a pair [name, route]`);
    const [key, to] = pair;
    const options = routeOptions(to, `"${key}"`)!;
    if (key instanceof RegExp) {
      patterns.push([new RegExp(`^(?:${key.source})`, key.flags.replace("g", "")), options]);
    } else if (/[*?[]/.test(key)) patterns.push([new Glob(key), options]);
    else exact.set(key, options);
  }
  return (name) => {
    const found = exact.get(name);
    if (found) return found;
    for (const [pattern, options] of patterns) if (pattern.test(name)) return options;
    return null;
  };
}

function routeOptions(route: Route | null, where: string): SendOptions | null {
  if (route === null) return null;
  if (typeof route === "string") return { queue: route };
  if (isQueue(route)) return { queue: route };
  if (!isOptions(route)) throw new UsageError(`task_routes: ${where} gives neither a queue nor options`);
  return camelOptions(route, `task_routes: ${where}`);
}
