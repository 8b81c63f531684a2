/**
 * The answers of /api/v1: the shapes of tasks, workers, queues and figures.
 *
 * Times are seconds since 1970, durations are seconds, both with fractions. An unknown value is null, never
 * absent.
 * A shape is JSON Schema and a TypeScript type at once (`Shape<"TaskRow">`), so that the OpenAPI document, the checks
 * of the server and the types of the page have one source.
 */

import { type Static, type TSchema, Type } from "@sinclair/typebox";

const text = (description?: string) => Type.String(about(description));
const number = (description?: string) => Type.Number(about(description));
const integer = (description?: string) => Type.Integer(about(description));
const flag = (description?: string) => Type.Boolean(about(description));
const maybe = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const list = <T extends TSchema>(schema: T, description?: string) => Type.Array(schema, about(description));
const words = <T extends string>(values: readonly T[], description?: string) =>
  Type.Unsafe<T>(Type.Union(values.map((value) => Type.Literal(value)), about(description)));

function about(description?: string): { description?: string } {
  return description === undefined ? {} : { description };
}

const Scope = words(["read", "operate", "admin"], "each includes those before it");

const Session = Type.Object({
  user: maybe(text("null if no login is needed")),
  isLoggedIn: flag("true if the pages may be seen"),
  scope: maybe(Scope),
  actions: list(
    text(),
    "names of the actions (`Action`) that this session may take; the page hides all others",
  ),
  isReadOnly: flag("the console was started with --read-only"),
  logins: list(
    words(["basic", "token", "oidc"]),
    "ways to log in; empty if a proxy does it or no login is needed",
  ),
  oidcName: maybe(text("label of the login button: the issuer's host")),
  prefix: text('the URL prefix, "" or "/x"'),
  version: text(),
  broker: text("its URL, with the password masked"),
  hasResults: flag("a result store is configured"),
  hasHistory: flag("false with --no-history: only tasks in memory are found"),
  hasModule: flag("a task module was named with -A"),
  taskColumns: list(text(), "the columns of the list of tasks that --tasks-columns names"),
  isNaturalTime: flag("times are shown relative to now (--natural-time)"),
  autoRefresh: flag("pages update live from the start (--auto-refresh)"),
  now: number("the server's clock"),
});

const TaskRow = Type.Object({
  id: text(),
  name: maybe(text()),
  state: text(
    "PENDING RECEIVED STARTED SUCCESS FAILURE RETRY REVOKED REJECTED, or a custom state",
  ),
  args: maybe(text("Python's text of the arguments, as events carry it; possibly cut off")),
  kwargs: maybe(text()),
  result: maybe(text()),
  exception: maybe(text()),
  worker: maybe(text()),
  queue: maybe(text("known from Lovage's workers and from task-sent events")),
  sent: maybe(number()),
  received: maybe(number()),
  started: maybe(number()),
  ended: maybe(number("when it succeeded, failed, was revoked or rejected")),
  updated: number("time of the last event"),
  runtime: maybe(number()),
  waited: maybe(number("from sent (else received) or its eta, whichever is later, to started")),
  retries: maybe(integer()),
  eta: maybe(text("ISO 8601")),
  expires: maybe(text("ISO 8601")),
  rootId: maybe(text()),
  parentId: maybe(text()),
});

const TaskEvent = Type.Object({
  type: text("task-sent, task-received, …"),
  at: number(),
  worker: maybe(text("the sender of the event")),
  detail: maybe(text("details of the event: an exception, a result, who revoked it")),
});

const GraphNode = Type.Object({
  id: text(),
  name: maybe(text()),
  state: text(),
  runtime: maybe(number()),
  started: maybe(number()),
  isThis: flag("the task that the page shows"),
  isPlanned: flag("known only from another task's message; not sent yet"),
});
const GraphEdge = Type.Object({
  from: text(),
  to: text(),
  kind: words(["child", "chain", "callback", "errback", "chord"]),
});
const Graph = Type.Object({
  nodes: list(GraphNode, "at most 500"),
  edges: list(GraphEdge),
  isCut: flag("this root has more tasks"),
});

