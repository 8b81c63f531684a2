/**
 * /api/v1 as data: each route with its input and reply, and the frames of /api/v1/stream. The server mounts
 * routes and checks requests by this table; the OpenAPI document and the types of the pages come from it too:
 *
 *   Reply<"tasks">, Query<"tasks">, Body<"runTask">, Shape<"TaskRow">, Frame
 */

import { type Static, type TObject, Type } from "@sinclair/typebox";
import { type Shape, SHAPES } from "../../shapes.ts";

export type { Shape } from "../../shapes.ts";

/** A route. A segment `:name` of `path` is a parameter. */
export interface RouteFacts {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly summary: string;
  /** The scope that the session needs; "none": no login. */
  readonly scope: "none" | "read" | "operate" | "admin";
  readonly query?: TObject;
  readonly body?: TObject;
  readonly reply: keyof typeof SHAPES;
}

const about = (description: string) => ({ description });
const text = (description: string) => Type.Optional(Type.String({ description, maxLength: 4096 }));
const count = (description: string, maximum: number) =>
  Type.Optional(Type.Integer({ description, minimum: 1, maximum }));
const seconds = (description: string) => Type.Optional(Type.Number({ description, minimum: 0 }));

/** Fields of the requests that send a task. */
const SENDING = {
  args: Type.Optional(
    Type.Array(Type.Unknown(), about("default: none, or those of the task that is resent")),
  ),
  kwargs: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  queue: text("default: as routed"),
  countdown: seconds("seconds from now"),
  eta: text("ISO 8601"),
  expires: seconds("seconds from now"),
  priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 255 })),
};
const WORKERS = Type.Optional(
  Type.Array(Type.String({ maxLength: 512 }), about("node names; default: every worker")),
);
const WINDOW = count("seconds back from now; default 3600", 30 * 86_400);
const SEARCH = text(
  'the search: words, "phrases", AND OR NOT ( ), name: state: worker: queue: id: root: exception: args: kwargs: ' +
    "result: runtime:>5s received:<1h",
);
const EMPTY = Type.Object({});

