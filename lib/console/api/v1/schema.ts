/**
 * /api/v1 as data: every route with what it takes and answers, and the frames of /api/v1/stream. The server mounts and
 * checks by this table, the OpenAPI document is made from it, and the page takes its types from it:
 *
 *   Reply<"tasks">, Query<"tasks">, Body<"runTask">, Shape<"TaskRow">, Frame
 */

import { type Static, type TObject, Type } from "@sinclair/typebox";
import { type Shape, SHAPES } from "../../shapes.ts";

export type { Shape } from "../../shapes.ts";

/** One route. `path` has `:name` where a segment is a value. */
export interface RouteFacts {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly summary: string;
  /** What a session needs. "none": anybody. */
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

/** What a task that is sent may be given. */
const SENDING = {
  args: Type.Optional(
    Type.Array(Type.Unknown(), about("default: none, or those of the task that is sent again")),
  ),
  kwargs: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  queue: text("default: where routing sends it"),
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
  session: route("GET", "/session", "none", "Session", "Who asks, and what they may do"),
  login: route("POST", "/login", "none", "Session", "Log in with user and password, or with a token", {
    body: Type.Object({ user: text("with password"), password: text(""), token: text("alone") }),
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
  series: route("GET", "/series", "read", "Series", "Figures by minute", {
    query: Type.Object({ window: WINDOW, task: text("of one task name only") }),
  }),
  tasks: route("GET", "/tasks", "read", "TaskPage", "Tasks, by a search, in pages", {
    query: Type.Object({
      search: SEARCH,
      sort: text(
        "received (default), started, ended, runtime, name, state, worker, retries; `-` in front: descending",
      ),
      limit: count("default 50", 500),
      cursor: text("of another page's `next` or `previous`"),
    }),
  }),
  taskNames: route(
    "GET",
    "/task-names",
    "read",
    "TaskNames",
    "Names of tasks: registered by workers, seen in events",
  ),
  task: route("GET", "/tasks/:id", "read", "Task", "All that is known of a task"),
  workers: route("GET", "/workers", "read", "WorkerList", "Workers"),
  worker: route("GET", "/workers/:worker", "read", "Worker", "A worker, asked now"),
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
    "Beat's entries, their last and next runs, who leads",
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
  audit: route("GET", "/audit", "admin", "AuditList", "The actions of late"),

  retryTask: route(
    "POST",
    "/tasks/:id/retry",
    "operate",
    "Sent",
    "Send a task again with its exact arguments",
    {
      body: EMPTY,
    },
  ),
  resendTask: route(
    "POST",
    "/tasks/:id/resend",
    "operate",
    "Sent",
    "Send a task again with some things changed",
    {
      body: Type.Object(SENDING),
    },
  ),
  runTask: route("POST", "/run", "operate", "Sent", "Send a task by its name", {
    body: Type.Object({ name: Type.String({ minLength: 1, maxLength: 512 }), ...SENDING }),
  }),
  revokeTask: route("POST", "/tasks/:id/revoke", "operate", "Done", "Discard a task; with terminate end it", {
    body: Type.Object({
      terminate: Type.Optional(Type.Boolean()),
      signal: text("default SIGTERM"),
    }),
  }),
  abortTask: route(
    "POST",
    "/tasks/:id/abort",
    "operate",
    "Done",
    "Ask a task to end by itself: its stored state becomes ABORTED, which an AbortableTask looks for",
    { body: EMPTY },
  ),
  bulk: route("POST", "/bulk", "operate", "BulkDone", "Do something to every task that a search finds", {
    body: Type.Object({
      action: Type.Union([Type.Literal("revoke"), Type.Literal("terminate"), Type.Literal("retry")]),
      search: SEARCH,
      ids: Type.Optional(Type.Array(Type.String({ maxLength: 512 }), { maxItems: 10_000 })),
      signal: text("of terminate; default SIGTERM"),
      isDryRun: Type.Optional(Type.Boolean(about("only count"))),
      count: Type.Optional(
        Type.Integer(about("what the dry run counted; more than that many are refused, and nothing is done")),
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
  events: route("POST", "/events", "operate", "Done", "Have workers send task events, or stop it", {
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
    "Take slots from a worker's pool",
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
    "Start a worker's slots anew",
    {
      body: EMPTY,
    },
  ),
  addConsumer: route(
    "POST",
    "/workers/:worker/consumers/add",
    "admin",
    "Done",
    "Consume from one more queue",
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
  shutdown: route("POST", "/workers/:worker/shutdown", "admin", "Done", "End a worker in good order", {
    body: EMPTY,
  }),
  purge: route(
    "POST",
    "/queues/:queue/purge",
    "admin",
    "Purged",
    "Delete all messages that wait in a queue",
    {
      body: Type.Object({ confirm: Type.String(about("the queue's name, typed")) }),
    },
  ),
  letterRetry: route("POST", "/letters/:kind/retry", "operate", "BulkDone", "Send letters again", {
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
/** What a route answers with. */
export type Reply<Name extends RouteName> = Shape<(typeof ROUTES)[Name]["reply"]>;
/** What a GET route takes behind its `?`; every value is text there. */
export type Query<Name extends RouteName> = (typeof ROUTES)[Name] extends { query: infer S extends TObject }
  ? Static<S>
  : Record<string, never>;
/** What a POST route takes as JSON. */
export type Body<Name extends RouteName> = (typeof ROUTES)[Name] extends { body: infer S extends TObject }
  ? Static<S>
  : Record<string, never>;

/** What the stream tells of if no topics are asked for. */
export const STREAM_TOPICS = "overview,workers,queues";

/**
 * The frames of GET /api/v1/stream?topics=a,b: server-sent events whose `event` is `kind`, whose `id` counts up, and
 * whose `data` is this as JSON. At most 4 a second of each topic. Topics:
 *
 *   overview?window=N   workers   queues   tasks?search=…   task:ID   worker:NAME
 *
 * (each encoded once more, as `encodeURIComponent` does it, since a comma parts them). A browser that comes back with
 * Last-Event-ID gets what it missed, or `resync` if that is not kept any more: then it fetches again.
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

/** Tasks that a search finds and that changed since the frame before. */
export interface TaskChanges {
  /** The newest first, at most 100; each as it is now, so that a page replaces its row by id or puts it on top. */
  readonly rows: readonly Shape<"TaskRow">[];
  /** How many changed, those beyond 100 included. */
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
