/** What a command is: options and arguments as data, for the reader, the help and the reference, and what it does. */

import type { RealWorld } from "../platform/mod.ts";
import type { App } from "../app/mod.ts";
import { type OneOf, oneOf } from "./arguments.ts";

/** One option. Its name is its key in the table: `taskEvents` is `--task-events`. */
export interface Option {
  /** Its short spelling, "-E". */
  readonly short?: string;
  /** What its value is called in the help. An option without is a flag. */
  readonly value?: string;
  readonly help: string;
  /**
   * Makes the value of the text; `before` is what was read where the option is given again. Throws InvalidValue. An
   * option without has the text as its value.
   */
  read?(text: string, before: unknown): unknown;
  /** The words that its value is one of, for completions; by default those of its reader, if that is `oneOf`. */
  readonly words?: readonly string[];
  /** A flag that may also be told by a word: `--live=false`. */
  readonly isTruth?: boolean;
  /** Celery's further spellings. */
  readonly aliases?: readonly string[];
  /** Variables that give it, the first one set wins; by default `CELERY_<COMMAND>_<NAME>`. */
  readonly variables?: readonly string[];
}

/** Options by name, in the order of the help. */
export type Options = Readonly<Record<string, Option>>;

/** What a table's options are read to. A flag that is not given is absent, like everything else. */
export type ValuesOf<O extends Options> = {
  -readonly [K in keyof O]?: O[K] extends { read(text: string, before: never): infer V } ? V
    : O[K] extends { readonly value: string } ? string
    : boolean;
};

/** One argument. */
export interface Argument {
  readonly name: string;
  readonly help: string;
  /** The words that it is one of, for completions. */
  readonly words?: readonly string[];
  readonly isRequired?: boolean;
  /** This one and everything behind it. */
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
    help: "json: log an object a line; text: as the settings say (the default)",
    read: oneOf("text", "json"),
    variables: ["CELERY_LOG_FORMAT"],
  },
  quiet: { short: "-q", help: "say less", variables: ["CELERY_QUIET"] },
  loader: { value: "class", help: "accepted for Celery's sake; has no effect", variables: [] },
  skipChecks: { help: "accepted for Celery's sake; has no effect", variables: [] },
} as const satisfies Options;

/** The global options, read. */
export type GlobalValues = ValuesOf<typeof GLOBAL_OPTIONS>;

/** `--json`, of every command that prints. */
export const JSON_OPTION = { json: { short: "-j", help: "print JSON" } } as const satisfies Options;

/** What a running command is given. */
export interface CommandContext {
  readonly world: RealWorld;
  readonly globals: GlobalValues;
  /** The task module that is named: by `-A`, else by the environment; null where none is. */
  readonly module: string | null;
  /** Every command that the help lists, loaded for what there is to say of it; the program itself ("") comes first. */
  facts(): Promise<readonly CommandFacts[]>;
  /** The arguments; of a raw command every word behind its name. */
  readonly args: readonly string[];
  /**
   * The App of `-A` (or an App without tasks where none is given), with the command line's settings on top.
   * `settings` are more that win, `include` more task modules. Throws UsageError.
   */
  loadApp(more?: {
    readonly settings?: Readonly<Record<string, unknown>>;
    readonly include?: readonly string[];
  }): Promise<App>;
}

/** A command. Its name and its line in the help stand in table.ts, where they are read without loading it. */
export interface Command<Values = Record<string, unknown>> {
  /** Its own options; the global ones are added. */
  readonly options: Options;
  readonly arguments?: readonly Argument[];
  /** The usage line behind the command's name, where options and arguments do not give it. */
  readonly usage?: string;
  /** What its manual page says beside its options, as lines that are printed as they stand. */
  readonly text?: string;
  /** It reads its words itself, `--help` included. */
  readonly isRaw?: boolean;
  /** True if these options need no task module: it is not looked for, and its project not entered. */
  isModuleUnused?(options: Values): boolean;
  /** Checks what can be checked before anything is done. Throws UsageError. */
  validate?(args: readonly string[], options: Values): void;
  /** Does it; the exit status. Errors of base/errors.ts are told by the caller in one line. */
  run(context: CommandContext, options: Values & GlobalValues): Promise<number>;
}

/** A command with the types that its options give. */
export function command<O extends Options>(
  given: Command<ValuesOf<O>> & { readonly options: O },
): Command {
  return given;
}

/** An option's long spelling: `taskEvents` is `--task-events`. */
export function longName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Every option that a command takes, in the order of the help. */
export function allOptions(own: Options): Options {
  return {
    ...GLOBAL_OPTIONS,
    version: { help: "print the version and exit", variables: [] },
    ...own,
    help: { short: "-h", help: "print this help and exit", variables: [] },
  };
}

/** The variables that give an option: of those that are set, the first one holds. */
export function variablesOf(option: Option, key: string, command: string): readonly string[] {
  const upper = (text: string): string => text.replaceAll("-", "_").toUpperCase();
  return option.variables ?? [`CELERY_${upper(command)}_${upper(longName(key).slice(2))}`];
}

/** All that is to be said of a command, as data: help, completions and manual pages are made of it. */
export interface CommandFacts {
  readonly name: string;
  readonly summary: string;
  /** What stands behind its name on the command line. */
  readonly usage: string;
  readonly text?: string;
  readonly arguments: readonly Argument[];
  /** The global ones among them, in the order of the help. */
  readonly options: readonly OptionFacts[];
}

/** An option with its long spelling, the words that its value is one of, and its variables. */
export interface OptionFacts extends Option {
  readonly long: string;
  readonly words: readonly string[];
  readonly variables: readonly string[];
  /** Every command takes it. */
  readonly isGlobal: boolean;
}

/** The facts of a command of the table, loaded. */
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

/** "<n>", "[n...]": an argument as usage lines have it. */
function usageOf({ name, isRequired, isRest }: Argument): string {
  const text = `${name}${isRest ? "..." : ""}`;
  return isRequired ? `<${text}>` : `[${text}]`;
}
