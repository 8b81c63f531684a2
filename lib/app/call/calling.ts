/**
 * Python's calling convention for JavaScript functions: binds args and kwargs to positional parameters.
 * Arguments that do not fit throw a TypeError with Python's wording.
 *
 * Parameter names are read once per task from the function's source text, or given as `params`. Source:
 * CPython's argument errors; celery 5.2.6 utils/functional.py head_from_fun.
 */

/** The parameters of a function. */
export interface Parameters {
  /** Names in order; "" for a destructuring pattern, which can only be filled by position. */
  readonly names: readonly string[];
  /** Number of leading parameters without a default. */
  readonly required: number;
  /** True if the function has a rest parameter. */
  readonly hasRest: boolean;
  /** True if the last parameter is a destructured object, which takes the remaining kwargs. */
  readonly takesObject: boolean;
  /**
   * Members that this object must have if the call passes no object; null if it may be left out, or there is
   * none.
   */
  readonly objectNeeds: readonly string[] | null;
  /**
   * True if kwargs without a parameter are left in the request: a bound task with a rest parameter reads them
   * from `self.request.kwargs`.
   */
  readonly leavesKwargs: boolean;
}

type AnyFunction = (...args: never[]) => unknown;

/**
 * Returns the parameters of `fn`. The first `skip` ones are left out (the bound context). `params` gives
 * their names if the function does not (`(...args) => …`); defaults still come from the function. A native
 * function, whose source is hidden, takes any number of positional arguments and no names.
 */
export function parametersOf(
  fn: AnyFunction,
  options: { skip?: number; params?: readonly string[] | null | undefined } = {},
): Parameters {
  const skip = options.skip ?? 0;
  const found = parseParameters(Function.prototype.toString.call(fn));
  const parts = found === null ? null : found.slice(skip);
  const isBound = skip > 0;
  if (options.params) return namedParameters(options.params, parts, isBound);
  if (parts === null) {
    return {
      names: [],
      required: 0,
      hasRest: true,
      takesObject: false,
      objectNeeds: null,
      leavesKwargs: isBound,
    };
  }
  const rest = parts.at(-1)?.startsWith("...") ?? false;
  const plain = rest ? parts.slice(0, -1) : parts;
  const last = plain.at(-1);
  const takesObject = !rest && last !== undefined && last.startsWith("{");
  return {
    names: plain.map(nameOf),
    required: requiredOf(plain),
    hasRest: rest,
    takesObject,
    objectNeeds: takesObject && !hasDefault(last) ? neededIn(last) : null,
    leavesKwargs: rest && isBound,
  };
}

function namedParameters(
  params: readonly string[],
  parts: readonly string[] | null,
  isBound: boolean,
): Parameters {
  const plain = (parts ?? []).filter((part) => !part.startsWith("..."));
  const hasRest = (parts === null || plain.length < parts.length) && params.length <= plain.length;
  return {
    names: [...params],
    required: Math.min(requiredOf(plain), params.length),
    hasRest,
    takesObject: false,
    objectNeeds: null,
    leavesKwargs: hasRest && isBound,
  };
}

function requiredOf(parts: readonly string[]): number {
  let count = 0;
  for (const part of parts) {
    if (hasDefault(part) || (part.startsWith("{") && part === parts.at(-1))) break;
    count++;
  }
  return count;
}

function nameOf(part: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/u.exec(part)?.[0] ?? "";
}

function hasDefault(part: string): boolean {
  if (part.startsWith("{") || part.startsWith("[")) {
    return /^\s*=/.test(part.slice(endOfBracket(part, 0) + 1));
  }
  return part.slice(nameOf(part).length).trimStart().startsWith("=");
}

/** Returns the names in a destructured object that have no default. */
function neededIn(pattern: string): string[] {
  return partsIn(pattern, 0).filter((part) => {
    const name = nameOf(part);
    const after = part.slice(name.length).trimStart();
    return name !== "" &&
      !(after.startsWith(":") ? hasDefault(after.slice(1).trimStart()) : after.startsWith("="));
  }).map(nameOf);
}

/**
 * Returns the arguments in the order of the parameters, or `args` itself if there are no kwargs and the count
 * fits. `label` names the task in errors. Throws TypeError. Data lane: per message.
 */
export function bindArguments(
  parameters: Parameters,
  args: unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  label: string,
): unknown[] {
  const count = parameters.names.length;
  let hasKwargs = false;
  for (const _ in kwargs) {
    hasKwargs = true;
    break;
  }
  if (
    !hasKwargs && args.length >= parameters.required && (args.length <= count || parameters.hasRest) &&
    (parameters.objectNeeds === null || args.length === count)
  ) return args;
  return bindSlowly(parameters, args, kwargs, label);
}

