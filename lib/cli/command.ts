/**
 * The shape of a command: options and arguments as data, for the reader, the help and the reference; and
 * `run`.
 */

import { longName } from "../base/mod.ts";
import type { RealWorld } from "../platform/mod.ts";
import type { App } from "../app/mod.ts";
import { type OneOf, oneOf } from "./arguments.ts";

/** An option. Its key in the table is its name: `taskEvents` is `--task-events`. */
export interface Option {
  /** Its short spelling, "-E". */
  readonly short?: string;
  /** The name of its value in the help. An option without one is a flag. */
  readonly value?: string;
  readonly help: string;
  /**
   * Converts the text; `before` is the value read so far if the option is repeated. Default: the text itself.
   * Throws InvalidValue.
   */
  read?(text: string, before: unknown): unknown;
  /** Possible values, for completions; default: those of its reader, if that is `oneOf`. */
  readonly words?: readonly string[];
  /** True for a flag that may take a value: `--live=false`. */
  readonly isTruth?: boolean;
  /** Further spellings, from Celery or Flower. */
  readonly aliases?: readonly string[];
  /** Environment variables for it, the first one set wins; default: `CELERY_<COMMAND>_<NAME>`. */
  readonly variables?: readonly string[];
}

/** Options by name, in the order of the help. */
export type Options = Readonly<Record<string, Option>>;

/** The values of a table's options. Options and flags that are not given are absent. */
export type ValuesOf<O extends Options> = {
  -readonly [K in keyof O]?: O[K] extends { read(text: string, before: never): infer V } ? V
    : O[K] extends { readonly value: string } ? string
    : boolean;
};

/** An argument. */
export interface Argument {
  readonly name: string;
  readonly help: string;
  /** Possible values, for completions. */
  readonly words?: readonly string[];
  readonly isRequired?: boolean;
  /** True if it takes all remaining arguments. */
  readonly isRest?: boolean;
}

/** The options that every command takes, before or after its name. */
export const GLOBAL_OPTIONS = {
  app: {
    short: "-A",
    value: "module",
    help: "task module: a file, a folder or a bare name, with an optional :export",
    variables: ["CELERY_APP", "APP"],
  },
  broker: { short: "-b", value: "url", help: "the broker", variables: ["CELERY_BROKER", "BROKER_URL"] },
  resultBackend: {
    value: "url",
    help: "the result store",
    variables: ["CELERY_RESULT_BACKEND", "RESULT_BACKEND"],
  },
  config: {
    value: "file",
    help: "settings from a .ts, .json or .toml file",
    variables: ["CELERY_CONFIG", "CONFIG_MODULE"],
  },
  workdir: { value: "folder", help: "change to this folder first", variables: ["CELERY_WORKDIR"] },
  noColor: { short: "-C", help: "no colours", variables: ["CELERY_NO_COLOR"] },
  logFormat: {
    value: "format",
    help: "text: as the settings define (default); json: one object per line",
    read: oneOf("text", "json"),
    variables: ["CELERY_LOG_FORMAT"],
  },
  quiet: { short: "-q", help: "print less", variables: ["CELERY_QUIET"] },
  loader: { value: "class", help: "accepted for compatibility with Celery; has no effect", variables: [] },
  skipChecks: { help: "accepted for compatibility with Celery; has no effect", variables: [] },
} as const satisfies Options;

/** The values of the global options. */
export type GlobalValues = ValuesOf<typeof GLOBAL_OPTIONS>;

/** `--json`, for every command that prints data. */
export const JSON_OPTION = { json: { short: "-j", help: "print JSON" } } as const satisfies Options;

