/** Every command there is. Modules are imported only when called: `--help` and `status` start fast. */

import type { CommandEntry } from "./command.ts";

/** In the order of the help. */
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
    isRaw: true,
    load: async () => (await import("./multi.ts")).multi,
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
    summary: "Delete all waiting messages of the known queues.",
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
    name: "events",
    summary: "Show what happens in the cluster, live.",
    load: async () => (await import("./events.ts")).events,
  },
  {
    name: "status",
    summary: "Show which workers are there.",
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "inspect",
    summary: "Ask workers about themselves.",
    load: async () => (await import("./inspect.ts")).inspect,
  },
  {
    name: "control",
    summary: "Have workers do something.",
    load: async () => (await import("./control.ts")).control,
  },
  {
    name: "graph",
    summary: "Draw the boot steps, or the cluster, in DOT.",
    load: async () => (await import("./graph.ts")).graph,
  },
  {
    name: "migrate",
    summary: "Copy or move messages from one broker to another.",
    load: async () => (await import("./migrate.ts")).migrate,
  },
  {
    name: "logtool",
    summary: "Read worker logs: counts, tracebacks, errors, what did not complete.",
    load: async () => (await import("./logtool.ts")).logtool,
  },
  {
    name: "report",
    summary: "Versions, platform and settings, for a bug report.",
    load: async () => (await import("./report.ts")).report,
  },
  {
    name: "pool-child",
    summary: "A slot of a worker's process pool.",
    isHidden: true,
    isRaw: true,
    load: async () => (await import("./pool_child.ts")).poolChild,
  },
];