function bindSlowly(
  parameters: Parameters,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  label: string,
): unknown[] {
  const { names, required, hasRest, takesObject, objectNeeds, leavesKwargs } = parameters;
  if (args.length > names.length && !hasRest) throw tooMany(parameters, args.length, label);
  const bound = [...args];
  const given = new Set<number>();
  const byName = takesObject ? names.length - 1 : names.length;
  let left: Record<string, unknown> | null = null;
  for (const name of Object.keys(kwargs)) {
    const at = name === "" ? -1 : names.indexOf(name);
    if (at < 0 || at >= byName) {
      if (leavesKwargs) continue;
      if (!takesObject || args.length >= names.length) {
        throw new TypeError(`${label}() got an unexpected keyword argument '${name}'`);
      }
      left ??= {};
      left[name] = kwargs[name];
      continue;
    }
    if (at < args.length) throw new TypeError(`${label}() got multiple values for argument '${name}'`);
    while (bound.length < at) bound.push(undefined);
    bound[at] = kwargs[name];
    given.add(at);
  }
  const missing: string[] = [];
  for (let at = args.length; at < required; at++) if (!given.has(at)) missing.push(names[at] || `#${at + 1}`);
  if (missing.length > 0) throw tooFew(missing, "positional", label);
  if (takesObject && args.length < names.length && left !== null) {
    while (bound.length < names.length - 1) bound.push(undefined);
    bound[names.length - 1] = left;
  } else if (objectNeeds !== null && bound.length < names.length) {
    // These are Python's keyword-only arguments. An object that was passed checks its own members.
    if (objectNeeds.length > 0) throw tooFew(objectNeeds, "keyword-only", label);
    while (bound.length < names.length - 1) bound.push(undefined);
    bound.push({});
  }
  return bound;
}

function tooMany(parameters: Parameters, given: number, label: string): TypeError {
  const most = parameters.names.length;
  const least = parameters.takesObject ? Math.min(parameters.required, most) : parameters.required;
  const takes = least < most ? `from ${least} to ${most}` : `${most}`;
  const noun = most === 1 && least === most ? "argument" : "arguments";
  return new TypeError(
    `${label}() takes ${takes} positional ${noun} but ${given} ${given === 1 ? "was" : "were"} given`,
  );
}

function tooFew(missing: readonly string[], kind: string, label: string): TypeError {
  const quoted = missing.map((name) => `'${name}'`);
  const list = quoted.length < 3
    ? quoted.join(" and ")
    : `${quoted.slice(0, -1).join(", ")}, and ${quoted.at(-1)}`;
  const noun = missing.length === 1 ? "argument" : "arguments";
  return new TypeError(`${label}() missing ${missing.length} required ${kind} ${noun}: ${list}`);
}

/** Returns the source texts of a function's parameters without comments; null if the source shows none. */
export function parseParameters(source: string): string[] | null {
  if (/\{\s*\[native code\]\s*\}\s*$/.test(source) || source.startsWith("class")) return null;
  const text = withoutComments(source);
  const single = /^(?:async\s+)?([\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*)\s*=>/u.exec(text);
  if (single) return [single[1]!];
  const open = text.indexOf("(");
  if (open < 0) return null;
  return partsIn(text, open);
}

/** Splits the content of a bracket at its commas. */
function partsIn(text: string, open: number): string[] {
  const close = endOfBracket(text, open);
  const parts: string[] = [];
  let from = open + 1;
  let at = from;
  while (at < close) {
    const char = text[at]!;
    if (char === ",") {
      parts.push(text.slice(from, at).trim());
      from = at + 1;
      at++;
    } else at = skipToken(text, at) + 1;
  }
  const last = text.slice(from, close).trim();
  if (last !== "") parts.push(last);
  return parts;
}

/**
 * Returns the index of the last character of the token at `at`: a bracket with its content, a string, or one
 * character.
 */
function skipToken(text: string, at: number): number {
  const char = text[at]!;
  if (char === "(" || char === "[" || char === "{") return endOfBracket(text, at);
  if (char === '"' || char === "'" || char === "`") return endOfQuote(text, at);
  if (char === "/" && /[=(,:[!&|?{};]\s*$/.test(text.slice(0, at))) return endOfRegex(text, at);
  return at;
}

function endOfBracket(text: string, open: number): number {
  let at = open + 1;
  while (at < text.length) {
    const char = text[at]!;
    if (char === ")" || char === "]" || char === "}") return at;
    at = skipToken(text, at) + 1;
  }
  return text.length;
}

function endOfQuote(text: string, open: number): number {
  const quote = text[open]!;
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === quote) return at;
    else if (quote === "`" && text[at] === "$" && text[at + 1] === "{") at = endOfBracket(text, at + 1);
  }
  return text.length;
}

function endOfRegex(text: string, open: number): number {
  let inClass = false;
  for (let at = open + 1; at < text.length; at++) {
    const char = text[at]!;
    if (char === "\\") at++;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "/" && !inClass) return at;
  }
  return text.length;
}

/**
 * Returns the source with each block comment replaced by a space and line comments removed, at least up to
 * the body.
 */
function withoutComments(source: string): string {
  let text = "";
  let at = 0;
  while (at < source.length) {
    const two = source.slice(at, at + 2);
    if (two === "//") {
      const end = source.indexOf("\n", at);
      at = end < 0 ? source.length : end;
    } else if (two === "/*") {
      const end = source.indexOf("*/", at + 2);
      at = end < 0 ? source.length : end + 2;
      text += " ";
    } else if (source[at] === '"' || source[at] === "'" || source[at] === "`") {
      const end = endOfQuote(source, at);
      text += source.slice(at, end + 1);
      at = end + 1;
    } else {
      text += source[at];
      at++;
    }
    // Only the parameters are needed, so a long body is not processed to its end.
    if (text.length > 20_000) break;
  }
  return text.trimStart();
}
