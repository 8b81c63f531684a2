/**
 * What `worker`, `beat` and `events` share as daemons and services: `--detach`, user and group, pid file and
 * log, reports to the starting process and to systemd, and the restart in place on HUP.
 *
 *     const daemon = await enterDaemon(world, options);
 *     if (typeof daemon === "number") return daemon;      // the parent of a detached process: its exit status
 *     await obeySettings("worker", options, app.conf);    // as soon as the settings are there
 *     daemon.openLog(path); daemon.holdPidfile(path);     // the caller expands node formats
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

/** Default of `--ready-timeout`, seconds. */
const READY_SECONDS = 60;

/** The options that every daemon takes. */
export const DAEMON_OPTIONS = {
  detach: { short: "-D", help: "run in the background; return once it is ready or has failed" },
  uid: { value: "user", help: "run as this user, by name or number" },
  gid: { value: "group", help: "run as this group, by name or number" },
  umask: { value: "octal", help: "umask for created files, such as 022" },
  readyTimeout: {
    value: "seconds",
    help: `with --detach: stop it if not ready after this time; ${READY_SECONDS} by default, 0: never`,
    read: duration(0),
  },
  executable: { value: "path", help: "accepted for compatibility with Celery; has no effect" },
} as const satisfies Options;

/** The log level of a daemon. */
export const LOGLEVEL_OPTION = {
  loglevel: { short: "-l", value: "level", help: "DEBUG, INFO, WARNING, ERROR or CRITICAL", read: level },
} as const satisfies Options;

/** The files that a daemon writes. */
export const FILE_OPTIONS = {
  logfile: { short: "-f", value: "file", help: "append the log to a file instead of standard error" },
  pidfile: { value: "file", help: "write the process id to this file" },
} as const satisfies Options;

/** A file that shows that a daemon is alive and responsive. */
export const HEARTBEAT_OPTION = {
  heartbeatFile: {
    value: "file",
    help: "touch this file every two seconds while the process responds; removed at exit",
  },
} as const satisfies Options;

/** Where a daemon serves metrics and probes (probes.ts, loaded only then). */
export const HTTP_OPTION = {
  http: {
    value: "address",
    help: "serve /metrics, /livez and /readyz at ADDRESS:PORT or unix:PATH",
  },
} as const satisfies Options;

/** The values of a daemon's options. */
type DaemonValues = ValuesOf<typeof DAEMON_OPTIONS>;

/**
 * Applies user, group, umask and `--detach` to this process. Resolves to a number, the exit status, in the
 * process that started a detached one. Rejects with UsageError for an invalid user, group or umask.
 */
export async function enterDaemon(world: RealWorld, flags: DaemonValues): Promise<Daemon | number> {
  const user = await findUser(flags.uid, flags.gid);
  if (flags.umask !== undefined) Deno.umask(maskOf(flags.umask));
  if (flags.detach && daemonStage() === "none") return await detach(world, flags);
  if (user !== null && !isUs(user)) {
    becomeUser(user);
    // Restart, so that the process keeps nothing that it read or opened as root.
    restartInPlace();
  }
  outliveOutput();
  const warning = timeZoneWarning();
  if (warning !== null) world.log.warning(warning);
  return new Daemon(world);
}

/**
 * Applies user, group and umask from the settings of `command` if no option gives them. Changing the user
 * restarts the program and does not return, since the user's module is already loaded. `beforeChange` ends
 * processes that were started with the old user or umask. Rejects as `enterDaemon`.
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

/** Converts a user or group from the settings to the form of an option. */
function textOf(id: string | number | null): string | undefined {
  return id === null || id === "" ? undefined : String(id);
}

/** A running daemon or service, or the same program in the foreground. */
export class Daemon {
  /** True in a process that `--detach` or `multi` started; it has no terminal. */
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

  /** Logs to a file from now on; until ready, errors also go to the starting process. */
  openLog(path: string): void {
    this.#makeFolderOf(path);
    this.#world.log.configure({ file: path, mirrorErrors: daemonStage() === "starting" });
    this.#hasLogfile = true;
  }

  /** Writes the pid file. Throws UsageError with exit status 73 if another process holds it. */
  holdPidfile(path: string): void {
    this.#makeFolderOf(path);
    this.#pidfile = acquirePidfile(path, (message) => this.#world.log.warning(message));
  }

  /**
   * Starts the heartbeat for `status --local`, and in the file `path` if given. Throws as Heartbeat.start.
   */
  beats(facts: () => NodeFacts, path: string | undefined): void {
    this.#heartbeat.start(this.#world.host, facts, path ?? null);
  }

  /** Reports the start to systemd, which then extends its timeout. */
  starting(status: () => string): void {
    this.manager.starting(status);
  }

  /** Reports readiness to the starting process, which then returns, and to systemd. */
  ready(status: () => string, isAlive: () => boolean = () => true): void {
    this.#world.log.flushSync();
    this.#world.log.configure({ mirrorErrors: false });
    reportReady();
    this.#heartbeat.changed();
    this.manager.ready(status, isAlive);
  }

  /** Reports that the process is stopping. */
  stopping(status: string): void {
    this.#heartbeat.changed();
    this.manager.stopping(status);
  }

  /**
   * Handles HUP: reopens the log file at once (after rotation). Returns true if the program should end and
   * then `restart`; false at a terminal, whose closing just ends the program, and if it is stopping already.
   * Source: celery 5.2.6 apps/worker.py install_platform_tweaks.
   */
  hangUp(isStopping = false): boolean {
    if (this.#hasLogfile) this.#world.log.reopen();
    if (isStopping || this.#world.terminal.inIsTty) return false;
    this.manager.reloading();
    return true;
  }

  /**
   * Restarts under the same pid, with the same arguments; the pid file stays. Call it after closing
   * everything.
   */
  restart(): never {
    this.manager.close();
    this.#world.log.flushSync();
    return restartInPlace();
  }

  /** Ends the heartbeat and the reports to systemd, and removes the pid file. */
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

/** Matches the line that a program prints while its broker is away. */
const BROKER_AWAY = /\bCannot connect to \S+:\/\//;

/** Returns the exit status of a detached start. */
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
  // Interrupting the wait also stops the process that is starting.
  const unlisten = listenSignals(["SIGINT", "SIGTERM"], (name) => {
    signalled = name;
    stopping.abort();
  });
  try {
    const start = await startDaemon(world.clock, {
      args: Deno.args,
      readyMs: seconds > 0 ? seconds * 1000 : Infinity,
      signal: stopping.signal,
      // Printed at once: the process may be waiting for its broker, and the user should see why.
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
        `Error: Cannot start in the background: it was not ready after ${seconds} s and was stopped; ` +
          "--ready-timeout allows more time\n",
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