const Exact = Type.Object({
  source: words(["failed", "dead", "parked", "result", "queue"], "where the arguments come from"),
  args: text("JSON, large numbers with all their digits; a form sends it back unchanged"),
  kwargs: text("JSON"),
  headers: text("JSON"),
  queue: maybe(text()),
});

const StoredResult = Type.Object({
  state: text(),
  result: maybe(text("JSON, or Python's repr of a value that JSON cannot carry")),
  traceback: maybe(text()),
  dateDone: maybe(text("ISO 8601")),
});

const Task = Type.Object({
  row: TaskRow,
  client: maybe(text("the client that sent it")),
  exchange: maybe(text()),
  routingKey: maybe(text()),
  traceback: maybe(text()),
  extra: Type.Record(Type.String(), Type.Unknown(), { description: "fields of custom events" }),
  timeline: list(TaskEvent, "oldest first"),
  parent: maybe(TaskRow),
  root: maybe(TaskRow),
  children: list(TaskRow, "at most 200"),
  graph: Graph,
  stored: maybe(StoredResult),
  exact: maybe(Exact),
  canRetry: flag(),
  whyNot: maybe(text("why it cannot be retried with its exact arguments, in one sentence")),
});

const Percentiles = Type.Object({
  count: integer(),
  mean: maybe(number()),
  p50: maybe(number()),
  p90: maybe(number()),
  p95: maybe(number()),
  p99: maybe(number()),
  max: maybe(number()),
});

const column = (description: string) => list(maybe(number()), description);
const Series = Type.Object({
  step: integer("seconds between two points"),
  times: list(number(), "the beginning of each step; the last step is not complete yet"),
  received: column("tasks per step"),
  succeeded: column("tasks per step"),
  failed: column("tasks per step"),
  retried: column("tasks per step"),
  runtimeP50: column("seconds; null if no task ended"),
  runtimeP95: column("seconds"),
  waitedP50: column("seconds"),
  waitedP95: column("seconds"),
});

const Failure = Type.Object({
  exception: text("the class, such as ValueError"),
  task: maybe(text("the task that raised it most often")),
  count: integer(),
  lastAt: number(),
  lastId: text(),
  lastText: text("the exception of the last failed task"),
});

const TaskType = Type.Object({
  name: text(),
  received: integer(),
  succeeded: integer(),
  failed: integer(),
  retried: integer(),
  runtime: Percentiles,
});

const Rates = Type.Object({
  received: number("per second, over the last minute"),
  started: number(),
  succeeded: number(),
  failed: number(),
  retried: number(),
  revoked: number(),
});
const Totals = Type.Object({
  received: integer("since the beginning of the window"),
  started: integer(),
  succeeded: integer(),
  failed: integer(),
  retried: integer(),
  revoked: integer(),
});

const QueueRow = Type.Object({
  name: text(),
  ready: maybe(integer("all priorities summed")),
  priorities: list(
    Type.Object({ priority: integer(), ready: integer() }),
    "if the broker keeps a list for each priority",
  ),
  unacked: maybe(integer("fetched by workers and not yet settled")),
  parked: maybe(integer("held by the broker until they are due")),
  limited: maybe(integer("held back by rate and concurrency rules")),
  dead: maybe(integer("dead letters from this queue")),
  failed: maybe(integer("kept failed tasks from this queue")),
  consumers: maybe(integer("workers that consume it")),
  oldest: maybe(number("age of the message at its head, seconds")),
  isPaused: maybe(flag()),
});

