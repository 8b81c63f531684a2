/**
 * `lovage beat`: sends periodic tasks when they are due. `beat next [N]` shows the next runs, `beat list` the
 * entries. Source: celery 5.2.6 bin/beat.py, apps/beat.py (options, output, exit status).
 */

import type { App } from "../app/mod.ts";
import type { Beat } from "../beat/mod.ts";
import type { HealthCheck, Serving } from "../http/mod.ts";
import { maskUrl, nearest, UsageError, VERSION } from "../base/mod.ts";
import { EXIT, listenSignals, WORKER_SIGNALS } from "../platform/mod.ts";
import { interval, settingsOf } from "./arguments.ts";
import {
  command,
  type CommandContext,
  type GlobalValues,
  JSON_OPTION,
  type Options,
  type ValuesOf,
} from "./command.ts";
import {
  type Daemon,
  DAEMON_OPTIONS,
  enterDaemon,
  FILE_OPTIONS,
  HEARTBEAT_OPTION,
  HTTP_OPTION,
  LOGLEVEL_OPTION,
  obeySettings,
} from "./daemon.ts";
import { columns, jsonLine } from "./output.ts";

const OPTIONS = {
  ...DAEMON_OPTIONS,
  schedule: { short: "-s", value: "file", help: "the schedule file; celerybeat-schedule by default" },
  scheduler: {
    short: "-S",
    value: "name",
    help: "persistent (the default), or memory to keep no file",
  },
  maxInterval: { value: "seconds", help: "maximum time between two checks of the schedule", read: interval },
  ...LOGLEVEL_OPTION,
  ...FILE_OPTIONS,
  ...HEARTBEAT_OPTION,
  ...HTTP_OPTION,
  json: { ...JSON_OPTION.json, help: "next, list: print JSON" },
} as const satisfies Options;

type BeatValues = ValuesOf<typeof OPTIONS> & GlobalValues;

/** Printed by `next` and `list` if there are no periodic tasks. */
const NO_ENTRIES = "No periodic tasks.\n";

/** How many runs `beat next` shows by default. */
const NEXT_DEFAULT = 10;
const NEXT_MAX = 100_000;

/** The command. */
export const beat = command({
  usage: "[options] [name=value...] | next [N] | list",
  arguments: [{
    name: "words",
    help: "settings that override the module's; or next [N], or list",
    words: ["next", "list"],
    isRest: true,
  }],
  options: OPTIONS,

  validate([verb]) {
    if (verb === undefined || verb.includes("=") || verb === "next" || verb === "list") return;
    const near = nearest(verb, ["next", "list"]);
    throw new UsageError(
      `No such beat command "${verb}"${near ? `: did you mean "${near}"?` : ": use next or list"}`,
    );
  },

  async run(context, options): Promise<number> {
    const [verb, ...rest] = context.args;
    if (verb === "next") return await next(context, rest, options);
    if (verb === "list") return await list(context, rest, options);
    return await serve(context, options);
  },
});

async function serve(context: CommandContext, options: BeatValues): Promise<number> {
  const { world, loadApp, args } = context;
  const daemon = await enterDaemon(world, options);
  if (typeof daemon === "number") return daemon;
  const { terminal, log } = world;
  const isQuiet = (): boolean => options.quiet || daemon.isDetached || log.isJson;
  const { Beat, beatBanner, openStore, startingLine } = await import("../beat/mod.ts");
  const version = `${VERSION} (lovage)`;
  const loglevel = options.loglevel ?? "WARNING";
  log.configure({ level: loglevel, logger: "celery.beat" });
  if (!isQuiet()) terminal.out(startingLine(version));
  const app = await loadApp({ settings: settingsOf(args) });
  log.configure({
    format: app.conf.worker_log_format,
    ...(app.conf.worker_log_color === null ? {} : { color: app.conf.worker_log_color }),
  });
  await obeySettings("beat", options, app.conf);
  const logfile = options.logfile ?? app.conf.beat_logfile;
  const pidfile = options.pidfile ?? app.conf.beat_pidfile;
  if (logfile) daemon.openLog(logfile);
  if (pidfile) daemon.holdPidfile(pidfile);
  const stopping = new AbortController();
  let isRestartWanted = false;
  const unlisten = listenSignals(WORKER_SIGNALS, (name) => {
    // A signal sent to all processes of a fleet must not end beat.
    if (name === "SIGUSR1" || name === "SIGUSR2") return;
    isRestartWanted = name === "SIGHUP" && daemon.hangUp(stopping.signal.aborted && !isRestartWanted);
    if (!isRestartWanted) daemon.stopping("beat: stopping");
    stopping.abort();
  });
  const { signals } = await import("../app/mod.ts");
  let http: Serving | null = null;
  try {
    const store = await openStore(app, options);
    const service = new Beat(app, { store, maxInterval: options.maxInterval ?? null });
    http = await showLife(context, service, { options, daemon, stopping: stopping.signal });
    if (!isQuiet()) {
      terminal.out(beatBanner({
        version,
        timestamp: localTime(world.clock.wallMs()),
        broker: await brokerUrl(app),
        scheduler: store.path === null ? "memory" : "persistent",
        path: store.path,
        logfile: logfile || null,
        loglevel,
        maxIntervalSeconds: service.maxIntervalMs / 1000,
      }));
    }
    signals.beatInit.connect(() =>
      daemon.ready(() =>
        `beat: ${service.scheduler.entries.size} entries${service.isStandby ? ", standing by" : ""}`
      )
    );
    await service.run(stopping.signal);
  } finally {
    unlisten();
    await http?.close();
    await app.close();
    if (!isRestartWanted) daemon.close();
  }
  return isRestartWanted ? daemon.restart() : EXIT.OK;
}

