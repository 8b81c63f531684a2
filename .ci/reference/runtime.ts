/** The pages of events, of metrics and of variables of the environment. */

import { FAMILIES, MetricsText, TaskMetrics, writeTasks } from "../../lib/metrics/mod.ts";
import { GLOBAL_OPTIONS, longName, type Option } from "../../lib/cli/command.ts";
import { code, page, sentence, table } from "./markdown.ts";

/**
 * The events that there are: type, when it is sent, and its fields beside the common ones. tests/docs_test.ts compares
 * the types with those that the source sends.
 */
export const EVENTS: readonly (readonly [type: string, when: string, fields: string])[] = [
  [
    "task-sent",
    "a task was sent, with `task_send_sent_event`",
    "uuid name args kwargs root_id parent_id retries eta expires queue exchange routing_key",
  ],
  [
    "task-received",
    "a worker has taken the message",
    "uuid name queue args kwargs root_id parent_id retries eta expires",
  ],
  ["task-started", "a slot begins it", "uuid"],
  ["task-succeeded", "it ended well; `runtime` is in seconds", "uuid result runtime"],
  ["task-failed", "it failed for good, by its error, a limit or a lost process", "uuid exception traceback"],
  ["task-retried", "it failed and will be tried again", "uuid exception traceback"],
  ["task-rejected", "it threw `Reject`", "uuid requeue"],
  ["task-revoked", "it was discarded, or ended on command", "uuid terminated signum expired"],
  ["task-cancelled", "it was cut off by the worker's end, or by a lost connection", "uuid"],
  ["worker-online", "a worker is ready", "freq active processed loadavg sw_ident sw_ver sw_sys"],
  ["worker-heartbeat", "a worker is there", "freq active processed loadavg sw_ident sw_ver sw_sys"],
  ["worker-offline", "a worker stops in order", "freq active processed loadavg sw_ident sw_ver sw_sys"],
  ["worker-elect", "a worker stands in an election", "id topic action cver"],
  ["worker-elect-ack", "a worker has heard of all who stand", "id"],
];

/** docs/reference/events.md. */
export function eventsPage(): string {
  return page(
    "Events",
    "Events go to the exchange `event_exchange` (`celeryev`), in Celery's form: any monitor of Celery reads them. Task events are sent " +
      "with `worker -E`, or after `lovage control enable_events`. More: [events](../events.md).",
    `## Types\n\n${
      table(
        ["type", "sent when", "its own fields"],
        EVENTS.map(([type, when, fields]) => [code(type), when, fields.split(" ").map(code).join(", ")]),
      )
    }`,
    "A task sends events of its own with `self.sendEvent(type, fields)`.",
    `## Fields of every event\n\n${
      table(["field", "what it is"], [
        ["`type`", "The type, as above. What stands before the dash is its group."],
        ["`hostname`", "The sender's node name."],
        ["`timestamp`", "When it was sent: seconds since the epoch, by the sender's clock."],
        ["`utcoffset`", "Hours west of UTC, of the sender."],
        ["`pid`", "The sender's process."],
        ["`clock`", "The sender's logical clock."],
        [
          "`local_received`",
          "When it came: seconds since the epoch, by the reader's clock. Added by the reader.",
        ],
      ])
    }`,
  );
}

/** docs/reference/metrics.md. */
export function metricsPage(): string {
  const text = new MetricsText();
  writeTasks(text, new TaskMetrics());
  const tasks = text.end();
  const helps = new Map([...tasks.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name, help]) => [name!, help!]));
  const rows = [...tasks.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((
    [, name, type],
  ) => [name!, type!, helps.get(name!) ?? ""]);
  const known = new Set(rows.map(([name]) => name));
  for (const { name, type, help } of Object.values(FAMILIES)) {
    if (!known.has(name)) rows.push([name, type, help]);
  }
  const group = (title: string, holds: (name: string) => boolean) => {
    const own = rows.filter(([name]) => holds(name!));
    const cells = own.map(([name, type, help]) => [code(name!), type!, sentence(help!)]);
    return `## ${title}\n\n${table(["metric", "type", "what it is"], cells)}`;
  };
  const isTask = (name: string) => name.startsWith("celery_task_");
  const isQueue = (name: string) => /^celery_(queue|active)_/.test(name);
  const isBeat = (name: string) => name.startsWith("celery_beat_");
  return page(
    "Metrics",
    "Where they are served and what each source knows: [metrics, health, traces and logs](../observability.md). Names, labels and " +
      "help texts that celery-exporter has are its own. Histograms have `_bucket`, `_sum` and `_count`; times are in seconds.",
    group("Tasks", isTask),
    "Labels: `name`, `hostname`, `queue_name`; `celery_task_failed_total` also has `exception`.",
    group("Queues, of the whole cluster", isQueue),
    group("Beat", isBeat),
    group("Workers and processes", (name) => !isTask(name) && !isQueue(name) && !isBeat(name)),
  );
}