/** The context of a running command. */
export interface CommandContext {
  readonly world: RealWorld;
  readonly globals: GlobalValues;
  /** The task module named by `-A`, else by the environment; null if none is named. */
  readonly module: string | null;
  /** Loads all commands that the help lists and returns their facts; the program itself ("") comes first. */
  facts(): Promise<readonly CommandFacts[]>;
  /** The arguments; for a raw command all words after its name. */
  readonly args: readonly string[];
  /**
   * Loads the App of `-A` (without it, an App without tasks) with the command line's settings. `settings`
   * override those, `include` names more task modules. Rejects with UsageError.
   */
  loadApp(more?: {
    readonly settings?: Readonly<Record<string, unknown>>;
    readonly include?: readonly string[];
  }): Promise<App>;
}

/** A command. Its name and summary are in table.ts, so that the help can be printed without loading it. */
export interface Command<Values = Record<string, unknown>> {
  /** Its own options, without the global ones. */
  readonly options: Options;
  readonly arguments?: readonly Argument[];
  /** The usage line after the command's name; default: made from options and arguments. */
  readonly usage?: string;
  /** More text for its manual page, printed verbatim. */
  readonly text?: string;
  /** True if it parses its words itself, including `--help`. */
  readonly isRaw?: boolean;
  /** Returns true if the command needs no task module with these options; then its project is not entered. */
  isModuleUnused?(options: Values): boolean;
  /** Checks arguments and options before the command runs. Throws UsageError. */
  validate?(args: readonly string[], options: Values): void;
  /** Runs the command. Resolves to the exit status; the caller prints rejections in one line. */
  run(context: CommandContext, options: Values & GlobalValues): Promise<number>;
}

/** Declares a command, with types inferred from its options. */
export function command<O extends Options>(
  given: Command<ValuesOf<O>> & { readonly options: O },
): Command {
  return given;
}

/** Returns all options of a command, global ones included, in the order of the help. */
export function allOptions(own: Options): Options {
  return {
    ...GLOBAL_OPTIONS,
    version: { help: "print the version and exit", variables: [] },
    ...own,
    help: { short: "-h", help: "print this help and exit", variables: [] },
  };
}

/** Returns the environment variables of an option; the first one that is set wins. */
export function variablesOf(option: Option, key: string, command: string): readonly string[] {
  const upper = (text: string): string => text.replaceAll("-", "_").toUpperCase();
  return option.variables ?? [`CELERY_${upper(command)}_${upper(longName(key).slice(2))}`];
}

/** The description of a command, from which help, completions and manual pages are made. */
export interface CommandFacts {
  readonly name: string;
  readonly summary: string;
  /** The usage line after its name. */
  readonly usage: string;
  readonly text?: string;
  readonly arguments: readonly Argument[];
  /** All options, global ones included, in the order of the help. */
  readonly options: readonly OptionFacts[];
}

/** An option with its long spelling, possible values and variables. */
export interface OptionFacts extends Option {
  readonly long: string;
  readonly words: readonly string[];
  readonly variables: readonly string[];
  /** True for an option that every command takes. */
  readonly isGlobal: boolean;
}

/** Returns the facts of a loaded command. */
export function factsOf(
  { name, summary }: { readonly name: string; readonly summary: string },
  { usage, text, arguments: args = [], options }: Pick<Command, "usage" | "text" | "arguments" | "options">,
): CommandFacts {
  const all = Object.entries(allOptions(options)).map(([key, option]): OptionFacts => ({
    ...option,
    long: longName(key),
    words: option.words ?? (option.read as Partial<OneOf<string>> | undefined)?.words ?? [],
    variables: variablesOf(option, key, name),
    isGlobal: !Object.hasOwn(options, key),
  }));
  return {
    name,
    summary,
    usage: usage ?? ["[options]", ...args.map(usageOf)].join(" "),
    ...text === undefined ? {} : { text },
    arguments: args,
    options: all,
  };
}

/** Formats an argument for a usage line: "<n>", "[n...]". */
function usageOf({ name, isRequired, isRest }: Argument): string {
  const text = `${name}${isRest ? "..." : ""}`;
  return isRequired ? `<${text}>` : `[${text}]`;
}
