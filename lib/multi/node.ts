/**
 * One node of a fleet: its name, its options, and the command line that starts it. Pure: no folder is made, no process
 * is started here.
 *
 * Source: celery 5.2.6 apps/multi.py Node, build_nodename, build_expander, format_opt (behaviour, vectors multi-*).
 */

import { nodesplit, UsageError } from "../base/mod.ts";
import { checkNodename } from "./node_names.ts";
import { isGlobalOption, type NodeOptions } from "./options.ts";

/** Options whose percent signs are their own: a password in a URL is escaped with them. */
const URL_OPTIONS: ReadonlySet<string> = new Set(["-b", "--broker", "--result-backend"]);

/** Options that the worker expands once more (base/nodename.ts): there `%%` stays as it is. */
const WORKER_FORMATS: ReadonlySet<string> = new Set([
  ...["-n", "--hostname", "-p", "--pidfile", "-f", "--logfile", "-S", "--statedb"],
]);

/** What a node is made of. */
export interface NodeInit {
  /** The whole node name, "w1@host". */
  readonly name: string;
  readonly options: NodeOptions;
  /** From "--" on. */
  readonly passThrough: readonly string[];
  /** `--cmd`: the words of the command; null: this program's `worker --detach`. */
  readonly cmd: string | null;
  /** `--append`: words behind everything else. */
  readonly append: string | null;
  /** Where pid and log files go where the options do not say, each with `%n`. */
  readonly defaults: { readonly pidfile: string; readonly logfile: string };
  /** Where it is started: relative paths begin there. */
  readonly folder: string;
}

/** What became of one node. */
export interface NodeOutcome {
  readonly name: string;
  /**
   * "ok": started and ready; "failed": not. "signalled": the signal was sent; "stopped": and the node has ended;
   * "down": it was not running; "refused": the process that its pid file names is not ours to signal.
   */
  readonly status: "ok" | "failed" | "signalled" | "stopped" | "down" | "refused";
  readonly pid: number | null;
  /** The exit status of a failed start, as a shell gives it. */
  readonly code?: number;
  /** What a failed start said. */
  readonly error?: string;
}

/** A node. */
export class Node {
  readonly name: string;
  readonly shortName: string;
  readonly host: string;
  /** With the defaults filled in. */
  readonly options: NodeOptions;
  readonly init: NodeInit;

  /** Throws UsageError for a name that cannot be. */
  constructor(init: NodeInit) {
    checkNodename(init.name);
    this.init = init;
    this.name = init.name;
    const { name, host } = nodesplit(init.name);
    this.shortName = name ?? "";
    this.host = host;
    this.options = new Map(init.options);
    // Setting a key again keeps its place: a hostname given for one node alone must not win over the fleet's names.
    this.options.set("-n", init.name);
    if (!this.options.has("-p") && !this.options.has("--pidfile")) {
      this.options.set("--pidfile", init.defaults.pidfile);
    }
    if (!this.options.has("-f") && !this.options.has("--logfile")) {
      this.options.set("--logfile", init.defaults.logfile);
    }
  }

  /**
   * Expands `%n` and `%N` (short name), `%h` and `%p` (whole node name), `%d` (host) and `%%` (a percent sign); `%i`
   * and `%I` are left for the worker, with `isForWorker` also `%%`. Throws UsageError on another letter.
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

  /** An option's value as the worker gets it: expanded, unless it is a URL. */
  expanded(option: string, value: string | null): string | null {
    return value && !URL_OPTIONS.has(option) ? this.expand(value, WORKER_FORMATS.has(option)) : value;
  }

  /** An option's value under any of its spellings; null where it is not given or has none. */
  option(...spellings: string[]): string | null {
    const found = spellings.find((one) => this.options.has(one));
    return found === undefined ? null : this.options.get(found) ?? null;
  }

  /** Where its pid is kept; as the worker is told. */
  get pidfile(): string {
    return this.expand(this.option("--pidfile", "-p") ?? "", true);
  }

  /** Where it logs; `%i`, `%I` and `%%` are still in it. */
  get logfile(): string {
    return this.expand(this.option("--logfile", "-f") ?? "", true);
  }

  /** Where its pid is kept, as an absolute path. */
  get pidfilePath(): string {
    return this.#ofParent(this.pidfile);
  }

  /** Where the node itself logs, as an absolute path. */
  get logfilePath(): string {
    return this.#ofParent(this.logfile);
  }

  /** The folder that it works in. */
  get workdir(): string {
    return absolute(this.option("--workdir") ?? "", this.init.folder);
  }

  /** Another program than this one, where `--executable` names it. */
  get executable(): string | null {
    return this.option("--executable");
  }

  /** The words that start it, the program left out: global options, `worker --detach`, options, what is appended. */
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
    // `--cmd` is written for Celery, with the globals behind its name; this program is that name.
    const at = command.indexOf("celery") + 1;
    const head = this.executable === null ? [] : command.slice(0, at);
    const last = append === null ? [] : words(this.expand(append));
    return [...head, ...globals, ...command.slice(at), ...others, ...passThrough, ...last];
  }

  /** A file as the worker itself has it, not one of its pool's slots. */
  #ofParent(path: string): string {
    const plain = path.replace(/%([iI%])/g, (_, letter: string) => ({ i: "0", I: "", "%": "%" })[letter]!);
    return path === "" ? "" : absolute(plain, this.workdir);
  }
}

/** A path made absolute from `folder`; an empty one is the folder. */
export function absolute(path: string, folder: string): string {
  if (path.startsWith("/")) return path;
  return path === "" ? folder : `${folder === "/" ? "" : folder}/${path}`;
}

/** The same for a path with `%` forms: the folder's percent signs stand for themselves. */
export function absoluteFormat(path: string, folder: string): string {
  return absolute(path, folder.replaceAll("%", "%%"));
}

function words(text: string): string[] {
  return text.split(" ").filter(Boolean);
}

/** An option as words: `-c 3`, `--loglevel=INFO`, or the option alone where it has no value. */
export function optionWords(option: string, value: string | null | undefined): string[] {
  if (!value) return [option];
  return option.startsWith("--") ? [`${option}=${value}`] : [option, value];
}
