/**
 * `lovage events`: shows events of the cluster live: on a screen of tasks and workers, or as lines.
 *
 * Source: celery 5.2.6 bin/events.py, events/dumper.py (texts), events/cursesmon.py (keys).
 */

import { errorText, UsageError } from "../base/mod.ts";
import { type App, appExtensions } from "../app/mod.ts";
import { EventReceiver, type ReceivedEvent } from "../event/mod.ts";
import { EXIT, exitOfSignal, listenSignals, type RealWorld, type SignalName } from "../platform/mod.ts";
import { duration } from "./arguments.ts";
import {
  command,
  type CommandContext,
  type GlobalValues,
  JSON_OPTION,
  type Options,
  type ValuesOf,
} from "./command.ts";
import { DAEMON_OPTIONS, enterDaemon, FILE_OPTIONS, LOGLEVEL_OPTION, obeySettings } from "./daemon.ts";
import { EventDumper, SAY } from "./events_dump.ts";
import { jsonLine } from "./output.ts";

const OPTIONS = {
  dump: { short: "-d", help: "print each event as a line of text" },
  json: { ...JSON_OPTION.json, help: "print each event as a line of JSON" },
  frequency: {
    short: "-F",
    value: "seconds",
    help: "time between two redraws of the screen; 0.5 by default",
    read: duration(0.01, 3600),
    aliases: ["--freq"],
  },
  camera: {
    short: "-c",
    value: "class",
    help: "not supported: Celery's cameras are Python classes",
  },
  ...DAEMON_OPTIONS,
  ...LOGLEVEL_OPTION,
  logfile: { ...FILE_OPTIONS.logfile, help: "--dump and --json: append the events to a file instead" },
  pidfile: FILE_OPTIONS.pidfile,
} as const satisfies Options;

/** Signals that end the recording; SIGHUP restarts it, which reopens the file. */
const STOP_SIGNALS = ["SIGHUP", "SIGINT", "SIGTERM"] as const;
type StopSignal = typeof STOP_SIGNALS[number];

type EventsValues = ValuesOf<typeof OPTIONS> & GlobalValues;

/** The command. */
export const events = command({
  options: OPTIONS,

  async run(context, options): Promise<number> {
    const { dump, json, frequency = 0.5, camera } = options;
    if (camera !== undefined) {
      throw new UsageError(
        `Cannot use camera "${camera}": Lovage cannot run Python classes; write a program with app.events.State`,
      );
    }
    const { world } = context;
    if (dump || json) return await record(context, options);
    if (options.detach) {
      throw new UsageError("Cannot show the live view in the background: use --dump or --json");
    }
    if (!world.terminal.outIsTty || !world.terminal.inIsTty) {
      throw new UsageError("Cannot show the live view: not a terminal; use --dump or --json");
    }
    await using app = await context.loadApp();
    const { AppControl } = await import("../mailbox/mod.ts");
    const { showLive } = await import("./events_live.ts");
    appExtensions.control = (app) => new AppControl(app);
    return await showLive(world, app, { everyMs: Math.max(0.05, frequency) * 1000 });
  },
});

/** Prints a line for each event until a signal ends it, to the log file if there is one. */
async function record(context: CommandContext, options: EventsValues): Promise<number> {
  const { world } = context;
  const daemon = await enterDaemon(world, options);
  if (typeof daemon === "number") return daemon;
  const stop = Promise.withResolvers<SignalName>();
  let isRestartWanted = false;
  await using app = await context.loadApp();
  await obeySettings("events", options, app.conf);
  const logfile = options.logfile ?? app.conf.events_logfile;
  if (daemon.isDetached && !logfile) {
    throw new UsageError("Cannot write events in the background: name a file, --logfile or events_logfile");
  }
  // The file gets the bare lines, without the log's prefix.
  if (logfile) {
    world.log.configure({ level: options.loglevel ?? "INFO", format: "%(message)s" });
    daemon.openLog(logfile);
  }
  const pidfile = options.pidfile ?? app.conf.events_pidfile;
  if (pidfile) daemon.holdPidfile(pidfile);
  const unlisten = listenSignals(STOP_SIGNALS, (name) => {
    isRestartWanted = name === "SIGHUP" && daemon.hangUp();
    stop.resolve(name);
  });
  try {
    const end = await follow(world, app, {
      isJson: options.json ?? false,
      write: logfile ? (line) => world.log.info(line) : (line) => world.terminal.out(`${line}\n`),
      onOpen: () => daemon.ready(() => "events: listening"),
      stopped: stop.promise,
    });
    return end === null || isRestartWanted ? EXIT.OK : exitOfSignal(end as StopSignal);
  } finally {
    unlisten();
    if (!isRestartWanted) daemon.close();
    else {
      await app.close();
      daemon.restart();
    }
  }
}

/** Writes events until the end. Resolves to the signal, or to null if the receiver ended by itself. */
async function follow(
  world: RealWorld,
  app: App,
  { isJson, write, onOpen, stopped }: {
    readonly isJson: boolean;
    readonly write: (line: string) => void;
    readonly onOpen: () => void;
    readonly stopped: Promise<SignalName>;
  },
): Promise<SignalName | null> {
  const dumper = new EventDumper();
  const say = (text: string): void => isJson ? undefined : write(text);
  const handle = (event: ReceivedEvent): void =>
    isJson ? write(jsonLine(event).trimEnd()) : say(dumper.line(event));
  say(SAY.start);
  const opening = EventReceiver.open(app, {
    handlers: { "*": handle },
    onLost: () => isJson ? world.log.warning(SAY.lost.slice(3)) : say(SAY.lost),
    onAttempt: (error, seconds, url) => {
      const text = SAY.attempt(url, errorText(error), seconds);
      world.terminal.err(world.log.isJson ? text.slice(3).replace("\n", " ") : text);
    },
  });
  const first = await Promise.race([opening, stopped]);
  if (typeof first === "string") return first;
  await using receiver = first;
  onOpen();
  const end = await Promise.race([receiver.ended(), stopped]);
  return typeof end === "string" ? end : null;
}