/** Every route by the name that types and the OpenAPI document call it. */
export const ROUTES = {
  session: route("GET", "/session", "none", "Session", "The session: user and permissions"),
  login: route("POST", "/login", "none", "Session", "Log in with user and password, or with a token", {
    body: Type.Object({
      user: text("together with password"),
      password: text("together with user"),
      token: text("instead of user and password"),
    }),
  }),
  logout: route("POST", "/logout", "none", "Session", "Log out", { body: EMPTY }),

  overview: route(
    "GET",
    "/overview",
    "read",
    "Overview",
    "Rates, percentiles, failures, queues, workers, charts",
    {
      query: Type.Object({ window: WINDOW }),
    },
  ),
  series: route("GET", "/series", "read", "Series", "Figures over time, for charts", {
    query: Type.Object({ window: WINDOW, task: text("only this task name") }),
  }),
  tasks: route("GET", "/tasks", "read", "TaskPage", "Search tasks, in pages", {
    query: Type.Object({
      search: SEARCH,
      sort: text(
        "received (default), started, ended, runtime, name, state, worker, retries; a leading `-` sorts descending",
      ),
      limit: count("default 50", 500),
      cursor: text("`next` or `previous` of another page"),
    }),
  }),
  taskNames: route(
    "GET",
    "/task-names",
    "read",
    "TaskNames",
    "Names of tasks: registered by workers, seen in events",
  ),
  task: route("GET", "/tasks/:id", "read", "Task", "All details of a task"),
  workers: route("GET", "/workers", "read", "WorkerList", "Workers"),
  worker: route("GET", "/workers/:worker", "read", "Worker", "A worker; it is asked now"),
  queues: route("GET", "/queues", "read", "QueueList", "Queues"),
  scheduled: route(
    "GET",
    "/scheduled",
    "read",
    "ScheduledList",
    "Tasks that are not due yet, soonest first",
    {
      query: Type.Object({ limit: count("default 200", 2000) }),
    },
  ),
  periodic: route(
    "GET",
    "/periodic",
    "read",
    "Periodic",
    "Beat's entries, their last and next runs, and the leading beat",
  ),
  letters: route(
    "GET",
    "/letters/:kind",
    "read",
    "LetterList",
    "Dead letters (dead), kept failed tasks (failed)",
    {
      query: Type.Object({ limit: count("default 200", 10_000) }),
    },
  ),
  audit: route("GET", "/audit", "admin", "AuditList", "Recent actions"),

  retryTask: route(
    "POST",
    "/tasks/:id/retry",
    "operate",
    "Sent",
    "Resend a task with its exact arguments",
    {
      body: EMPTY,
    },
  ),
  resendTask: route(
    "POST",
    "/tasks/:id/resend",
    "operate",
    "Sent",
    "Resend a task with changes",
    {
      body: Type.Object(SENDING),
    },
  ),
  runTask: route("POST", "/run", "operate", "Sent", "Send a task by its name", {
    body: Type.Object({ name: Type.String({ minLength: 1, maxLength: 512 }), ...SENDING }),
  }),
  revokeTask: route(
    "POST",
    "/tasks/:id/revoke",
    "operate",
    "Done",
    "Revoke a task; terminate also ends it if it runs",
    {
      body: Type.Object({
        terminate: Type.Optional(Type.Boolean()),
        signal: text("default SIGTERM"),
      }),
    },
  ),
  abortTask: route(
    "POST",
    "/tasks/:id/abort",
    "operate",
    "Done",
    "Ask a task to end by itself: stores the state ABORTED, which an AbortableTask checks for",
    { body: EMPTY },
  ),
  bulk: route("POST", "/bulk", "operate", "BulkDone", "Act on all tasks that match a search", {
    body: Type.Object({
      action: Type.Union([Type.Literal("revoke"), Type.Literal("terminate"), Type.Literal("retry")]),
      search: SEARCH,
      ids: Type.Optional(Type.Array(Type.String({ maxLength: 512 }), { maxItems: 10_000 })),
      signal: text("for terminate; default SIGTERM"),
      isDryRun: Type.Optional(Type.Boolean(about("only count"))),
      count: Type.Optional(
        Type.Integer(about("count of the dry run; if more tasks match now, nothing is done")),
      ),
    }),
  }),
  rateLimit: route(
    "POST",
    "/task-names/:name/rate-limit",
    "operate",
    "Done",
    "Limit how often a task starts",
    {
      body: Type.Object({
        rate: Type.String({ description: '"10/m", "0" for no limit', maxLength: 40 }),
        workers: WORKERS,
      }),
    },
  ),
  timeLimit: route("POST", "/task-names/:name/time-limit", "operate", "Done", "Limit how long a task runs", {
    body: Type.Object({ soft: seconds("0: none"), hard: seconds("0: none"), workers: WORKERS }),
  }),
  events: route("POST", "/events", "operate", "Done", "Enable or disable task events of workers", {
    body: Type.Object({ enable: Type.Boolean(), workers: WORKERS }),
  }),
  poolGrow: route("POST", "/workers/:worker/pool/grow", "admin", "Done", "Add slots to a worker's pool", {
    body: Type.Object({ n: count("default 1", 1000) }),
  }),
  poolShrink: route(
    "POST",
    "/workers/:worker/pool/shrink",
    "admin",
    "Done",
    "Remove slots from a worker's pool",
    {
      body: Type.Object({ n: count("default 1", 1000) }),
    },
  ),
  poolAutoscale: route(
    "POST",
    "/workers/:worker/pool/autoscale",
    "admin",
    "Done",
    "Change the range of autoscaling",
    {
      body: Type.Object({
        min: Type.Integer({ minimum: 0, maximum: 10_000 }),
        max: Type.Integer({ minimum: 1, maximum: 10_000 }),
      }),
    },
  ),
  poolRestart: route(
    "POST",
    "/workers/:worker/pool/restart",
    "admin",
    "Done",
    "Restart a worker's pool",
    {
      body: EMPTY,
    },
  ),
  addConsumer: route(
    "POST",
    "/workers/:worker/consumers/add",
    "admin",
    "Done",
    "Consume from another queue",
    {
      body: Type.Object({
        queue: Type.String({ minLength: 1, maxLength: 255 }),
        exchange: text("default: the queue's name"),
        exchangeType: text("default direct"),
        routingKey: text("default: the queue's name"),
      }),
    },
  ),
  cancelConsumer: route(
    "POST",
    "/workers/:worker/consumers/cancel",
    "admin",
    "Done",
    "Stop consuming from a queue",
    {
      body: Type.Object({ queue: Type.String({ minLength: 1, maxLength: 255 }) }),
    },
  ),
  shutdown: route("POST", "/workers/:worker/shutdown", "admin", "Done", "Shut down a worker warmly", {
    body: EMPTY,
  }),
  purge: route(
    "POST",
    "/queues/:queue/purge",
    "admin",
    "Purged",
    "Delete all pending messages of a queue",
    {
      body: Type.Object({ confirm: Type.String(about("the queue's name, as confirmation")) }),
    },
  ),
  letterRetry: route("POST", "/letters/:kind/retry", "operate", "BulkDone", "Resend letters", {
    body: Type.Object({
      ids: Type.Array(Type.String({ maxLength: 200 }), { minItems: 1, maxItems: 10_000 }),
    }),
  }),
  letterDrop: route("POST", "/letters/:kind/drop", "admin", "BulkDone", "Delete letters for good", {
    body: Type.Object({
      ids: Type.Array(Type.String({ maxLength: 200 }), { minItems: 1, maxItems: 10_000 }),
    }),
  }),
} as const satisfies Record<string, RouteFacts>;

