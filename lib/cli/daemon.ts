/**
 * What `worker` and `beat` share as daemons and services: `--detach` and who they become, pid file and log, what they
 * tell their starter and systemd, and starting again in place on HUP.
 *
 *     const daemon = await enterDaemon(world, options);
 *     if (typeof daemon === "number") return daemon;      // the parent of a detached one: its exit status
 *     await obeySettings("worker", options, app.conf);    // as soon as the settings are there
 *     daemon.openLog(path); daemon.holdPidfile(path);     // both node-formatted by the caller
 *     daemon.ready(() => "status");                       // the parent returns, systemd hears READY=1
 *     …SIGHUP: if (daemon.hangUp()) stop warm, then after everything is closed daemon.restart()
 *     daemon.close();
 *
 * Source: celery 5.2.6 bin/base.py CeleryDaemonCommand (options), platforms.py detached, maybe_drop_privileges.
 */

import { UsageError } from "../base/mod.ts";
import {
  acquirePidfile,
  becomeUser,
  daemonStage,
  type DaemonStart,
  EXIT,
  exitOfSignal,
  findUser,
  Heartbeat,
  isUs,
  listenSignals,
  makeFolder,
  type NodeFacts,
  outliveOutput,
  type Pidfile,
  type RealWorld,
  reportReady,
  restartInPlace,
  ServiceManager,
  type SignalName,
  startDaemon,
  stateFolderMode,
  timeZoneWarning,
} from "../platform/mod.ts";
import type { Conf } from "../app/mod.ts";
import { duration, level } from "./arguments.ts";
import type { Options, ValuesOf } from "./command.ts";

/** How long a detached node may take to be ready, seconds. */
const READY_SECONDS = 60;

/** The options that every daemon takes. */
export const DAEMON_OPTIONS = {
  detach: { short: "-D", help: "run in the background; returns when it is ready or has failed" },
  uid: { value: "user", help: "become this user, by name or number" },
  gid: { value: "group", help: "become this group, by name or number" },
  umask: { value: "octal", help: "the mask of files it makes, e.g. 022" },
  readyTimeout: {
    value: "seconds",
    help: `with --detach: ended if not ready by then (${READY_SECONDS}; 0: never)`,
    read: duration(0),
  },
  executable: { value: "path", help: "accepted for Celery's sake; has no effect" },
} as const satisfies Options;

/** How much a daemon logs. */
export const LOGLEVEL_OPTION = {
  loglevel: { short: "-l", value: "level", help: "DEBUG, INFO, WARNING, ERROR or CRITICAL", read: level },
} as const satisfies Options;

/** The files that a daemon writes. */
export const FILE_OPTIONS = {
  logfile: { short: "-f", value: "file", help: "append the log to a file instead of standard error" },
  pidfile: { value: "file", help: "write the process id here" },
} as const satisfies Options;

/** A file by which others see that a daemon lives. */
export const HEARTBEAT_OPTION = {
  heartbeatFile: {
    value: "file",
    help: "touch this file every two seconds while it turns; removed at the end",
  },
} as const satisfies Options;

/** Where a daemon answers to Prometheus and to probes (probes.ts, which is loaded if it does). */
export const HTTP_OPTION = {
  http: {
    value: "address",
    help: "serve /metrics, /livez and /readyz at ADDRESS:PORT or unix:PATH",
  },
} as const satisfies Options;

/** The options of a daemon, read. */
type DaemonValues = ValuesOf<typeof DAEMON_OPTIONS>;

/**
 * Makes this process what the options say. A number is the exit status of a process that is done: the one that
 * started the daemon. Throws UsageError for a user, group or mask that cannot be.
 */
export async function enterDaemon(world: RealWorld, flags: DaemonValues): Promise<Daemon | number> {
  const user = await findUser(flags.uid, flags.gid);
  if (flags.umask !== undefined) Deno.umask(maskOf(flags.umask));
  if (flags.detach && daemonStage() === "none") return await detach(world, flags);
  if (user !== null && !isUs(user)) {
    becomeUser(user);
    // Again from the start, so that nothing of root's is left in the process.
    restartInPlace();
  }
  outliveOutput();
  const warning = timeZoneWarning();
  if (warning !== null) world.log.warning(warning);
  return new Daemon(world);
}

/**
 * Obeys what the settings of `command` (worker, beat, events) say of user, group and umask, if no option has said it.
 * They are in the user's module, which is loaded by then: becoming somebody else starts the program again, and does not
 * come back. `beforeChange` ends processes that were started as they are not to be. Throws UsageError as `enterDaemon`
 * does.
 */
export async function obeySettings(
  command: DaemonCommand,
  flags: Pick<DaemonValues, "uid" | "gid" | "umask">,
  conf: Pick<Conf, `${DaemonCommand}_${"uid" | "gid" | "umask"}`>,
  beforeChange: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const umask = conf[`${command}_umask`];
  if (flags.umask === undefined && umask !== null && umask !== "") {
    await beforeChange();
    Deno.umask(typeof umask === "number" ? umask : maskOf(umask, `the setting ${command}_umask`));
  }
  const [uid, gid] = [conf[`${command}_uid`], conf[`${command}_gid`]];
  if (flags.uid !== undefined || flags.gid !== undefined) return;
  const user = await findUser(textOf(uid), textOf(gid));
  if (user === null || isUs(user)) return;
  await beforeChange();
  becomeUser(user);
  restartInPlace();
}

