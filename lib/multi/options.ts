/**
 * Reads the words of a `multi` command line: names, options, options of single nodes, and words that are
 * passed through.
 *
 * `-c 3` and `--concurrency=3` apply to every node, `-c:1 10` and `--concurrency:image=10` to the nodes named
 * after the colon. A short option takes the next word as its value unless that begins with a dash; a long
 * option has a value only after `=`. Everything from `--` on is passed through unchanged.
 *
 * Source: celery 5.2.6 apps/multi.py NamespacedOptionParser (behaviour).
 */

import type { SignalName } from "../base/mod.ts";

/** Options by their spelling with dashes, in the order given; the value is null if there is none. */
export type NodeOptions = Map<string, string | null>;

/** The words, sorted. */
export interface MultiWords {
  /** Node names, or one number. */
  readonly names: readonly string[];
  readonly options: NodeOptions;
  /** By the text after the colon: "1", "1-3", "image", "w1,w2". */
  readonly perNode: Map<string, NodeOptions>;
  /** The words from "--" on, "--" included; empty if there is none. */
  readonly passThrough: readonly string[];
}

/** Returns true if a word names a signal: `-9`, `-KILL`, `-SIGQUIT`. */
export function isSignalWord(word: string): boolean {
  return signalOf([word], "SIGCONT") !== "SIGCONT" || /^-(SIG)?CONT$|^-18$/.test(word);
}

/** Sorts the words after `multi COMMAND`. Empty words are ignored. */
export function readWords(argv: readonly string[]): MultiWords {
  const words = argv.filter((word) => word !== "");
  const names: string[] = [];
  const options: NodeOptions = new Map();
  const perNode = new Map<string, NodeOptions>();
  let passThrough: readonly string[] = [];
  const add = (dashes: string, name: string, value: string | null) => {
    const colon = name.indexOf(":");
    if (colon < 0) return void options.set(dashes + name, value);
    const who = name.slice(colon + 1);
    const theirs = perNode.get(who) ?? new Map();
    perNode.set(who, theirs.set(dashes + name.slice(0, colon), value));
  };
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (word === "--") {
      passThrough = words.slice(at);
      break;
    }
    if (word.startsWith("--")) {
      const equals = word.indexOf("=");
      if (equals < 0) add("--", word.slice(2), null);
      else add("--", word.slice(2, equals), word.slice(equals + 1));
    } else if (word.startsWith("-")) {
      const next = words[at + 1];
      const value = next !== undefined && !next.startsWith("-") ? next : null;
      if (value !== null) at++;
      add("-", word.slice(1), value);
    } else names.push(word);
  }
  return { names, options, perNode, passThrough };
}

/** Returns the last signal among the words (`-9`, `-KILL`, `-SIGQUIT`) under its name, such as "SIGTERM". */
export function signalOf(words: readonly string[], fallback: SignalName): SignalName {
  for (const word of words.toReversed()) {
    const text = /^-(?:SIG)?([A-Z][A-Z0-9]*|\d{1,2})$/.exec(word)?.[1];
    if (text === undefined) continue;
    const found = Object.entries(SIGNALS).find(([name, number]) => name === text || String(number) === text);
    if (found) return `SIG${found[0]}` as SignalName;
  }
  return fallback;
}

/** Linux's numbers of the signals that people send to workers. */
const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ABRT: 6,
  KILL: 9,
  USR1: 10,
  USR2: 12,
  ALRM: 14,
  TERM: 15,
  CONT: 18,
  STOP: 19,
};

/**
 * Long spellings of the worker's options, by their other spellings: an option may be given under one and
 * remembered under another.
 */
const LONG: Readonly<Record<string, string>> = {
  "-A": "--app",
  "-b": "--broker",
  "-C": "--no-color",
  "-q": "--quiet",
  "-n": "--hostname",
  "-l": "--loglevel",
  "-P": "--pool",
  "-c": "--concurrency",
  "-Q": "--queues",
  "-X": "--exclude-queues",
  "-I": "--include",
  "-E": "--task-events",
  "--events": "--task-events",
  "-O": "--optimization",
  "-f": "--logfile",
  "-p": "--pidfile",
  "-S": "--statedb",
  "-B": "--beat",
  "-s": "--schedule",
  "--schedule-filename": "--schedule",
  "-D": "--detach",
};

/** Returns an option's long spelling. */
export function longOption(option: string): string {
  return LONG[option] ?? option;
}

/** Options of the program, by their long spellings; they stand before the command. `--loader` is Celery's. */
const GLOBALS: ReadonlySet<string> = new Set([
  ...[
    "--app",
    "--broker",
    "--result-backend",
    "--loader",
    "--config",
    "--workdir",
    "--no-color",
    "--quiet",
    "--log-format",
    "--skip-checks",
  ],
]);

/** Whether an option stands before `worker` on the command line. */
export function isGlobalOption(option: string): boolean {
  return GLOBALS.has(longOption(option));
}