/** Variables that are no option's, by group. tests/docs_test.ts compares them with those that the source reads. */
export const VARIABLES:
  readonly (readonly [group: string, rows: readonly (readonly [name: string, what: string])[]])[] = [
    ["Settings", [
      ["CELERY_BROKER_URL", "The broker: the setting `broker_url`. The command line wins."],
      ["CELERY_BROKER_READ_URL", "The setting `broker_read_url`."],
      ["CELERY_BROKER_WRITE_URL", "The setting `broker_write_url`."],
      ["CELERY_RESULT_BACKEND", "The result store: the setting `result_backend`."],
      ["CELERY_CONFIG_MODULE", "A file of settings, as `--config` names it."],
      ["TZ", "The machine's zone. Empty: UTC."],
    ]],
    ["Folders", [
      [
        "LOVAGE_HOME",
        "Where the embedded broker, the console's history and what `multi` remembers are kept.",
      ],
      [
        "XDG_STATE_HOME",
        "Without `LOVAGE_HOME`: `lovage` in this folder; without both `~/.local/state/lovage`.",
      ],
      [
        "XDG_RUNTIME_DIR",
        "Where a worker's sign of life is kept for `status --local`: `lovage` in this folder.",
      ],
      [
        "XDG_CONFIG_HOME",
        "Where `multi systemd --install` puts units of your user: `systemd/user` in this folder.",
      ],
      ["LOVAGE_CACHE", "Where the packed program unpacks itself. It must be writable and executable."],
      ["XDG_CACHE_HOME", "Without `LOVAGE_CACHE`: `lovage` in this folder."],
      ["HOME", "The user's folder, where none of those above is set."],
      ["TMPDIR", "The folder for temporary files."],
    ]],
    ["Workers", [
      ["C_FORCE_ROOT", "A worker that runs as root does not warn of it."],
      ["REMAP_SIGTERM", "`SIGQUIT`: TERM is a QUIT."],
      ["AUTOSCALE_KEEPALIVE", "Seconds without work after which `--autoscale` takes slots away. Default 30."],
      ["CELERY_WORKER_REVOKES_MAX", "Revoked ids that a worker remembers. Default 50000."],
      ["CELERY_WORKER_REVOKE_EXPIRES", "For how many seconds. Default 10800."],
      [
        "CELERY_WORKER_SUCCESSFUL_MAX",
        "Ids that have succeeded, remembered with `worker_deduplicate_successful_tasks`. Default 1000.",
      ],
      ["CELERY_WORKER_SUCCESSFUL_EXPIRES", "For how many seconds. Default 10800."],
    ]],
    [
      "Upgrades",
      [[
        "LOVAGE_BASE_URL",
        "The server that `lovage upgrade` and `install.sh` take releases from: a folder with `SHA256SUMS`.",
      ]],
    ],
    ["Output", [
      ["NO_COLOR", "No colours, as `-C`."],
    ]],
    ["Console", [
      ["FLOWER_UNAUTHENTICATED_API", "`true`: the API answers without a login, as Flower's does."],
      ["FLOWER_GITLAB_OAUTH_DOMAIN", "The GitLab server to log in at. Default gitlab.com."],
      ["FLOWER_OAUTH2_OKTA_BASE_URL", "The Okta server to log in at."],
    ]],
    ["Traces", [
      [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "The collector. Without it, and without the next one, no span is made.",
      ],
      ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The collector of spans alone."],
      ["OTEL_EXPORTER_OTLP_PROTOCOL", "Only `http/json` is spoken; another one is a warning."],
      ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "The same, of spans alone."],
      ["OTEL_EXPORTER_OTLP_TIMEOUT", "Milliseconds that one export may take. Default 10000."],
      ["OTEL_SERVICE_NAME", "The service's name."],
      ["OTEL_SDK_DISABLED", "`true`: no spans."],
      ["OTEL_TRACES_EXPORTER", "`none`: no spans."],
      ["OTEL_TRACES_SAMPLER", "How traces that begin here are sampled. Default `parentbased_always_on`."],
      ["OTEL_TRACES_SAMPLER_ARG", "The share that `traceidratio` takes, 0 to 1."],
      ["OTEL_BSP_MAX_QUEUE_SIZE", "Spans that wait at most. Default 2048."],
      ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "Spans of one export. Default 512."],
      ["OTEL_BSP_SCHEDULE_DELAY", "Milliseconds between exports. Default 5000."],
    ]],
    ["Set by systemd", [
      ["NOTIFY_SOCKET", "Where a unit of `Type=notify` says that it is ready."],
      ["WATCHDOG_USEC", "How often the watchdog wants to hear of it, microseconds."],
      ["WATCHDOG_PID", "The process that the watchdog watches."],
    ]],
  ];

/** docs/reference/environment.md. */
export function environmentPage(): string {
  return page(
    "Variables of the environment",
    "The command line wins over a variable. An empty variable counts as not set.",
    "## Options\n\nEvery option of a command is also given by a variable: `CELERY_`, the command's name and the option's, in upper " +
      "case. `CELERY_WORKER_CONCURRENCY=4` is `lovage worker -c 4`, `CELERY_WORKER_TASK_EVENTS=true` is `-E`. Options of `ui` " +
      "are also given by Flower's variables, `FLOWER_PORT` and so on. Those of every command have names of their own:\n\n" +
      table(
        ["variable", "stands for"],
        Object.entries<Option>(GLOBAL_OPTIONS).filter(([, { variables }]) => variables?.length)
          .map(([key, { variables }]) => [variables!.map(code).join(", "), code(longName(key))]),
      ),
    ...VARIABLES.map(([group, rows]) =>
      `## ${group}\n\n${table(["variable", "what it does"], rows.map(([name, what]) => [code(name), what]))}`
    ),
  );
}
