/** `lovage worker`: starts a worker and runs it to its end. Source: celery 5.2.6 and 5.6.3 bin/worker.py (options). */

import type { Beat } from "../beat/mod.ts";
import type { HealthCheck, Serving } from "../http/mod.ts";
import { isRoot, listenSignals, type RealWorld, WORKER_SIGNALS } from "../platform/mod.ts";
import type { WorkController } from "../worker/mod.ts";
import {
  commaList,
  duration,
  interval,
  InvalidValue,
  oneOf,
  settingsOf,
  someOf,
  whole,
} from "./arguments.ts";
import { command, type Options } from "./command.ts";
import { withLogForTerminal } from "./logged_terminal.ts";
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

/** Source: celery 5.2.6 platforms.py check_privileges, C_FORCE_ROOT (behaviour). */
const AS_ROOT =
  "This worker and its tasks run as root: use --uid to change the user, or C_FORCE_ROOT=1 to hide this warning";

/** Options that are passed on have their names in `WorkerOptions` (worker/mod.ts). */
const OPTIONS = {
  ...DAEMON_OPTIONS,
  hostname: { short: "-n", value: "name", help: "node name; %h host, %n its first part, %d the rest" },
  ...LOGLEVEL_OPTION,
  pool: {
    short: "-P",
    value: "pool",
    help: "processes (prefork), threads, async (gevent, eventlet) or solo",
    words: ["processes", "prefork", "threads", "async", "gevent", "eventlet", "solo"],
  },
  concurrency: {
    short: "-c",
    value: "n",
    help: "tasks at a time; 0 (default): the number of CPUs",
    read: whole(0),
  },
  queues: { short: "-Q", value: "names", help: "queues to consume, comma separated", read: someOf("queue") },
  excludeQueues: {
    short: "-X",
    value: "names",
    help: "queues not to consume, comma separated",
    read: commaList,
  },
  include: { short: "-I", value: "modules", help: "more task modules, comma separated", read: commaList },
  taskEvents: { short: "-E", help: "send task events", aliases: ["--events"] },
  burst: { help: "work until the queues are empty, then exit; 1 if a task failed" },
  purge: { help: "delete the pending messages of the queues first" },
  discard: { help: "same as --purge" },
  prefetchMultiplier: { value: "n", help: "messages prefetched per slot; 0: no limit", read: whole(0) },
  disablePrefetch: { help: "take a message only when a slot is free" },
  optimization: {
    short: "-O",
    value: "profile",
    help: "default or fair (this worker is always fair)",
    read: oneOf("default", "fair"),
  },
  timeLimit: { value: "seconds", help: "hard time limit of a task; 0: none", read: duration(0) },
  softTimeLimit: { value: "seconds", help: "soft time limit of a task; 0: none", read: duration(0) },
  maxTasksPerChild: { value: "n", help: "replace a slot after so many tasks; 0: never", read: whole(0) },
  maxMemoryPerChild: { value: "KiB", help: "replace a slot that uses more memory; 0: never", read: whole(0) },
  autoscale: { value: "max,min", help: "scale slots with the load, between min and max", read: autoscale },
  withoutGossip: { help: "do not listen to other workers' events" },
  withoutMingle: { help: "do not exchange revoked tasks at startup" },
  withoutHeartbeat: { help: "send no heartbeat events" },
  heartbeatInterval: { value: "seconds", help: "time between heartbeat events", read: interval },
  statedb: { short: "-S", value: "file", help: "file that keeps revoked tasks across restarts" },
  beat: { short: "-B", help: "also run beat; of several such workers, one sends" },
  scheduleFilename: {
    short: "-s",
    value: "file",
    help: "beat's schedule file; celerybeat-schedule by default",
    aliases: ["--schedule"],
  },
  scheduler: { value: "name", help: "beat's scheduler: persistent (the default), or memory to keep no file" },
  ...FILE_OPTIONS,
  ...HEARTBEAT_OPTION,
  ...HTTP_OPTION,
} as const satisfies Options;

