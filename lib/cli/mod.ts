/**
 * cli: the command line. One file a command; nothing of substance: commands read options, call the rooms below and
 * print.
 *
 * Reading order: command.ts (what a command is), table.ts (all of them, lazily loaded), root.ts (finding the command,
 * errors and exit statuses), quick.ts and grammar.ts (options: the plain case, and everything), arguments.ts and
 * output.ts (reading options, printing values), remote.ts and remote_output.ts (status, inspect, control), then the
 * commands: worker.ts, call.ts, result.ts, purge.ts, list.ts, report.ts, and pool_child.ts, which the process pool
 * starts.
 *
 * Uses commander for the grammar of options; every other room may be imported.
 */

export { runCli } from "./root.ts";