/** The commands that are daemons. */
type DaemonCommand = "worker" | "beat" | "events";

/** A user or group of the settings as an option would give it. */
function textOf(id: string | number | null): string | undefined {
  return id === null || id === "" ? undefined : String(id);
}

/** A running daemon or service, or a program in the foreground that nobody waits for. */
export class Daemon {
  /** True in a process without a terminal that `--detach` or `multi` started. */
  readonly isDetached: boolean;
  readonly manager: ServiceManager;
  readonly #world: RealWorld;
  #pidfile: Pidfile | null = null;
  #hasLogfile = false;
  readonly #heartbeat: Heartbeat;

  constructor(world: RealWorld) {
    this.#world = world;
    this.isDetached = daemonStage() !== "none";
    this.#heartbeat = new Heartbeat(world.clock, world.host);
    this.manager = new ServiceManager(world.clock, (name) => world.host.env(name), world.host.pid);
  }

  /** Logs to a file from now on; errors are told to a waiting starter too. */
  openLog(path: string): void {
    this.#makeFolderOf(path);
    this.#world.log.configure({ file: path, mirrorErrors: daemonStage() === "starting" });
    this.#hasLogfile = true;
  }

  /** Writes the pid file. Throws UsageError with status 73 where another process has it. */
  holdPidfile(path: string): void {
    this.#makeFolderOf(path);
    this.#pidfile = acquirePidfile(path, (message) => this.#world.log.warning(message));
  }

  /** Shows from now on that it turns, for `status --local`; and in the file `path`. Throws as Heartbeat.start. */
  beats(facts: () => NodeFacts, path: string | undefined): void {
    this.#heartbeat.start(this.#world.host, facts, path ?? null);
  }

  /** Starting; systemd is asked for patience. */
  starting(status: () => string): void {
    this.manager.starting(status);
  }

  /** Ready: tells the starter, which returns, and systemd. */
  ready(status: () => string, isAlive: () => boolean = () => true): void {
    this.#world.log.flushSync();
    this.#world.log.configure({ mirrorErrors: false });
    reportReady();
    this.#heartbeat.changed();
    this.manager.ready(status, isAlive);
  }

  /** Asked to stop. */
  stopping(status: string): void {
    this.#heartbeat.changed();
    this.manager.stopping(status);
  }

  /**
   * HUP: opens the log file again at once (after rotation). True where the program should end and then `restart`;
   * false at a terminal, whose closing only ends it, and where the end was asked for before.
   * Source: celery 5.2.6 apps/worker.py install_platform_tweaks.
   */
  hangUp(isStopping = false): boolean {
    if (this.#hasLogfile) this.#world.log.reopen();
    if (isStopping || this.#world.terminal.inIsTty) return false;
    this.manager.reloading();
    return true;
  }

  /** Starts again under the same pid, with the same arguments; the pid file stays. Call when all is closed. */
  restart(): never {
    this.manager.close();
    this.#world.log.flushSync();
    return restartInPlace();
  }

  /** Removes the pid file and says no more. */
  close(): void {
    this.manager.close();
    this.#heartbeat.close();
    this.#pidfile?.release();
  }

  #makeFolderOf(path: string): void {
    const at = path.lastIndexOf("/");
    if (!this.isDetached || at <= 0) return;
    const folder = path.slice(0, at);
    makeFolder(folder, stateFolderMode(folder, this.#world.host));
  }
}

/** What a program says while its broker is away. */
const BROKER_AWAY = /\bCannot connect to \S+:\/\//;

/** The status that a detached start ends with. */
function startStatus(start: DaemonStart): number {
  if (start.kind === "ready") return EXIT.OK;
  if (start.kind === "late" && BROKER_AWAY.test(start.text)) return EXIT.UNAVAILABLE;
  return start.kind === "failed" && start.code !== 0 ? start.code : EXIT.FAILURE;
}

async function detach(world: RealWorld, flags: DaemonValues): Promise<number> {
  const seconds = flags.readyTimeout ?? READY_SECONDS;
  const stopping = new AbortController();
  let signalled: SignalName | null = null;
  let unfinished = "";
  // What is interrupted while it waits leaves nothing half started behind.
  const unlisten = listenSignals(["SIGINT", "SIGTERM"], (name) => {
    signalled = name;
    stopping.abort();
  });
  try {
    const start = await startDaemon(world.clock, {
      args: Deno.args,
      readyMs: seconds > 0 ? seconds * 1000 : Infinity,
      signal: stopping.signal,
      // As it comes: a broker that is away is waited for, and whoever waits here may know why it is.
      onText: (text) => {
        const lines = unfinished + text;
        const end = lines.lastIndexOf("\n") + 1;
        unfinished = lines.slice(end);
        world.terminal.err(lines.slice(0, end));
      },
    });
    world.terminal.err(unfinished);
    if (signalled !== null && start.kind === "late") return exitOfSignal(signalled as "SIGINT" | "SIGTERM");
    if (start.kind === "late") {
      world.terminal.err(
        `Error: Cannot start in the background: it was not ready after ${seconds} s and was ended; ` +
          "--ready-timeout gives it more time\n",
      );
    }
    return startStatus(start);
  } finally {
    unlisten();
  }
}

function maskOf(text: string, source = "--umask"): number {
  if (!/^(0o)?[0-7]{1,4}$/.test(text)) {
    throw new UsageError(`Cannot read ${source} ${text}: give it in octal, such as 022`);
  }
  return parseInt(text.replace("0o", ""), 8);
}
