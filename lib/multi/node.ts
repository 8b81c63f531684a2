/**
 * One node of a fleet: its name, its options, and the command line that starts it. Pure: no folder is made, no process
 * is started here.
 *
 * Source: celery 5.2.6 apps/multi.py Node, build_nodename, build_expander, format_opt (behaviour, vectors multi-*).
 */

import { nodesplit, UsageError } from "../base/mod.ts";
import type { NodeOptions } from "./options.ts";

/** Options that stand before `worker` on the command line. */
const GLOBAL_OPTIONS: ReadonlySet<string> = new Set([
  ...["-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"],
  ...["-C", "--no-color", "-q", "--quiet"],
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
}

/** A node. */
export class Node {
  readonly name: string;
  readonly shortName: string;
  readonly host: string;
  /** With the defaults filled in. */
  readonly options: NodeOptions;
  readonly #init: NodeInit;

  constructor(init: NodeInit) {
    this.#init = init;
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
   * Expands `%n` (short name), `%h` and `%p` (whole node name), `%d` (host) and `%N` (short name); `%i` and `%I` are
   * left for the worker. Throws UsageError on another letter.
   */
  expand(text: string): string {
    return text.replace(/%([A-Za-z0-9_])/g, (whole, letter: string) => {
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
        default:
          throw new UsageError(`Unknown format ${whole} in "${text}": there are %n %h %d %p %i %I`);
      }
    });
  }

  /** Where its pid is kept. */
  get pidfile(): string {
    return this.expand(this.options.get("--pidfile") ?? this.options.get("-p") ?? "");
  }

  /** Where it logs; `%i` and `%I` are still in it. */
  get logfile(): string {
    return this.expand(this.options.get("--logfile") ?? this.options.get("-f") ?? "");
  }

  /** The words that start it, the program left out: global options, `worker --detach`, options, what is appended. */
  argv(): string[] {
    const globals: string[] = [];
    const others: string[] = [];
    for (const [option, value] of this.options) {
      (GLOBAL_OPTIONS.has(option) ? globals : others).push(
        ...optionWords(option, value && this.expand(value)),
      );
    }
    const command = this.#init.cmd === null
      ? ["worker", "--detach"]
      : this.expand(this.#init.cmd).split(" ").filter(Boolean);
    const append = this.#init.append === null
      ? []
      : this.expand(this.#init.append).split(" ").filter(Boolean);
    return [...globals, ...command, ...others, ...this.#init.passThrough, ...append];
  }
}

/** An option as words: `-c 3`, `--loglevel=INFO`, or the option alone where it has no value. */
function optionWords(option: string, value: string | null | undefined): string[] {
  if (!value) return [option];
  return option.startsWith("--") ? [`${option}=${value}`] : [option, value];
}