/** The command. */
export const worker = command({
  arguments: [{
    name: "name=value",
    help: "settings that override the module's, such as task_acks_late=true",
    isRest: true,
  }],
  options: OPTIONS,

  validate: (words) => void settingsOf(words),

  async run({ world, loadApp, args: words }, options): Promise<number> {
    if (options.discard) options.purge = true;
    const daemon = await enterDaemon(world, options);
    if (typeof daemon === "number") return daemon;
    world.log.configure({ level: options.loglevel ?? "WARNING" });
    let poolHead = options.pool === "solo" ? null : new (await import("../pool/mod.ts")).PoolHead(world);
    const app = await loadApp({ settings: settingsOf(words), include: options.include ?? [] });
    await obeySettings("worker", options, app.conf, async () => {
      await poolHead?.dismiss();
      poolHead = null;
    });
    const { WorkController } = await import("../worker/mod.ts");
    world.log.configure({
      format: app.conf.worker_log_format,
      taskFormat: app.conf.worker_task_log_format,
      ...(app.conf.worker_log_color === null ? {} : { color: app.conf.worker_log_color }),
      logger: "celery.worker",
    });
    const { scheduleFilename: schedule, scheduler } = options;
    const embedded: EmbeddedBeat | null = options.beat ? { beat: null } : null;
    const steps = embedded === null
      ? []
      : [(await import("../beat/mod.ts")).embeddedBeat(app, { schedule, scheduler, shown: embedded })];
    const place = options.http ?? app.conf.worker_http;
    const controller = WorkController.create(
      daemon.isDetached || world.log.isJson
        ? withLogForTerminal(world, { isMute: daemon.isDetached })
        : world,
      app,
      {
        ...options,
        quiet: Boolean(options.quiet) || world.log.isJson,
        isCounted: Boolean(place),
        ...(poolHead === null ? {} : { poolHead }),
      },
      steps,
    );
    world.log.configure({ node: controller.hostname });
    const logfile = options.logfile ?? app.conf.worker_logfile ??
      (daemon.isDetached ? (await import("../multi/mod.ts")).defaultFiles(world.host).logfile : null);
    if (logfile) daemon.openLog(controller.expand(logfile));
    const path = options.pidfile ?? app.conf.worker_pidfile;
    if (path) daemon.holdPidfile(controller.expand(path));
    let exit: number;
    let http: Serving | null = null;
    let unlisten: (() => void) | null = null;
    try {
      const { heartbeatFile } = options;
      daemon.beats(
        () => ({ kind: "worker", node: controller.hostname, state: stateOf(controller) }),
        heartbeatFile ? controller.expand(heartbeatFile) : undefined,
      );
      if (isRoot() && !world.host.env("C_FORCE_ROOT")) world.log.warning(AS_ROOT);
      daemon.starting(() => `${controller.hostname}: connecting to ${controller.consumer.shownUrl()}`);
      if (place) http = await serveProbes(world, { controller, embedded, place });
      const { signals } = await import("../app/mod.ts");
      signals.workerReady.connect(() =>
        daemon.ready(() => statusOf(controller), () => isWorking(controller))
      );
      unlisten = listenSignals(WORKER_SIGNALS, (name) => onSignal(name, controller, daemon));
      exit = await controller.run();
    } finally {
      unlisten?.();
      await http?.close();
      await app.close();
      if (!controller.isRestartWanted) daemon.close();
    }
    return controller.isRestartWanted ? daemon.restart() : exit;
  },
});

/** The beat of `-B`; null while it does not run. */
interface EmbeddedBeat {
  beat: Beat | null;
}

/** Serves the metrics and health of a worker and its embedded beat. `place` may contain node formats. */
async function serveProbes(
  world: RealWorld,
  { controller, embedded, place }: {
    readonly controller: WorkController;
    readonly embedded: EmbeddedBeat | null;
    readonly place: string;
  },
): Promise<Serving> {
  const { readinessOf, workerMetrics } = await import("../worker/mod.ts");
  const writeBeat = embedded === null ? null : (await import("../beat/mod.ts")).writeBeat;
  const { openProbes } = await import("./probes.ts");
  return await openProbes(world, place.startsWith("unix:") ? controller.expand(place) : place, {
    readiness: () => [
      ...readinessOf(controller),
      ...embedded === null ? [] : [readinessOfBeat(embedded.beat)],
    ],
    metrics: (options) =>
      workerMetrics(controller, options, (text) => {
        if (embedded?.beat) writeBeat!(text, embedded.beat);
      }),
    runsUserCode: controller.options.pool === "solo",
  });
}

function readinessOfBeat(beat: Beat | null): HealthCheck {
  if (beat === null) return { name: "beat", isOk: false, text: "not running" };
  const { isRunning, isLeader, entries } = beat.figures;
  const state = !isRunning ? "starting" : isLeader ? "sending" : "standing by";
  return { name: "beat", isOk: isRunning, text: `${state}, ${entries} entries` };
}

function onSignal(name: string, controller: WorkController, daemon: Daemon): void {
  if (name === "SIGHUP") {
    // A stop that was requested before takes precedence over a restart.
    const isStopping = controller.stopRequest.mode !== null;
    const isRestart = daemon.hangUp(isStopping);
    if (!isStopping) controller.onSignal(isRestart ? name : "SIGTERM");
    return;
  }
  if (name === "SIGTERM" || name === "SIGINT" || name === "SIGQUIT") {
    controller.isRestartWanted = false;
    daemon.stopping(`${controller.hostname}: stopping, ${controller.state.inPool.size} running`);
  }
  controller.onSignal(name);
}

/** Returns the state of a worker in words. */
function stateOf({ blueprint, consumer, stopRequest }: WorkController): string {
  if (stopRequest.mode !== null) return `stopping (${stopRequest.mode})`;
  if (blueprint.state !== "running") return "starting";
  return consumer.isAway ? "running, without broker" : "running";
}

/** Returns the status line of a worker for systemd. */
function statusOf({ hostname, state, consumer, stopRequest }: WorkController): string {
  const { inPool, processed } = state;
  const now = stopRequest.mode !== null ? "stopping" : consumer.isAway ? "connecting to the broker" : "ready";
  return `${hostname}: ${now}, ${inPool.size} running, ${processed} processed`;
}

/** Returns true if a worker consumes, has no broker, or stops as requested. */
function isWorking({ blueprint, consumer, stopRequest }: WorkController): boolean {
  if (stopRequest.mode !== null) return true;
  return blueprint.state === "running" && (consumer.tasks !== null || consumer.isAway);
}

/** Reads "max,min" in any order, or "max" (then min is 0). */
function autoscale(text: string): [number, number] {
  const parts = text.split(",").map(whole(0));
  if (parts.length > 2) throw new InvalidValue("it must be max,min");
  return [Math.max(...parts), parts.length === 1 ? 0 : Math.min(...parts)];
}
