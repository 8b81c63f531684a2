/**
 * `lovage beat`: sends what is due until it is told to end. `beat next [N]` tells what will be sent, `beat
 * list` what there is. Source: celery 5.2.6 bin/beat.py, apps/beat.py (options, output, exit status).
 */

import type { Command } from "commander";
import type { App } from "../app/mod.ts";
import { type Level, maskUrl, nearest, UsageError } from "../base/mod.ts";
import { EXIT, listenSignals } from "../platform/mod.ts";
import { numeric } from "./arguments.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { type DaemonFlags, defineDaemon, enterDaemon } from "./daemon.ts";
import { jsonLine } from "./output.ts";
import { VERSION } from "./version.ts";
import { level, settingsOf } from "./worker.ts";

interface BeatCommandOptions extends DaemonFlags {
  schedule?: string;
  scheduler?: string;
  maxInterval?: number;
  loglevel?: Level;
  logfile?: string;
  pidfile?: string;
  json?: boolean;
  quiet?: boolean;
}

/** How many runs `beat next` tells of unless asked. */
const NEXT_DEFAULT = 10;
const NEXT_MAX = 100_000;

/** The command. */
export const beat: CommandModule = {
  define(command: Command): void {
    defineDaemon(command).usage("[options] [name=value...] | next [N] | list")
      .argument("[words...]", "settings that win over the module's; or next [N], or list")
      .option("-s, --schedule <file>", "the schedule file; celerybeat-schedule by default")
      .option("-S, --scheduler <name>", "persistent (the default), or memory to keep no file")
      .option("--max-interval <seconds>", "between two looks at the schedule at most", numeric)
      .option("-l, --loglevel <level>", "DEBUG, INFO, WARNING, ERROR or CRITICAL", level)
      .option("-f, --logfile <file>", "append the log to a file instead of standard error")
      .option("--pidfile <file>", "write the process id here")
      .option("-j, --json", "next and list: print JSON");
  },

  async run(context: CommandContext, words, raw): Promise<number> {
    const options = raw as BeatCommandOptions;
    const [verb, ...rest] = words;
    if (verb === "next") return await next(context, rest, options);
    if (verb === "list") return await list(context, rest, options);
    if (verb !== undefined && !verb.includes("=")) {
      const near = nearest(verb, ["next", "list"]);
      throw new UsageError(
        `No such beat command "${verb}"${near ? `: did you mean "${near}"?` : ": there are next, list"}`,
      );
    }
    return await serve(context, words, options);
  },
};

async function serve(
  { world, loadApp }: CommandContext,
  words: readonly string[],
  options: BeatCommandOptions,
): Promise<number> {
  const daemon = await enterDaemon(world, options);
  if (typeof daemon === "number") return daemon;
  const { terminal, log } = world;
  const isQuiet = options.quiet || daemon.isDetached;
  const { Beat, beatBanner, openStore, startingLine } = await import("../beat/mod.ts");
  const version = `${VERSION} (lovage)`;
  const loglevel = options.loglevel ?? "WARNING";
  log.configure({ level: loglevel });
  if (!isQuiet) terminal.out(startingLine(version));
  const app = await loadApp({ settings: settingsOf(words) });
  log.configure({
    format: app.conf.worker_log_format,
    ...(app.conf.worker_log_color === null ? {} : { color: app.conf.worker_log_color }),
  });
  if (options.logfile) daemon.openLog(options.logfile);
  if (options.pidfile) daemon.holdPidfile(options.pidfile);
  const stopping = new AbortController();
  let isRestartWanted = false;
  const unlisten = listenSignals(["SIGTERM", "SIGINT", "SIGHUP"], (name) => {
    isRestartWanted = name === "SIGHUP" && daemon.hangUp(stopping.signal.aborted && !isRestartWanted);
    if (!isRestartWanted) daemon.stopping("beat: stopping");
    stopping.abort();
  });
  const { signals } = await import("../app/mod.ts");
  try {
    const store = await openStore(app, options);
    const service = new Beat(app, { store, maxInterval: options.maxInterval ?? null });
    if (!isQuiet) {
      terminal.out(beatBanner({
        version,
        timestamp: localTime(world.clock.wallMs()),
        broker: await brokerUrl(app),
        loader: "celery.loaders.app.AppLoader",
        scheduler: store.path === null ? "celery.beat.Scheduler" : "celery.beat.PersistentScheduler",
        path: store.path,
        logfile: options.logfile ?? null,
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
    await app.close();
    if (!isRestartWanted) daemon.close();
  }
  return isRestartWanted ? daemon.restart() : EXIT.OK;
}

/** `beat next [N]`. */
async function next(context: CommandContext, words: readonly string[], options: BeatCommandOptions) {
  const [text, ...rest] = words;
  const isCount = text !== undefined && !text.includes("=");
  const count = isCount ? Number(text) : NEXT_DEFAULT;
  if (!Number.isInteger(count) || count < 1 || count > NEXT_MAX) {
    throw new UsageError(
      `Cannot tell the next "${text}" runs: a whole number from 1 to ${NEXT_MAX} is expected`,
    );
  }
  await using app = await context.loadApp({ settings: settingsOf(isCount ? rest : words) });
  const { nextRuns } = await import("../beat/mod.ts");
  const runs = await nextRuns(app, options.schedule ?? app.conf.beat_schedule_filename, count);
  const { out } = context.world.terminal;
  if (options.json) out(jsonLine(runs));
  else {
    const width = Math.max(0, ...runs.map(({ name }) => name.length));
    for (const { time, name, task } of runs) out(`${time.padEnd(25)}  ${name.padEnd(width)}  ${task}\n`);
  }
  return EXIT.OK;
}

/** `beat list`. */
async function list(context: CommandContext, words: readonly string[], options: BeatCommandOptions) {
  await using app = await context.loadApp({ settings: settingsOf(words) });
  const { listEntries } = await import("../beat/mod.ts");
  const entries = await listEntries(app, options.schedule ?? app.conf.beat_schedule_filename);
  const { out } = context.world.terminal;
  if (options.json) out(jsonLine(entries));
  else {
    const width = Math.max(0, ...entries.map(({ name }) => name.length));
    for (const { name, task, schedule, next } of entries) {
      out(`${name.padEnd(width)}  ${task}  ${schedule}  next ${next ?? "never"}\n`);
    }
  }
  return EXIT.OK;
}

async function brokerUrl(app: App): Promise<string> {
  const { appBrokerUrls } = await import("../app/mod.ts");
  return maskUrl(appBrokerUrls(app, true)[0]!);
}

/** "2026-11-22 15:44:34" in local time. */
function localTime(wallMs: number): string {
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(wallMs))
    .toZonedDateTimeISO(Temporal.Now.timeZoneId()).toPlainDateTime()
    .toString({ smallestUnit: "second" }).replace("T", " ");
}
