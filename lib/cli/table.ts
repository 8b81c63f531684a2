/**
 * The table of commands. Their modules are imported only when called, so that `--help` and `status` start
 * fast.
 */

import type { Command } from "./command.ts";

/** A command in the table: its name, its summary in the help, and its loader. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** True for a command that only this program uses; not shown in the help. */
  readonly isHidden?: boolean;
  load(): Promise<Command>;
}

/** The program without a command. */
export const PROGRAM = {
  name: "",
  summary: "Celery's system in one binary: workers, results, remote control.",
  options: {},
  usage: "[options] command [arguments]",
};

/** The commands in the order of the help. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "worker",
    summary: "Start a worker.",
    load: async () => (await import("./worker.ts")).worker,
  },
  {
    name: "beat",
    summary: "Send periodic tasks when they are due.",
    load: async () => (await import("./beat.ts")).beat,
  },
  {
    name: "multi",
    summary: "Start, stop and install a fleet of named workers.",
    load: async () => (await import("./multi.ts")).multi,
  },
  {
    name: "run",
    summary: "Run your own program that uses the library.",
    load: async () => (await import("./run.ts")).run,
  },
  {
    name: "test",
    summary: "Run your own tests.",
    load: async () => (await import("./run.ts")).test,
  },
  {
    name: "check",
    summary: "Check the types of your own programs.",
    load: async () => (await import("./run.ts")).check,
  },
  {
    name: "init",
    summary: "Start a project: a task module, and types for the editor.",
    load: async () => (await import("./init.ts")).init,
  },
  {
    name: "types",
    summary: "Write the library's types, and stubs of tasks, for editors and compilers.",
    load: async () => (await import("./types.ts")).types,
  },
  {
    name: "call",
    summary: "Call a task by name.",
    load: async () => (await import("./call.ts")).call,
  },
  {
    name: "result",
    summary: "Print the result of a task by its id.",
    load: async () => (await import("./result.ts")).result,
  },
  {
    name: "purge",
    summary: "Delete all pending messages of the known queues.",
    load: async () => (await import("./purge.ts")).purge,
  },
  {
    name: "list",
    summary: "Show the broker's bindings.",
    load: async () => (await import("./list.ts")).list,
  },
  {
    name: "dead",
    summary: "Show, retry or drop dead letters.",
    load: async () => (await import("./dead.ts")).dead,
  },
  {
    name: "failed",
    summary: "Show, retry or drop tasks that failed for good.",
    load: async () => (await import("./failed.ts")).failed,
  },
  {
    name: "events",
    summary: "Show events of the cluster live.",
    load: async () => (await import("./events.ts")).events,
  },
  {
    name: "status",
    summary: "Show which workers are online.",
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "inspect",
    summary: "Ask workers about themselves.",
    load: async () => (await import("./inspect.ts")).inspect,
  },
  {
    name: "control",
    summary: "Send commands to workers.",
    load: async () => (await import("./control.ts")).control,
  },
  {
    name: "ui",
    summary: "Serve the console: the cluster in a browser.",
    load: async () => (await import("./ui.ts")).ui,
  },
  {
    name: "flower",
    summary: "Serve the console under Flower's name, with Flower's defaults.",
    load: async () => (await import("./ui.ts")).flower,
  },
  {
    name: "metrics",
    summary: "Serve or print the cluster's metrics for Prometheus.",
    load: async () => (await import("./metrics.ts")).metrics,
  },
  {
    name: "graph",
    summary: "Draw the boot steps or the cluster in DOT.",
    load: async () => (await import("./graph.ts")).graph,
  },
  {
    name: "migrate",
    summary: "Copy or move messages from one broker to another.",
    load: async () => (await import("./migrate.ts")).migrate,
  },
  {
    name: "version",
    summary: "Print the version, and how this program was built.",
    load: async () => (await import("./version.ts")).version,
  },
  {
    name: "completions",
    summary: "Print completions for a shell.",
    load: async () => (await import("./completions.ts")).completions,
  },
  {
    name: "man",
    summary: "Print the manual page of the program or a command.",
    load: async () => (await import("./man.ts")).man,
  },
  {
    name: "upgrade",
    summary: "Upgrade this program to the newest version, or old names of settings.",
    load: async () => (await import("./upgrade.ts")).upgrade,
  },
  {
    name: "logtool",
    summary: "Analyse worker logs: counts, tracebacks, errors, incomplete tasks.",
    load: async () => (await import("./logtool.ts")).logtool,
  },
  {
    name: "report",
    summary: "Print versions, platform and settings for a bug report.",
    load: async () => (await import("./report.ts")).report,
  },
  {
    name: "pool-child",
    summary: "A slot of a worker's process pool.",
    isHidden: true,
    load: async () => (await import("./pool_child.ts")).poolChild,
  },
];
