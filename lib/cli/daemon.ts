/**
 * What `worker` and `beat` share as daemons and services: `--detach` and who they become, pid file and log, what they
 * tell their starter and systemd, and starting again in place on HUP.
 *
 *     const daemon = await enterDaemon(world, options);
 *     if (typeof daemon === "number") return daemon;      // the parent of a detached one: its exit status
 *     daemon.openLog(path); daemon.holdPidfile(path);     // both node-formatted by the caller
 *     daemon.ready(() => "status");                       // the parent returns, systemd hears READY=1
 *     …SIGHUP: if (daemon.hangUp()) stop warm, then after everything is closed daemon.restart()
 *     daemon.close();
 *
 * Source: celery 5.2.6 bin/base.py CeleryDaemonCommand (options), platforms.py detached, maybe_drop_privileges.
 */

import type { Command } from "commander";
import { UsageError } from "../base/mod.ts";
import {
  acquirePidfile,
  becomeUser,
  daemonStage,
  type DaemonStart,
  EXIT,
  exitOfSignal,
  findUser,
  isUs,
  listenSignals,
  makeFolder,
  type Pidfile,
  type RealWorld,
  restartInPlace,
  ServiceManager,
  type SignalName,
  startDaemon,
  tellParentReady,
} from "../platform/mod.ts";
import { numeric } from "./arguments.ts";

/** How long a detached node may take to be ready, seconds. */
export const READY_SECONDS = 60;

/** The options that every daemon takes. */
export interface DaemonFlags {
  detach?: boolean;
  uid?: string;
  gid?: string;
  umask?: string;
  readyTimeout?: number;
}

/** Adds the options of a daemon to a command. */
export function defineDaemon(command: Command): Command {
  return command
    .option("-D, --detach", "run in the background; returns when it is ready or has failed")
    .option("--uid <user>", "become this user, by name or number")
    .option("--gid <group>", "become this group, by name or number")
    .option("--umask <octal>", "the mask of files it makes, e.g. 022")
    .option(
      "--ready-timeout <seconds>",
      `with --detach: ended if not ready by then (${READY_SECONDS}; 0: never)`,
      numeric,
    )
    .option("--executable <path>", "read for Celery's sake, and without effect");
}

/**
 * Makes this process what the options say. A number is the exit status of a process that is done: the one that
 * started the daemon. Throws UsageError for a user, group or mask that cannot be.
 */
export async function enterDaemon(world: RealWorld, flags: DaemonFlags): Promise<Daemon | number> {
  const user = await findUser(flags.uid, flags.gid);
  if (flags.umask !== undefined) Deno.umask(maskOf(flags.umask));
  if (flags.detach && daemonStage() === "none") return await detach(world, flags);
  if (user !== null && !isUs(user)) {
    becomeUser(user);
    // Again from the start, so that nothing of root's is left in the process.
    restartInPlace();
  }
  return new Daemon(world);
}

/** A running daemon or service, or a program in the foreground that nobody waits for. */
export class Daemon {
  /** True in a process without a terminal that `--detach` or `multi` started. */
  readonly isDetached: boolean;
  readonly manager: ServiceManager;
  readonly #world: RealWorld;
  #pidfile: Pidfile | null = null;
  #hasLogfile = false;

  constructor(world: RealWorld) {
    this.#world = world;
    this.isDetached = daemonStage() !== "none";
    this.manager = new ServiceManager(world.clock, (name) => world.host.env(name), world.host.pid);
  }

  /** Logs to a file from now on; errors are told to a waiting starter too. */
  openLog(path: string): void {
    if (this.isDetached) makeFolderOf(path);
    this.#world.log.configure({ file: path, mirrorErrors: daemonStage() === "starting" });
    this.#hasLogfile = true;
  }

  /** Writes the pid file. Throws UsageError with status 73 where another process has it. */
  holdPidfile(path: string): void {
    if (this.isDetached) makeFolderOf(path);
    this.#pidfile = acquirePidfile(path, (message) => this.#world.log.warning(message));
  }

  /** Starting; systemd is asked for patience. */
  starting(status: () => string): void {
    this.manager.starting(status);
  }

  /** Ready: tells the starter, which returns, and systemd. */
  ready(status: () => string, isAlive: () => boolean = () => true): void {
    this.#world.log.flushSync();
    this.#world.log.configure({ mirrorErrors: false });
    tellParentReady();
    this.manager.ready(status, isAlive);
  }

  /** Asked to stop. */
  stopping(status: string): void {
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
    this.#pidfile?.release();
  }
}

/** A detached start that went wrong, as text for the terminal, ending its line. `logfile` may be unknown. */
export function startText(start: DaemonStart, name: string, readySeconds: number): string {
  if (start.kind === "ready") return "";
  const said = start.text.trimEnd();
  if (start.kind === "failed") return said === "" ? "" : `${said}\n`;
  return `Error: ${name} was not ready after ${readySeconds} s and was ended${
    said === "" ? "" : `:\n${said}`
  }\n` +
    "--ready-timeout gives it more time.\n";
}

/** The status that a detached start ends with. */
export function startStatus(start: DaemonStart): number {
  if (start.kind === "ready") return EXIT.OK;
  return start.kind === "failed" && start.code !== 0 ? start.code : EXIT.FAILURE;
}

async function detach(world: RealWorld, flags: DaemonFlags): Promise<number> {
  const seconds = flags.readyTimeout ?? READY_SECONDS;
  const stopping = new AbortController();
  let told: SignalName | null = null;
  // What is interrupted while it waits leaves nothing half started behind.
  const unlisten = listenSignals(["SIGINT", "SIGTERM"], (name) => {
    told = name;
    stopping.abort();
  });
  try {
    const start = await startDaemon(world.clock, {
      args: Deno.args,
      readyMs: seconds > 0 ? seconds * 1000 : Infinity,
      signal: stopping.signal,
    });
    if (told !== null && start.kind === "late") return exitOfSignal(told as "SIGINT" | "SIGTERM");
    world.terminal.err(startText(start, "it", seconds));
    return startStatus(start);
  } finally {
    unlisten();
  }
}

function maskOf(text: string): number {
  if (!/^(0o)?[0-7]{1,4}$/.test(text)) {
    throw new UsageError(`Cannot read --umask ${text}: give it in octal, such as 022`);
  }
  return parseInt(text.replace("0o", ""), 8);
}

function makeFolderOf(path: string): void {
  const at = path.lastIndexOf("/");
  if (at > 0) makeFolder(path.slice(0, at));
}