/** The name of a route. */
export type RouteName = keyof typeof ROUTES;
/** The type of a route's reply. */
export type Reply<Name extends RouteName> = Shape<(typeof ROUTES)[Name]["reply"]>;
/** The type of a GET route's query. */
export type Query<Name extends RouteName> = (typeof ROUTES)[Name] extends { query: infer S extends TObject }
  ? Static<S>
  : Record<string, never>;
/** The type of a POST route's JSON body. */
export type Body<Name extends RouteName> = (typeof ROUTES)[Name] extends { body: infer S extends TObject }
  ? Static<S>
  : Record<string, never>;

/** The default topics of the stream. */
export const STREAM_TOPICS = "overview,workers,queues";

/**
 * The frames of GET /api/v1/stream?topics=a,b: server-sent events whose `event` is `kind`, whose `id`
 * increases, and whose `data` is this object as JSON. At most 4 frames a second for each topic. Topics:
 *
 *   overview?window=N   workers   queues   tasks?search=…   task:ID   worker:NAME
 *
 * (each encoded once more with `encodeURIComponent`, since commas separate them). A browser that reconnects
 * with Last-Event-ID gets the frames that it missed, or `resync` if they are no longer kept; then it fetches
 * all again.
 */
export type Frame =
  | { readonly kind: "overview"; readonly topic: string; readonly data: Shape<"Overview"> }
  | { readonly kind: "workers"; readonly topic: string; readonly data: Shape<"WorkerList"> }
  | { readonly kind: "queues"; readonly topic: string; readonly data: Shape<"QueueList"> }
  | { readonly kind: "tasks"; readonly topic: string; readonly data: TaskChanges }
  | { readonly kind: "task"; readonly topic: string; readonly data: Shape<"Task"> }
  | { readonly kind: "worker"; readonly topic: string; readonly data: Shape<"Worker"> }
  | { readonly kind: "resync"; readonly topic: string; readonly data: null }
  | { readonly kind: "ping"; readonly topic: ""; readonly data: { readonly now: number } };

/** Tasks that match a search and changed since the previous frame. */
export interface TaskChanges {
  /**
   * Newest first, at most 100, in their current state: a page replaces the row with the same id or adds it on
   * top.
   */
  readonly rows: readonly Shape<"TaskRow">[];
  /** Number of changed tasks, including those beyond 100. */
  readonly changed: number;
}

interface Extra {
  readonly query?: TObject;
  readonly body?: TObject;
}

function route<
  M extends "GET" | "POST",
  R extends keyof typeof SHAPES,
  E extends Extra = Record<never, never>,
>(method: M, path: string, scope: RouteFacts["scope"], reply: R, summary: string, extra?: E) {
  return { method, path, scope, reply, summary, ...extra } as {
    readonly method: M;
    readonly path: string;
    readonly scope: RouteFacts["scope"];
    readonly reply: R;
    readonly summary: string;
  } & E;
}
