/** The pages of events, metrics and environment variables. */

import { FAMILIES, MetricsText, TaskMetrics, writeTasks } from "../../lib/metrics/mod.ts";
import { longName } from "../../lib/base/mod.ts";
import { GLOBAL_OPTIONS, type Option } from "../../lib/cli/command.ts";
import { code, page, sentence, table } from "./markdown.ts";

/**
 * All events: type, when it is sent, and its fields besides the common ones. tests/docs_test.ts compares the
 * types with those that the source sends.
 */
export const EVENTS: readonly (readonly [type: string, when: string, fields: string])[] = [
  [
    "task-sent",
    "a task was sent, if `task_send_sent_event` is set",
    "uuid name args kwargs root_id parent_id retries eta expires queue exchange routing_key",
  ],
  [
    "task-received",
    "a worker has taken the message",
    "uuid name queue args kwargs root_id parent_id retries eta expires",
  ],
  ["task-started", "a slot starts the task", "uuid"],
  ["task-succeeded", "the task succeeded; `runtime` is in seconds", "uuid result runtime"],
  [
    "task-failed",
    "the task failed for good, by an error, a limit or a lost process",
    "uuid exception traceback",
  ],
  ["task-retried", "the task failed and will be retried", "uuid exception traceback"],
  ["task-rejected", "the task threw `Reject`", "uuid requeue"],
  ["task-revoked", "the task was discarded, or ended on command", "uuid terminated signum expired"],
  ["task-cancelled", "the task was ended by the worker's shutdown or a lost connection", "uuid"],
  ["worker-online", "a worker is ready", "freq active processed loadavg sw_ident sw_ver sw_sys"],
  ["worker-heartbeat", "a worker is online", "freq active processed loadavg sw_ident sw_ver sw_sys"],
  ["worker-offline", "a worker shuts down normally", "freq active processed loadavg sw_ident sw_ver sw_sys"],
  ["worker-elect", "a worker is a candidate in an election", "id topic action cver"],
  ["worker-elect-ack", "a worker has received all candidates", "id"],
];

