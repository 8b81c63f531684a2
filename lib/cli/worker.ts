/** `lovage worker`: starts a worker and runs it to its end. Source: celery 5.2.6 and 5.6.3 bin/worker.py (options). */

import type { Command } from "commander";
import { type Level, LEVELS, UsageError } from "../base/mod.ts";
import { listenSignals, type RealWorld } from "../platform/mod.ts";
import type { WorkController } from "../worker/mod.ts";
import { commaList, InvalidArgument, numeric, whole } from "./arguments.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { type Daemon, type DaemonFlags, defineDaemon, enterDaemon } from "./daemon.ts";

/** What commander makes of the options; names as `WorkerOptions` (worker/mod.ts) where they go on to it. */
interface Options extends DaemonFlags {
  hostname?: string;
  statedb?: string;
  beat?: boolean;
  scheduleFilename?: string;
  scheduler?: string;
  loglevel?: Level;
  optimization?: string;
  prefetchMultiplier?: number;
  disablePrefetch?: boolean;
  concurrency?: number;
  pool?: string;
  taskEvents?: boolean;
  timeLimit?: number;
  softTimeLimit?: number;
  maxTasksPerChild?: number;
  maxMemoryPerChild?: number;
  purge?: boolean;
  discard?: boolean;
  queues?: string[];
  excludeQueues?: string[];
  include?: string[];
  gossip: boolean;
  mingle: boolean;
  heartbeat: boolean;
  heartbeatInterval?: number;
  autoscale?: [number, number];
  burst?: boolean;
  logfile?: string;
  pidfile?: string;
  quiet?: boolean;
}

/** The command. */
export const worker: CommandModule = {
  define(command: Command): void {
    defineDaemon(command).argument(
      "[name=value...]",
      "settings that win over the module's, e.g. task_acks_late=true",
    )
      .option("-n, --hostname <name>", "node name; %h host, %n its first part, %d the rest")
      .option("-l, --loglevel <level>", "DEBUG, INFO, WARNING, ERROR or CRITICAL", level)
      .option("-P, --pool <pool>", "processes (prefork), threads, async (gevent, eventlet) or solo")
      .option("-c, --concurrency <n>", "tasks at a time; the number of CPUs by default", whole(1))
      .option("-Q, --queues <names>", "queues to consume, comma separated", commaList)
      .option("-X, --exclude-queues <names>", "queues not to consume, comma separated", commaList)
      .option("-I, --include <modules>", "more task modules, comma separated", commaList)
      .option("-E, --task-events", "send task events")
      .option("--burst", "work until the queues are empty, then exit; 1 if a task failed")
      .option("--purge", "delete what waits in the queues first")
      .option("--discard", "the same")
      .option("--prefetch-multiplier <n>", "messages taken ahead per slot; 0 without limit", whole(0))
      .option("--disable-prefetch", "take a message only when a slot is free")
      .option("-O, --optimization <profile>", "default or fair (this worker is always fair)", profile)
      .option("--time-limit <seconds>", "hard time limit of a task", numeric)
      .option("--soft-time-limit <seconds>", "soft time limit of a task", numeric)
      .option("--max-tasks-per-child <n>", "replace a slot after so many tasks", whole(1))
      .option("--max-memory-per-child <KiB>", "replace a slot that grew beyond", whole(1))
      .option("--autoscale <max,min>", "slots by load, from min to max", autoscale)
      .option("--without-gossip", "do not listen to other workers' events")
      .option("--without-mingle", "do not exchange revoked tasks at the start")
      .option("--without-heartbeat", "send no heartbeat events")
      .option("--heartbeat-interval <seconds>", "between heartbeat events", numeric)
      .option("-S, --statedb <file>", "keeps revoked tasks over restarts")
      .option("-B, --beat", "run beat inside; of many such workers one sends")
      .option("-s, --schedule-filename <file>", "beat's schedule file; celerybeat-schedule by default")
      .option("--scheduler <name>", "beat's scheduler: persistent (the default), or memory to keep no file")
      .option("-f, --logfile <file>", "append the log to a file instead of standard error")
      .option("--pidfile <file>", "write the process id here");
  },

  async run({ world, loadApp }: CommandContext, words, raw): Promise<number> {
    const options = raw as unknown as Options;
    if (options.discard) options.purge = true;
    const daemon = await enterDaemon(world, options);
    if (typeof daemon === "number") return daemon;
    world.log.configure({ level: options.loglevel ?? "WARNING" });
    const poolHead = options.pool === "solo" ? null : new (await import("../pool/mod.ts")).PoolHead(world);
    const app = await loadApp({ settings: settingsOf(words), include: options.include ?? [] });
    const { registerStep, WorkController } = await import("../worker/mod.ts");
    world.log.configure({
      format: app.conf.worker_log_format,
      taskFormat: app.conf.worker_task_log_format,
      ...(app.conf.worker_log_color === null ? {} : { color: app.conf.worker_log_color }),
    });
    if (options.beat) {
      const { embeddedBeat } = await import("../beat/mod.ts");
      const { scheduleFilename: schedule, scheduler } = options;
      registerStep("worker", embeddedBeat(app, { schedule, scheduler }));
    }
    const controller = WorkController.create(
      daemon.isDetached ? mute(world) : world,
      app,
      poolHead === null ? options : { ...options, poolHead },
    );
    const logfile = options.logfile ?? app.conf.worker_logfile ??
      (daemon.isDetached ? (await import("../multi/mod.ts")).defaultFiles(world.host).logfile : null);
    if (logfile) daemon.openLog(controller.expand(logfile));
    const path = options.pidfile ?? app.conf.worker_pidfile;
    if (path) daemon.holdPidfile(controller.expand(path));
    daemon.starting(() => `${controller.hostname}: connecting to ${controller.consumer.shownUrl()}`);
    const { signals } = await import("../app/mod.ts");
    signals.workerReady.connect(() => daemon.ready(() => statusOf(controller), () => isWorking(controller)));
    const unlisten = listenSignals(
      ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"],
      (name) => onSignal(name, controller, daemon),
    );
    let exit: number;
    try {
      exit = await controller.run();
    } finally {
      unlisten();
      await app.close();
      if (!controller.isRestartWanted) daemon.close();
    }
    return controller.isRestartWanted ? daemon.restart() : exit;
  },
};

