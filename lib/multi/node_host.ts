/** The machine that nodes run on: starts a node, finds its process, signals it, and removes what it left. */

import { errorText, type SignalName, type World } from "../base/mod.ts";
import {
  type DaemonStart,
  exitOfSignal,
  findUser,
  giveFolder,
  isOurs,
  isOwnerAlive,
  processMark,
  readPidfile,
  removeStalePidfile,
  selfCommand,
  selfPath,
  sendSignal,
  startDaemon,
  stateFolderMode,
} from "../platform/mod.ts";
import { FleetMemory } from "./memory.ts";
import type { Node, NodeOutcome } from "./node.ts";

/** How long a node may take to be ready, seconds, unless `--ready-timeout` is given. */
const READY_SECONDS = 60;
/** Exit status if a node already runs. */
const EX_CANTCREAT = 73;
/** The file name that means "no file" to a worker. */
const NO_FILE = "/dev/null";

/** Starts and signals the processes of nodes. */
export class NodeHost {
  readonly #world: World;
  readonly #memory: FleetMemory;

  constructor(world: World) {
    this.#world = world;
    this.#memory = new FleetMemory(world.host);
  }

  /** Starts a node and resolves when it is ready or has failed. Never rejects. */
  async start(
    node: Node,
    signal: AbortSignal | null,
  ): Promise<{ outcome: NodeOutcome; signal: string | null }> {
    try {
      if (node.pidfilePath === NO_FILE) {
        const why = `Cannot start ${node.name} without a pid file: multi could not stop it again`;
        return failed(node, null, EX_CANTCREAT, `Error: ${why}\n`);
      }
      const pid = this.pidOf(node);
      if (pid !== null && this.isRunning(node, pid)) {
        return failed(node, pid, EX_CANTCREAT, runsAlready(node, pid));
      }
      await this.#makeFolders(node);
      return node.executable === null ? await this.#startSelf(node, signal) : await this.#startOther(node);
    } catch (error) {
      return failed(node, null, 1, `Error: ${errorText(error)}\n`);
    }
  }

  /** Returns the command line of a node, as a person would type it. */
  commandLine(node: Node): string[] {
    return [...node.executable === null ? programWords() : [node.executable], ...node.argv()];
  }

  /** Returns the pid in a node's pid file, or null. */
  pidOf(node: Node): number | null {
    return readPidfile(node.pidfilePath);
  }

  /**
   * Whether the process may be signalled as the node: we started it, or it is a worker that uses this pid
   * file.
   */
  isTrusted(node: Node, pid: number): boolean {
    const mark = this.#memory.recordOf(node, pid)?.mark ?? null;
    if (mark !== null && processMark(pid) === mark) return true;
    return isOurs(pid, node.pidfilePath, node.executable);
  }

  /** Whether the process is the node: it is alive, and it wrote the pid file. */
  isRunning(node: Node, pid: number): boolean {
    const record = this.#memory.recordOf(node, pid);
    if (record !== null && record.mark !== null && processMark(pid) !== record.mark) return false;
    // A node that is ending may have removed its pid file already; then the process itself is checked.
    return readPidfile(node.pidfilePath) === pid
      ? isOwnerAlive(pid, node.pidfilePath)
      : processMark(pid) !== null;
  }

  /** Sends a signal; returns false if there is no such process, or we may not signal it. */
  signal(pid: number, name: SignalName): boolean {
    return sendSignal(pid, name);
  }

  /** Removes the pid file of a process that is gone. */
  cleanUp(node: Node): void {
    removeStalePidfile(node.pidfilePath);
  }

  async #startSelf(node: Node, signal: AbortSignal | null) {
    const seconds = Number(node.option("--ready-timeout") ?? READY_SECONDS);
    const start = await startDaemon(this.#world.clock, {
      args: node.argv(),
      folder: node.init.folder,
      readyMs: seconds > 0 ? seconds * 1000 : Infinity,
      ...(signal === null ? {} : { signal }),
    });
    if (start.kind === "late" && signal?.aborted) {
      return failed(node, start.pid, 1, `Error: interrupted; ${node.name} was ended\n`);
    }
    if (start.kind !== "ready") return notReady(node, start, seconds);
    this.#remember(node, start.pid);
    return { outcome: { name: node.name, status: "ok", pid: start.pid } as const, signal: null };
  }

  /**
   * Starts another program, such as Celery's own. It is done when it returns, and prints its own messages.
   */
  async #startOther(node: Node) {
    const child = this.#world.spawner.spawn(node.executable!, {
      args: node.argv(),
      cwd: node.init.folder,
      stdout: "inherit",
      stderr: "inherit",
    });
    const { code, signal } = await child.ended;
    if (code !== 0) return failed(node, null, code, "", signal);
    const pid = this.pidOf(node);
    if (pid !== null) this.#remember(node, pid);
    return { outcome: { name: node.name, status: "ok", pid } as const, signal: null };
  }

  /** If the disk is full, a node that runs has not failed. */
  #remember(node: Node, pid: number): void {
    try {
      this.#memory.remember(node, pid, this.#world.clock.wallMs());
    } catch (error) {
      this.#world.log.warning(`Cannot remember how ${node.name} was started: ${errorText(error)}`);
    }
  }

  /** Creates the folders of pid and log file, for the user that the node runs as. */
  async #makeFolders(node: Node): Promise<void> {
    const user = await findUser(node.option("--uid") ?? undefined, node.option("--gid") ?? undefined);
    for (const path of [node.pidfilePath, node.logfilePath]) {
      const at = path.lastIndexOf("/");
      if (at <= 0) continue;
      const folder = path.slice(0, at);
      giveFolder(folder, { user, mode: stateFolderMode(folder, this.#world.host) });
    }
  }
}

/** Returns the words that a person types to start this program. */
export function programWords(): string[] {
  const path = selfPath();
  if (path !== null) return [path];
  const { program, args } = selfCommand();
  // Spelt out, since `-A` on this line means the app.
  return [program, ...args.map((word) => word === "-A" ? "--allow-all" : word)];
}

function notReady(node: Node, start: Exclude<DaemonStart, { kind: "ready" }>, seconds: number) {
  const said = start.text.trimEnd();
  if (start.kind === "late") {
    const text =
      `Error: ${node.name} was not ready after ${seconds} s and was ended${said ? `:\n${said}` : ""}\n` +
      `--ready-timeout=SECONDS gives it more time; its log is ${node.logfilePath}\n`;
    return failed(node, start.pid, 1, text);
  }
  const code = start.signal === null ? start.code || 1 : exitOfSignal(start.signal as "SIGKILL");
  return failed(node, start.pid, code, said === "" ? "" : `${said}\n`, start.signal);
}

function failed(node: Node, pid: number | null, code: number, error: string, signal: string | null = null) {
  return { outcome: { name: node.name, status: "failed", pid, code, error } as const, signal };
}

function runsAlready(node: Node, pid: number): string {
  return `ERROR: Pidfile (${node.pidfilePath}) already exists.\nSeems we're already running? (pid: ${pid})\n`;
}
