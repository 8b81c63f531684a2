/**
 * A node of a fleet: its name, its options, and the command line that starts it. Pure: creates no folder and
 * starts no process.
 *
 * Source: celery 5.2.6 apps/multi.py Node, build_nodename, build_expander, format_opt (behaviour, vectors
 * multi-*).
 */

import { nodesplit, UsageError } from "../base/mod.ts";
import { checkNodename } from "./node_names.ts";
import { isGlobalOption, type NodeOptions } from "./options.ts";

/** Options in which percent signs are not formats: a password in a URL is escaped with them. */
const URL_OPTIONS: ReadonlySet<string> = new Set(["-b", "--broker", "--result-backend"]);

/** Options that the worker expands again (base/nodename.ts): `%%` in them is left to it. */
const WORKER_FORMATS: ReadonlySet<string> = new Set([
  ...["-n", "--hostname", "-p", "--pidfile", "-f", "--logfile", "-S", "--statedb"],
]);

/** What a node is made from. */
export interface NodeInit {
  /** The whole node name, such as "w1@host". */
  readonly name: string;
  readonly options: NodeOptions;
  /** The words from "--" on. */
  readonly passThrough: readonly string[];
  /** `--cmd`: the words of the command; null: this program's `worker --detach`. */
  readonly cmd: string | null;
  /** `--append`: words after all others. */
  readonly append: string | null;
  /** Pid and log file if the options name none, each with `%n`. */
  readonly defaults: { readonly pidfile: string; readonly logfile: string };
  /** The folder in which it is started; relative paths begin there. */
  readonly folder: string;
}

/** The result of an action for one node. */
export interface NodeOutcome {
  readonly name: string;
  /**
   * "ok": started and ready; "failed": did not start. "signalled": the signal was sent; "stopped": the node
   * has ended; "down": it was not running; "refused": the process that its pid file names may not be
   * signalled.
   */
  readonly status: "ok" | "failed" | "signalled" | "stopped" | "down" | "refused";
  readonly pid: number | null;
  /** The exit status of a failed start, as a shell shows it. */
  readonly code?: number;
  /** What a failed start printed. */
  readonly error?: string;
}

/**
 * A node of a `Cluster`: its names, its files and the command line that starts it.
 *
 * @example
 * ```ts
 * import { Cluster } from "lovage";
 *
 * const [node] = Cluster.of(["w1"], { app: "tasks.ts" }).nodes;
 * console.log(node?.name, node?.pidfilePath, node?.argv());
 * ```
 */
export class Node {
  readonly name: string;
  readonly shortName: string;
  readonly host: string;
  /** All options, defaults included. */
  readonly options: NodeOptions;
  readonly init: NodeInit;

  /** @throws {UsageError} if the name is invalid. */
  constructor(init: NodeInit) {
    checkNodename(init.name);
    this.init = init;
    this.name = init.name;
    const { name, host } = nodesplit(init.name);
    this.shortName = name ?? "";
    this.host = host;
    this.options = new Map(init.options);
    // Setting a key again keeps its place: a hostname given for one node must not override the fleet's names.
    this.options.set("-n", init.name);
    if (!this.options.has("-p") && !this.options.has("--pidfile")) {
      this.options.set("--pidfile", init.defaults.pidfile);
    }
    if (!this.options.has("-f") && !this.options.has("--logfile")) {
      this.options.set("--logfile", init.defaults.logfile);
    }
  }

  /**
   * Expands `%n` and `%N` (short name), `%h` and `%p` (whole node name), `%d` (host) and `%%` (a percent
   * sign). `%i` and `%I` are left for the worker; with `isForWorker` so is `%%`.
   *
   * @throws {UsageError} for any other letter.
   */
  expand(text: string, isForWorker = false): string {
    return text.replace(/%([A-Za-z0-9_%])/g, (whole, letter: string) => {
      switch (letter) {
        case "n":
        case "N":
          return this.shortName;
        case "h":
        case "p":
          return this.name;
        case "d":
          return this.host;
        case "i":
        case "I":
          return whole;
        case "%":
          return isForWorker ? whole : "%";
        default:
          throw new UsageError(`Unknown format ${whole} in "${text}": use %n %h %d %p %i %I %%`);
      }
    });
  }

  /** Returns an option's value as the worker gets it: expanded, unless it is a URL. */
  expanded(option: string, value: string | null): string | null {
    return value && !URL_OPTIONS.has(option) ? this.expand(value, WORKER_FORMATS.has(option)) : value;
  }

  /** Returns an option's value under any of its spellings; null if it is not given or has no value. */
  option(...spellings: string[]): string | null {
    const found = spellings.find((one) => this.options.has(one));
    return found === undefined ? null : this.options.get(found) ?? null;
  }

  /** The pid file, as the worker is given it. */
  get pidfile(): string {
    return this.expand(this.option("--pidfile", "-p") ?? "", true);
  }

  /** The log file, with `%i`, `%I` and `%%` unexpanded. */
  get logfile(): string {
    return this.expand(this.option("--logfile", "-f") ?? "", true);
  }

  /** Absolute path of the pid file. */
  get pidfilePath(): string {
    return this.#ofParent(this.pidfile);
  }

  /** Absolute path of the log file of the node itself, not of its slots. */
  get logfilePath(): string {
    return this.#ofParent(this.logfile);
  }

  /** The folder that the node works in. */
  get workdir(): string {
    return absolute(this.option("--workdir") ?? "", this.init.folder);
  }

  /** The program that `--executable` names; null: this program. */
  get executable(): string | null {
    return this.option("--executable");
  }

  /**
   * Returns the words that start the node, without the program: global options, `worker --detach`, options,
   * appended words.
   */
  argv(): string[] {
    const { cmd, passThrough, append } = this.init;
    const globals: string[] = [];
    const others: string[] = [];
    for (const [option, value] of this.options) {
      (isGlobalOption(option) ? globals : others).push(
        ...optionWords(option, this.expanded(option, value)),
      );
    }
    const command = cmd === null ? ["worker", "--detach"] : words(this.expand(cmd));
    // `--cmd` is written for Celery, with global options after "celery"; this program takes the place of that
    // word.
    const at = command.indexOf("celery") + 1;
    const head = this.executable === null ? [] : command.slice(0, at);
    const last = append === null ? [] : words(this.expand(append));
    return [...head, ...globals, ...command.slice(at), ...others, ...passThrough, ...last];
  }

  /** Expands a file name for the worker itself, not for one of its slots. */
  #ofParent(path: string): string {
    const plain = path.replace(/%([iI%])/g, (_, letter: string) => ({ i: "0", I: "", "%": "%" })[letter]!);
    return path === "" ? "" : absolute(plain, this.workdir);
  }
}

/** Makes a path absolute from `folder`; an empty path is the folder. */
export function absolute(path: string, folder: string): string {
  if (path.startsWith("/")) return path;
  return path === "" ? folder : `${folder === "/" ? "" : folder}/${path}`;
}

/** Does the same for a path with `%` formats: percent signs of the folder are literal. */
export function absoluteFormat(path: string, folder: string): string {
  return absolute(path, folder.replaceAll("%", "%%"));
}

function words(text: string): string[] {
  return text.split(" ").filter(Boolean);
}

/** Returns an option as words: `-c 3`, `--loglevel=INFO`, or the option alone if it has no value. */
export function optionWords(option: string, value: string | null | undefined): string[] {
  if (!value) return [option];
  return option.startsWith("--") ? [`${option}=${value}`] : [option, value];
}