function onSignal(name: string, controller: WorkController, daemon: Daemon): void {
  if (name === "SIGHUP") {
    // Whoever has asked for the end means the end, also where the two signals came in another order.
    const isStopping = controller.stopRequest.way !== null;
    const isRestart = daemon.hangUp(isStopping);
    if (!isStopping) controller.onSignal(isRestart ? name : "SIGTERM");
    return;
  }
  if (name === "SIGTERM" || name === "SIGINT" || name === "SIGQUIT") {
    controller.isRestartWanted = false;
    daemon.stopping(`${controller.hostname}: stopping, ${controller.parts.state.inPool.size} running`);
  }
  controller.onSignal(name);
}

/** What systemd shows of a worker. */
function statusOf({ hostname, parts, consumer, stopRequest }: WorkController): string {
  const { inPool, processed } = parts.state;
  const isAway = consumer.connection === null || consumer.isLost;
  const now = stopRequest.way !== null ? "stopping" : isAway ? "connecting to the broker" : "ready";
  return `${hostname}: ${now}, ${inPool.size} running, ${processed} processed`;
}

/** Whether a worker that turns is one that works: it consumes, has no broker, or stops as it was asked to. */
function isWorking({ blueprint, consumer, stopRequest }: WorkController): boolean {
  if (stopRequest.way !== null) return true;
  return blueprint.state === "running" &&
    (consumer.tasks !== null || consumer.connection === null || consumer.isLost);
}

/** The World of a daemon that has no terminal: what is said on standard error goes to the log. */
function mute(world: RealWorld): RealWorld {
  return {
    ...world,
    terminal: {
      ...world.terminal,
      columns: 80,
      out: () => {},
      err: (text) => world.log.warning(text.trim()),
    },
  };
}

/** `name=value` words; `worker.name=value` is Celery's way to say the same. */
export function settingsOf(words: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const word of words) {
    const at = word.indexOf("=");
    if (at <= 0) throw new UsageError(`Cannot read "${word}": settings are given as name=value`);
    settings[word.slice(0, at).replace(/^-+/, "").replace(/^(worker|beat)\./, "$1_")] = word.slice(at + 1);
  }
  return settings;
}

/** A log level's name, in any case. */
export function level(text: string): Level {
  const name = text.toUpperCase() === "FATAL" ? "CRITICAL" : text.toUpperCase();
  if (!(name in LEVELS)) throw new InvalidArgument(`Levels are ${Object.keys(LEVELS).join(", ")}.`);
  return name as Level;
}

function profile(text: string): string {
  if (text !== "default" && text !== "fair") throw new InvalidArgument("Profiles are default and fair.");
  return text;
}

/** "max,min" in any order, or "max" (then min is 0). */
function autoscale(text: string): [number, number] {
  const parts = text.split(",").map(whole(0));
  if (parts.length > 2) throw new InvalidArgument("Give max,min.");
  return [Math.max(...parts), parts.length === 1 ? 0 : Math.min(...parts)];
}