/** Starts the heartbeat files of a beat and, with --http, serves its probes. */
async function showLife(
  { world }: CommandContext,
  service: Beat,
  { options, daemon, stopping }: {
    readonly options: BeatValues;
    readonly daemon: Daemon;
    readonly stopping: AbortSignal;
  },
): Promise<Serving | null> {
  const node = `beat@${world.host.hostname}`;
  daemon.beats(() => {
    const state = stopping.aborted ? "stopping" : service.figures.isRunning ? "running" : "starting";
    return { kind: "beat", node, state };
  }, options.heartbeatFile || undefined);
  if (options.http === undefined) return null;
  const { beatMetrics } = await import("../beat/mod.ts");
  const { openProbes } = await import("./probes.ts");
  const startedMs = world.clock.wallMs();
  return await openProbes(world, options.http, {
    readiness: () => beatReadiness(service, stopping.aborted),
    metrics: (given) => beatMetrics(service, startedMs, given),
    runsUserCode: false,
  });
}

/** A beat is ready if it sends or stands by, and its last attempt to connect did not fail. */
function beatReadiness({ figures }: Beat, isStopping: boolean): HealthCheck[] {
  const { isRunning, isLeader, isBrokerAway, entries } = figures;
  const state = isStopping ? "stopping" : !isRunning ? "starting" : isLeader ? "sending" : "standing by";
  return [
    { name: "state", isOk: isRunning && !isStopping, text: `${state}, ${entries} entries` },
    { name: "broker", isOk: !isBrokerAway, text: isBrokerAway ? "the last attempt to connect failed" : "ok" },
  ];
}

/** `beat next [N]`. */
async function next(context: CommandContext, words: readonly string[], options: BeatValues) {
  const [text, ...rest] = words;
  const isCount = text !== undefined && !text.includes("=");
  const count = isCount ? Number(text) : NEXT_DEFAULT;
  if (!Number.isInteger(count) || count < 1 || count > NEXT_MAX) {
    throw new UsageError(
      `Cannot show the next "${text}" runs: give a whole number from 1 to ${NEXT_MAX}`,
    );
  }
  await using app = await context.loadApp({ settings: settingsOf(isCount ? rest : words) });
  const { previewBeat, readEntries } = await import("../beat/mod.ts");
  const path = options.schedule ?? app.conf.beat_schedule_filename;
  const { runs } = await previewBeat(app, await readEntries(app), path, { count });
  const { out } = context.world.terminal;
  if (options.json) out(jsonLine(runs));
  else if (runs.length === 0) out(NO_ENTRIES);
  else out(columns(runs.map(({ time, name, task }) => [time.padEnd(25), name, task])));
  return EXIT.OK;
}

/** `beat list`. */
async function list(context: CommandContext, words: readonly string[], options: BeatValues) {
  await using app = await context.loadApp({ settings: settingsOf(words) });
  const { previewBeat, readEntries } = await import("../beat/mod.ts");
  const path = options.schedule ?? app.conf.beat_schedule_filename;
  const { entries } = await previewBeat(app, await readEntries(app), path);
  const { out } = context.world.terminal;
  if (options.json) out(jsonLine(entries));
  else if (entries.length === 0) out(NO_ENTRIES);
  else {
    const rows = entries.map((
      { name, task, schedule, last, next },
    ) => [name, task, schedule, last ?? "never", next ?? "never"]);
    out(columns([["Name", "Task", "Schedule", "Last run", "Next run"], ...rows]));
  }
  return EXIT.OK;
}

async function brokerUrl(app: App): Promise<string> {
  const { appBrokerUrls } = await import("../app/mod.ts");
  return maskUrl(appBrokerUrls(app, true)[0]!);
}

/** Formats local time as "2026-11-22 15:44:34". */
function localTime(wallMs: number): string {
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(wallMs))
    .toZonedDateTimeISO(Temporal.Now.timeZoneId()).toPlainDateTime()
    .toString({ smallestUnit: "second" }).replace("T", " ");
}
