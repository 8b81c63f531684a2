/**
 * The remote commands that every worker answers: names, arguments, and how words of a command line become
 * arguments.
 *
 * Source: celery 5.2.6 and 5.6.3 worker/control.py (names, signatures, aliases), bin/control.py
 * _compile_arguments; protocol.md 6.3.
 */

import { booleanOf, nearest, UsageError } from "../base/mod.ts";
import type { RemoteArgumentKind, RemoteCommandFacts } from "../app/mod.ts";

type Row = Partial<Omit<RemoteCommandFacts, "name" | "kind">>;

const INSPECT: readonly (readonly [name: string, help: string, row?: Row])[] = [
  ["report", "Versions, platform and settings of each worker"],
  ["conf", "Settings of each worker, secrets masked", {
    alias: "dump_conf",
    signature: "[include_defaults=False]",
    args: [["with_defaults", "bool"]],
  }],
  ["query_task", "Which worker has these tasks, and in what state", {
    signature: "[id1 [id2 [... [idN]]]]",
    variadic: "ids",
  }],
  ["clock", "The logical clock"],
  ["ping", "Is it there?"],
  ["stats", "Counts, pool, broker and resource use"],
  ["scheduled", "Tasks held until their eta", { alias: "dump_schedule" }],
  ["reserved", "Tasks that wait for a slot", { alias: "dump_reserved" }],
  ["active", "Tasks that run", { alias: "dump_active" }],
  ["revoked", "Ids of revoked tasks", { alias: "dump_revoked" }],
  ["registered", "Names of tasks, with attributes", {
    alias: "dump_tasks",
    signature: "[attr1 [attr2 [... [attrN]]]]",
    variadic: "taskinfoitems",
  }],
  ["hello", "Exchange of revoked tasks and clocks", { isVisible: false }],
  ["memsample", "Resident memory now"],
  ["memdump", "The memory samples taken so far", {
    signature: "[n_samples=10]",
    args: [["samples", "int"]],
  }],
  ["active_queues", "The queues a worker consumes from"],
  ["objgraph", "Objects of the garbage collector (Python workers only)", {
    signature: "[object_type=Request] [num=200 [max_depth=10]]",
    args: [["type", "str"], ["num", "int"], ["max_depth", "int"]],
  }],
];

const CONTROL: readonly (readonly [name: string, help: string, row?: Row])[] = [
  ["revoke", "Discard tasks when they arrive", {
    signature: "[id1 [id2 [... [idN]]]]",
    variadic: "task_id",
  }],
  ["revoke_by_stamped_headers", "Discard tasks by their stamps", {
    signature: "[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
    variadic: "headers",
  }],
  ["terminate", "Discard tasks, and end those that run", {
    signature: "<signal> [id1 [id2 [... [idN]]]]",
    args: [["signal", "str"]],
    variadic: "task_id",
  }],
  ["rate_limit", "Change how often tasks of a type may start", {
    signature: "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
    args: [["task_name", "str"], ["rate_limit", "str"]],
  }],
  ["time_limit", "Change the time limits of a task type", {
    signature: "<task_name> <soft_secs> [hard_secs]",
    args: [["task_name", "str"], ["soft", "float"], ["hard", "float"]],
  }],
  ["election", "Hold an election among the workers", {
    signature: "<id> <topic> [action]",
    args: [["id", "str"], ["topic", "str"], ["action", "str"]],
  }],
  ["enable_events", "Send task events"],
  ["disable_events", "Send no task events"],
  ["heartbeat", "Send a heartbeat event now"],
  ["pool_grow", "Add slots to the pool", { signature: "[N=1]", args: [["n", "int"]] }],
  ["pool_shrink", "Take slots from the pool", { signature: "[N=1]", args: [["n", "int"]] }],
  ["pool_restart", "Start the pool's slots anew (worker_pool_restarts)"],
  ["autoscale", "Change the range of autoscaling", {
    signature: "[max [min]]",
    args: [["max", "int"], ["min", "int"]],
  }],
  ["shutdown", "End workers in good order"],
  ["add_consumer", "Consume from one more queue", {
    signature: "<queue> [exchange [type [routing_key]]]",
    args: [["queue", "str"], ["exchange", "str"], ["exchange_type", "str"], ["routing_key", "str"]],
  }],
  ["cancel_consumer", "Stop consuming from a queue", { signature: "<queue>", args: [["queue", "str"]] }],
];

/** Every built-in command by name, inspect commands first, each kind in Celery's order. */
const REMOTE_COMMANDS: ReadonlyMap<string, RemoteCommandFacts> = new Map(
  [...INSPECT.map((row) => facts("inspect", row)), ...CONTROL.map((row) => facts("control", row))]
    .map((one) => [one.name, one]),
);

/** Names of built-in commands by alias. */
export const REMOTE_ALIASES: ReadonlyMap<string, string> = new Map(
  [...REMOTE_COMMANDS.values()].flatMap(({ alias, name }) => alias === null ? [] : [[alias, name] as const]),
);

/** Returns the commands of one kind that a command line may call, Celery's first, then the App's own. */
export function commandsOf(
  kind: "inspect" | "control",
  own: Iterable<RemoteCommandFacts> = [],
): RemoteCommandFacts[] {
  return [...REMOTE_COMMANDS.values(), ...own].filter((one) => one.kind === kind && one.isVisible);
}

/** Finds a command by its name or alias. Throws UsageError that names the nearest one. */
export function findCommand(
  kind: "inspect" | "control",
  name: string,
  own: Iterable<RemoteCommandFacts> = [],
): RemoteCommandFacts {
  const known = commandsOf(kind, own);
  const found = known.findLast((one) => one.name === name || one.alias === name);
  if (found) return found;
  const near = nearest(name, known.map((one) => one.name));
  const hint = near ? `did you mean "${near}"?` : `lovage ${kind} --list lists them`;
  throw new UsageError(`No such ${kind} command "${name}": ${hint}`);
}

/**
 * Makes the arguments of a command from words of a command line: by position, the rest for its variadic
 * argument. Throws UsageError for a word too many, or a value of the wrong type.
 */
export function argumentsFrom(
  command: RemoteCommandFacts,
  words: readonly string[],
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const { args, variadic, name, signature } = command;
  if (words.length > args.length && variadic === null) {
    throw new UsageError(
      args.length === 0
        ? `Command "${name}" takes no arguments`
        : `Command "${name}" takes arguments: ${signature}`,
    );
  }
  args.slice(0, words.length).forEach(([key, kind], n) => {
    result[key] = argumentValue(words[n]!, kind, `${name}: ${key}`);
  });
  if (variadic !== null) result[variadic] = words.slice(args.length);
  return result;
}

function argumentValue(text: string, kind: RemoteArgumentKind, what: string): unknown {
  switch (kind) {
    case "str":
      return text;
    case "bool": {
      const word = booleanOf(text);
      if (word !== null) return word;
      throw new UsageError(`${what} must be true or false, not "${text}"`);
    }
    case "int":
      if (/^[+-]?\d+$/.test(text)) return Number(text);
      throw new UsageError(`${what} must be a whole number, not "${text}"`);
    case "float":
      if (text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
      throw new UsageError(`${what} must be a number, not "${text}"`);
  }
}

function facts(
  kind: "inspect" | "control",
  [name, help, row = {}]: readonly [string, string, Row?],
): RemoteCommandFacts {
  return {
    name,
    kind,
    alias: null,
    help,
    signature: "",
    args: [],
    variadic: null,
    isVisible: true,
    ...row,
  };
}