/** docs/reference/events.md. */
export function eventsPage(): string {
  return page(
    "Events",
    "Events are sent to the exchange `event_exchange` (`celeryev`) in Celery's form, so any Celery monitor reads them. Task events are sent " +
      "with `worker -E`, or after `lovage control enable_events`. More: [events](../events.md).",
    `## Types\n\n${
      table(
        ["type", "sent when", "its own fields"],
        EVENTS.map(([type, when, fields]) => [code(type), when, fields.split(" ").map(code).join(", ")]),
      )
    }`,
    "A task sends custom events with `self.sendEvent(type, fields)`.",
    `## Fields of every event\n\n${
      table(["field", "what it is"], [
        ["`type`", "The type, as above. The part before the dash is its group."],
        ["`hostname`", "The sender's node name."],
        ["`timestamp`", "When it was sent: seconds since the epoch, by the sender's clock."],
        ["`utcoffset`", "The sender's offset: hours west of UTC."],
        ["`pid`", "The sender's process id."],
        ["`clock`", "The sender's logical clock."],
        [
          "`local_received`",
          "When it arrived: seconds since the epoch, by the receiver's clock. Added by the receiver.",
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
    "Where they are served and what each source reports: [metrics, health, traces and logs](../observability.md). Names, labels and " +
      "help texts of celery-exporter's metrics equal its own. Histograms have `_bucket`, `_sum` and `_count`; times are in seconds.",
    group("Tasks", isTask),
    "Labels: `name`, `hostname`, `queue_name`; `celery_task_failed_total` also has `exception`.",
    group("Queues, of the whole cluster", isQueue),
    group("Beat", isBeat),
    group("Workers and processes", (name) => !isTask(name) && !isQueue(name) && !isBeat(name)),
  );
}

/**
 * Variables that do not stand for options, by group. tests/docs_test.ts compares them with those the source
 * reads.
 */
export const VARIABLES:
  readonly (readonly [group: string, rows: readonly (readonly [name: string, what: string])[]])[] = [
    ["Settings", [
      ["CELERY_BROKER_URL", "The broker: the setting `broker_url`. The command line takes precedence."],
      ["CELERY_BROKER_READ_URL", "The setting `broker_read_url`."],
      ["CELERY_BROKER_WRITE_URL", "The setting `broker_write_url`."],
      ["CELERY_RESULT_BACKEND", "The result store: the setting `result_backend`."],
      ["CELERY_CONFIG_MODULE", "A settings file, as for `--config`."],
      ["TZ", "The machine's time zone. Empty: UTC."],
    ]],
    ["Folders", [
      [
        "LOVAGE_HOME",
        "The folder of the embedded broker, the console's history and the options that `multi` remembers.",
      ],
      [
        "XDG_STATE_HOME",
        "Without `LOVAGE_HOME`: `lovage` in this folder; without both: `~/.local/state/lovage`.",
      ],
      [
        "XDG_RUNTIME_DIR",
        "The folder of workers' heartbeat files for `status --local`: `lovage` in this folder.",
      ],
      [
        "XDG_CONFIG_HOME",
        "The folder where `multi systemd --install` puts your user's units: `systemd/user` in this folder.",
      ],
      [
        "LOVAGE_CACHE",
        "The folder into which the packed program unpacks itself. It must be writable and executable.",
      ],
      ["XDG_CACHE_HOME", "Without `LOVAGE_CACHE`: `lovage` in this folder."],
      ["HOME", "The user's folder, used if none of those above is set."],
      ["TMPDIR", "The folder for temporary files."],
    ]],
    ["Workers", [
      ["C_FORCE_ROOT", "If set, a worker that runs as root does not warn of it."],
      ["REMAP_SIGTERM", "`SIGQUIT`: TERM acts like QUIT."],
      [
        "AUTOSCALE_KEEPALIVE",
        "Seconds without growth after which `--autoscale` removes idle slots. Default 30.",
      ],
      ["CELERY_WORKER_REVOKES_MAX", "Revoked ids that a worker remembers. Default 50000."],
      ["CELERY_WORKER_REVOKE_EXPIRES", "For how many seconds they are remembered. Default 10800."],
      [
        "CELERY_WORKER_SUCCESSFUL_MAX",
        "Ids of succeeded tasks that a worker remembers with `worker_deduplicate_successful_tasks`. Default 1000.",
      ],
      ["CELERY_WORKER_SUCCESSFUL_EXPIRES", "For how many seconds they are remembered. Default 10800."],
    ]],
    [
      "Upgrades",
      [[
        "LOVAGE_BASE_URL",
        "The server of releases for `lovage upgrade` and `install.sh`: a folder with `SHA256SUMS`.",
      ]],
    ],
    ["Output", [
      ["NO_COLOR", "No colours, as with `-C`."],
    ]],
    ["Console", [
      ["FLOWER_UNAUTHENTICATED_API", "`true`: Flower's API answers without a login, as in Flower."],
      ["FLOWER_GITLAB_OAUTH_DOMAIN", "The GitLab server to log in at. Default gitlab.com."],
      ["FLOWER_OAUTH2_OKTA_BASE_URL", "The Okta server to log in at."],
    ]],
    ["Traces", [
      [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "The collector. Without it and the next one, no spans are made.",
      ],
      ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The collector for spans only."],
      ["OTEL_EXPORTER_OTLP_PROTOCOL", "Only `http/json` is supported; others cause a warning."],
      ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "The same, for spans only."],
      ["OTEL_EXPORTER_OTLP_TIMEOUT", "Milliseconds that one export may take. Default 10000."],
      ["OTEL_SERVICE_NAME", "The service's name."],
      ["OTEL_SDK_DISABLED", "`true`: no spans."],
      ["OTEL_TRACES_EXPORTER", "`none`: no spans."],
      ["OTEL_TRACES_SAMPLER", "The sampler of traces that begin here. Default `parentbased_always_on`."],
      ["OTEL_TRACES_SAMPLER_ARG", "The share for `traceidratio`, 0 to 1."],
      ["OTEL_BSP_MAX_QUEUE_SIZE", "Maximum number of waiting spans. Default 2048."],
      ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "Maximum number of spans in one export. Default 512."],
      ["OTEL_BSP_SCHEDULE_DELAY", "Milliseconds between exports. Default 5000."],
    ]],
    ["Set by systemd", [
      ["NOTIFY_SOCKET", "The socket at which a unit of `Type=notify` reports that it is ready."],
      ["WATCHDOG_USEC", "The watchdog's timeout, microseconds."],
      ["WATCHDOG_PID", "The process that the watchdog monitors."],
    ]],
  ];

/** docs/reference/environment.md. */
export function environmentPage(): string {
  return page(
    "Environment variables",
    "The command line takes precedence over variables. An empty variable counts as not set.",
    "## Options\n\nEvery option of a command can also be set by a variable: `CELERY_`, the command's name and the option's, in upper " +
      "case. `CELERY_WORKER_CONCURRENCY=4` is `lovage worker -c 4`, `CELERY_WORKER_TASK_EVENTS=true` is `-E`. Options of `ui` " +
      "can also be set by Flower's variables, `FLOWER_PORT` and so on. The options of every command have these names:\n\n" +
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