const WorkerRow = Type.Object({
  name: text(),
  isOnline: flag(),
  active: maybe(integer("running tasks")),
  processed: maybe(integer("tasks since it started")),
  succeeded: integer("as far as the console received events"),
  failed: integer(),
  retried: integer(),
  load: maybe(list(number(), "1, 5 and 15 minutes")),
  pool: maybe(text()),
  concurrency: maybe(integer()),
  queues: maybe(list(text())),
  software: maybe(text('such as "py-celery" or "lovage"')),
  version: maybe(text()),
  system: maybe(text()),
  pid: maybe(integer()),
  lastSeen: maybe(number()),
  sendsTaskEvents: maybe(flag("null until a task event or an answer shows it")),
});

const RequestRow = Type.Object({
  id: text(),
  name: text(),
  args: text(),
  kwargs: text(),
  started: maybe(number()),
  pid: maybe(integer()),
  queue: maybe(text()),
  redelivered: maybe(flag()),
  eta: maybe(text("ISO 8601; only for scheduled tasks")),
  priority: maybe(integer()),
});

const WorkerQueue = Type.Object({
  name: text(),
  exchange: maybe(text()),
  exchangeType: maybe(text()),
  routingKey: maybe(text()),
  isDurable: maybe(flag()),
});

const TaskLimits = Type.Object({
  name: text(),
  rateLimit: maybe(text()),
  timeLimit: maybe(number("hard, seconds")),
  softTimeLimit: maybe(number()),
});

const Worker = Type.Object({
  row: WorkerRow,
  answered: maybe(
    flag("false: it did not answer, and the lists below are empty; null: no answer yet, ask again"),
  ),
  askedAt: maybe(number()),
  pool: Type.Record(Type.String(), Type.Unknown(), { description: "stats.pool as the worker reports it" }),
  poolMin: maybe(integer("minimum of autoscaling")),
  poolMax: maybe(integer()),
  prefetch: maybe(integer()),
  uptime: maybe(number()),
  queues: list(WorkerQueue),
  active: list(RequestRow),
  reserved: list(RequestRow),
  scheduled: list(RequestRow),
  revoked: list(text(), "ids"),
  registered: list(TaskLimits, "with their limits, as far as the worker reports them"),
  conf: Type.Record(Type.String(), Type.Unknown(), { description: "settings, secrets masked" }),
  stats: Type.Record(Type.String(), Type.Unknown(), {
    description: "as the worker reports them, passwords masked",
  }),
});

const ScheduledRow = Type.Object({
  id: text("id of the task"),
  name: maybe(text()),
  args: maybe(text()),
  kwargs: maybe(text()),
  due: number(),
  queue: maybe(text()),
  worker: maybe(text("the worker that holds it; null: the broker does")),
  retries: maybe(integer()),
});

const PeriodicRow = Type.Object({
  name: text(),
  task: text(),
  schedule: text("as Celery writes it"),
  inWords: text("in plain words"),
  args: text(),
  kwargs: text(),
  queue: maybe(text()),
  timezone: maybe(text()),
  isEnabled: flag(),
  lastRun: maybe(number()),
  lastId: maybe(text("task id of the last run seen in events")),
  lastState: maybe(text()),
  totalRuns: maybe(integer()),
  next: list(number(), "the next runs, soonest first, at most 5"),
});

const Letter = Type.Object({
  id: text("id of the letter"),
  kind: words(["dead", "failed"]),
  taskId: maybe(text()),
  name: maybe(text()),
  queue: maybe(text()),
  reason: text(),
  at: number(),
  args: maybe(text()),
  kwargs: maybe(text()),
  bytes: integer("size of its message"),
  canRetry: flag(),
  whyNot: maybe(text()),
});

const AuditLine = Type.Object({
  at: number(),
  user: maybe(text()),
  from: text("the address"),
  action: text(),
  target: text(),
  outcome: text('"ok", or why it was refused or failed'),
});

