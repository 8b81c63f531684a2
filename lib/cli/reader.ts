/**
 * Parses a command line by the tables of options, and adds options from environment variables.
 *
 * Options may come before, between and after the arguments. Flags may be combined, the last one with a value
 * (`-EBc2`). A value is the next word, whatever it looks like, or the text after `=`. Everything after `--`
 * is an argument. Source: celery 5.2.6 bin/celery.py (`auto_envvar_prefix`, the variables of the global
 * options); click 8.0 core.py Option.resolve_envvar_value.
 */

import { booleanOf, longName, nearest, quoted, UsageError } from "../base/mod.ts";
import { allOptions, type Command, type GlobalValues, type Option, variablesOf } from "./command.ts";
import { InvalidValue } from "./arguments.ts";

/**
 * An error in a command line. The message is printed with a hint to the help of `command` ("": the program).
 */
export class MisreadWords extends UsageError {
  readonly command: string;

  constructor(message: string, command: string) {
    super(message);
    this.command = command;
  }
}

/** A parsed command line. */
interface ReadWords {
  /** The options given, by name. */
  readonly options: Record<string, unknown> & GlobalValues;
  readonly args: readonly string[];
  /** True for --help; then nothing else is checked. */
  readonly isHelpAsked: boolean;
}

/** Looks up a variable. */
export type Env = (name: string) => string | null;

/** An option with its name. */
interface Named extends Option {
  readonly key: string;
}

/** Negative numbers are arguments, although they begin with a dash. */
const NEGATIVE_NUMBER = /^-(\d+|\d*\.\d+)([eE][+-]?\d+)?$/;

/**
 * Parses the words of a command, without its name; `env` provides options that the words do not give. Throws
 * MisreadWords, and UsageError for an invalid variable.
 */
export function readWords(
  name: string,
  { command, words, env = () => null }: {
    readonly command: Pick<Command, "options" | "arguments" | "validate">;
    readonly words: readonly string[];
    readonly env?: Env;
  },
): ReadWords {
  const named = Object.entries(allOptions(command.options)).map(([key, option]): Named => ({
    ...option,
    key,
  }));
  const known = spellingsOf(named);
  const options: Record<string, unknown> = {};
  const args: string[] = [];
  let unknown: string | null = null;
  for (let n = 0; n < words.length; n++) {
    const word = words[n]!;
    if (word === "--") {
      args.push(...words.slice(n + 1));
      break;
    }
    const given = word.length > 1 && word.startsWith("-") ? optionsIn(word, known) : [];
    if (given === null && !NEGATIVE_NUMBER.test(word)) unknown ??= word;
    else if (given === null || given.length === 0) args.push(word);
    for (const { option, text } of given ?? []) {
      if (option.value === undefined) {
        const refuse = (why: string) =>
          new MisreadWords(`Cannot use ${longName(option.key)} ${quoted(text ?? "")}: ${why}`, name);
        options[option.key] = text === null || isTrue(text, refuse);
        continue;
      }
      const value = text ?? words[++n];
      if (value === undefined) {
        throw new MisreadWords(`Missing value: ${longName(option.key)} <${option.value}>`, name);
      }
      options[option.key] = valueOf(option, value, {
        before: options[option.key],
        refuse: (why) =>
          new MisreadWords(`Cannot use ${longName(option.key)} ${quoted(value)}: ${why}`, name),
      });
    }
  }
  const read = { options, args, isHelpAsked: options["help"] === true };
  if (read.isHelpAsked) return read;
  if (unknown !== null) throw new MisreadWords(unknownOption(unknown, known), name);
  checkCount(name, command.arguments ?? [], args);
  addVariables(options, { named, command: name, env });
  command.validate?.(args, options);
  return read;
}

/** Returns the variable that sets an option and its text; null if none does. */
export function variableOf(
  option: Option,
  { key, command, env }: { readonly key: string; readonly command: string; readonly env: Env },
): { readonly variable: string; readonly text: string } | null {
  const variable = variablesOf(option, key, command).find((one) => env(one));
  return variable === undefined ? null : { variable, text: env(variable)! };
}

/** Returns the options by all their spellings. */
function spellingsOf<T extends Named>(options: readonly T[]): ReadonlyMap<string, T> {
  return new Map(
    options.flatMap((option) =>
      [option.short ?? [], longName(option.key), option.aliases ?? []].flat().map((one) =>
        [one, option] as const
      )
    ),
  );
}

/** Returns the options in one word, each with its value in that word; null if one of them is unknown. */
function optionsIn(
  word: string,
  known: ReadonlyMap<string, Named>,
): { option: Named; text: string | null }[] | null {
  const whole = known.get(word);
  if (whole) return [{ option: whole, text: null }];
  if (word.startsWith("--")) {
    const at = word.indexOf("=");
    const option = at < 0 ? undefined : known.get(word.slice(0, at));
    if (option === undefined || option.value === undefined && !option.isTruth) return null;
    return [{ option, text: word.slice(at + 1) }];
  }
  const first = known.get(word.slice(0, 2));
  if (first === undefined) return null;
  const rest = word.slice(2);
  if (first.value !== undefined) return [{ option: first, text: rest }];
  const others = optionsIn(`-${rest}`, known);
  return others && [{ option: first, text: null }, ...others];
}

function valueOf(
  option: Option,
  text: string,
  { before, refuse }: { readonly before?: unknown; refuse(why: string): Error },
): unknown {
  if (option.read === undefined) return text;
  try {
    return option.read(text, before);
  } catch (error) {
    if (error instanceof InvalidValue) throw refuse(error.message);
    throw error;
  }
}

/** Adds options from environment variables, if the words do not give them. */
function addVariables(
  options: Record<string, unknown>,
  { named, command, env }: { readonly named: readonly Named[]; readonly command: string; readonly env: Env },
): void {
  for (const option of named) {
    if (Object.hasOwn(options, option.key)) continue;
    const found = variableOf(option, { key: option.key, command, env });
    if (found === null) continue;
    const { variable, text } = found;
    const refuse = (why: string) =>
      new UsageError(`Cannot use the variable ${variable}=${quoted(text)}: ${why}`);
    if (option.value !== undefined) options[option.key] = valueOf(option, text, { refuse });
    else if (isTrue(text, refuse)) options[option.key] = true;
    else if (option.isTruth) options[option.key] = false;
  }
}

function isTrue(text: string, refuse: (why: string) => Error): boolean {
  const word = text.trim().toLowerCase();
  const value = booleanOf(word);
  if (value !== null) return value;
  const near = nearest(word, ["true", "false", "yes", "no", "on", "off"]);
  throw refuse(`it must be true or false${near ? `, such as "${near}"` : ""}`);
}

function unknownOption(word: string, known: ReadonlyMap<string, Named>): string {
  const [name, value] = [word.split("=", 1)[0]!, word.includes("=")];
  if (value && known.has(name)) return `Cannot use ${quoted(word)}: ${name} takes no value`;
  const near = name.startsWith("--")
    ? nearest(name, [...known.keys()].filter((one) => one.startsWith("--")))
    : null;
  return `Unknown option ${quoted(word)}${near ? `: did you mean "${near}"?` : ""}`;
}

function checkCount(name: string, wanted: NonNullable<Command["arguments"]>, args: readonly string[]): void {
  const missing = wanted[args.length];
  if (missing?.isRequired) throw new MisreadWords(`Missing argument: <${missing.name}>`, name);
  if (args.length <= wanted.length || wanted.at(-1)?.isRest) return;
  const excess = args.slice(wanted.length);
  throw new MisreadWords(`Too many arguments: ${excess.map(quoted).join(", ")}`, name);
}