/** The actions, as sessions and the audit log name them. */
export const ACTION_WORDS = [
  "retry",
  "revoke",
  "terminate",
  "run",
  "resend",
  "rate_limit",
  "time_limit",
  "enable_events",
  "disable_events",
  "letter_retry",
  "abort",
  "pool_grow",
  "pool_shrink",
  "pool_autoscale",
  "pool_restart",
  "add_consumer",
  "cancel_consumer",
  "purge",
  "letter_drop",
  "shutdown",
] as const;

const Done = Type.Object({
  message: text("what was done, in one sentence"),
  replies: list(
    Type.Object({ worker: text(), isOk: flag(), text: text() }),
    "replies of the workers that were asked; empty if none was",
  ),
});
const Sent = Type.Object({ message: text(), taskId: maybe(text("id of the task that was sent")) });

/** Every shape by its name in the OpenAPI document. */
export const SHAPES = {
  Scope,
  Action: words(ACTION_WORDS),
  Session,
  TaskRow,
  TaskEvent,
  GraphNode,
  GraphEdge,
  Graph,
  Exact,
  StoredResult,
  Task,
  TaskPage: Type.Object({
    rows: list(TaskRow),
    total: integer("number of matches, counted up to 10000"),
    isTotalExact: flag(),
    next: maybe(text("the `cursor` of the next page")),
    previous: maybe(text("the `cursor` of the previous page")),
    tookMs: number(),
  }),
  Percentiles,
  Series,
  Failure,
  TaskType,
  Overview: Type.Object({
    now: number(),
    window: integer("seconds covered by totals, percentiles and failures"),
    rates: Rates,
    totals: Totals,
    runtime: Percentiles,
    waited: Percentiles,
    failures: list(Failure, "the most frequent first, at most 20"),
    types: list(TaskType, "the busiest first, at most 50"),
    workersOnline: integer(),
    workersOffline: integer(),
    slotsBusy: integer(),
    slots: maybe(integer()),
    queues: list(QueueRow),
    hasTaskEvents: flag("false: no worker sends task events; -E or enable_events helps"),
    series: Series,
    events: integer("received since the console started"),
    isConnected: flag("to the broker"),
    isBehind: flag("events arrive faster than the console processes them"),
  }),
  QueueRow,
  QueueList: Type.Object({
    rows: list(QueueRow),
    dead: maybe(integer()),
    failed: maybe(integer()),
    why: maybe(text("what this broker cannot report, in one sentence")),
  }),
  WorkerRow,
  WorkerList: Type.Object({ rows: list(WorkerRow) }),
  RequestRow,
  WorkerQueue,
  TaskLimits,
  Worker,
  TaskNames: Type.Object({
    registered: list(text(), "by workers that are online"),
    seen: list(text(), "in events"),
  }),
  ScheduledRow,
  ScheduledList: Type.Object({ rows: list(ScheduledRow), isCut: flag() }),
  PeriodicRow,
  Periodic: Type.Object({
    leader: maybe(text("the leading beat")),
    rows: list(PeriodicRow),
    why: maybe(text("why entries are not known, and what to do")),
    whyNoLeader: maybe(text("why the leader is not known, in a sentence or two")),
  }),
  Letter,
  LetterList: Type.Object({ rows: list(Letter), total: integer(), why: maybe(text()) }),
  AuditLine,
  AuditList: Type.Object({ rows: list(AuditLine, "newest first, at most 500") }),
  Done,
  Sent,
  BulkDone: Type.Object({
    count: integer("number of matches"),
    isCountExact: flag(),
    done: integer("0 if matches were only counted"),
    failures: list(Type.Object({ id: text(), why: text() }), "at most 50"),
  }),
  Purged: Type.Object({ message: text(), count: integer() }),
  Fault: Type.Object({
    error: text("what went wrong, in one sentence"),
    hint: maybe(text("what to do")),
  }),
} satisfies Record<string, TSchema>;

/** The TypeScript type of a shape: `Shape<"TaskRow">`. */
export type Shape<Name extends keyof typeof SHAPES> = Static<(typeof SHAPES)[Name]>;
