/**
 * The source code as the tidy tests see it: each file's text, its declarations, and what it imports from
 * which file. It is read with patterns, which the formatter's layout makes possible; nothing is compiled.
 */

import { filePath } from "../../lib/base/mod.ts";

/** The repository. */
export const ROOT = filePath(new URL("../..", import.meta.url));

/** An import or forwarding export of a file. */
export interface Import {
  target: string;
  isType: boolean;
  /** By `import()`. */
  isLazy: boolean;
  /** The entry of another program or isolate; it implies no order. */
  isEntry: boolean;
}

/** A source file. */
export interface Source {
  path: string;
  room: string;
  text: string;
  /** The text without comments and string contents. */
  code: string;
  imports: readonly Import[];
  /** Names that the file declares and exports, with the kind of the declaration. */
  declared: ReadonlyMap<string, string>;
  /** Names that it takes from other files, each with the file it names. */
  takes: readonly (readonly [target: string, name: string])[];
  /** Names that it forwards: the exported name, the file it comes from, its name there. */
  forwards: readonly (readonly [as: string, target: string, name: string])[];
  /** Files whose exports it forwards all. */
  stars: readonly string[];
}

/** A function and its number of lines. */
export interface Measured {
  line: number;
  head: string;
  lines: number;
}

/** Returns every path below a folder, sorted. */
export function walk(folder: string): string[] {
  return [...Deno.readDirSync(`${ROOT}${folder}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? walk(`${folder}/${name}`) : [`${folder}/${name}`]
  ).sort();
}

/** Reads the TypeScript files below some folders. */
export function readAll(folders: readonly string[]): Source[] {
  return folders.flatMap((folder) => /\.tsx?$/.test(folder) ? [folder] : walk(folder))
    .filter((path) => /\.tsx?$/.test(path)).map(read);
}

/** Returns the room of lib/ that a path is in, or "". */
export function roomOf(path: string): string {
  const parts = path.split("/");
  return parts[0] === "lib" && parts.length > 2 ? parts[1]! : "";
}

function read(path: string): Source {
  const text = Deno.readTextFileSync(`${ROOT}${path}`);
  const imports: Import[] = [];
  const takes: [string, string][] = [];
  const forwards: [string, string, string][] = [];
  const stars: string[] = [];
  const targetOf = (specifier: string) =>
    specifier === "lovage" ? "lib/mod.ts" : new URL(specifier, `file:///${path}`).pathname.slice(1);
  const isOurs = (specifier: string) => /^\.[^"']*\.tsx?$/.test(specifier) || specifier === "lovage";
  const statement = /(?:^|\n)\s*(import|export)\s+(type\s+)?(?:([^;"']*?)\s*from\s*)?["']([^"']+)["']/g;
  for (const [, verb, type, names = "", specifier] of text.matchAll(statement)) {
    if (!isOurs(specifier!)) continue;
    const target = targetOf(specifier!);
    imports.push({ target, isType: type !== undefined, isLazy: false, isEntry: false });
    const namespace = /^\*(?:\s+as\s+(\w+))?$/.exec(names);
    if (namespace !== null && namespace[1] === undefined) stars.push(target);
    if (namespace?.[1] !== undefined) {
      for (const [, name] of text.matchAll(new RegExp(`\\b${namespace[1]}\\.(\\w+)`, "g"))) {
        takes.push([target, name!]);
      }
    }
    for (const part of (/\{([\s\S]*)\}/.exec(names)?.[1] ?? "").split(",")) {
      const [name, as] = part.trim().replace(/^type\s+/, "").split(/\s+as\s+/);
      if (name === "") continue;
      if (verb === "export") forwards.push([as ?? name!, target, name!]);
      else takes.push([target, name!]);
    }
  }
  const lazily = /\bimport\(\s*["']([^"']+)["']\s*\)|new URL\(\s*["'](\.[^"']+)["']/g;
  for (const [, imported, entry] of text.matchAll(lazily)) {
    const specifier = imported ?? entry!;
    if (!isOurs(specifier)) continue;
    imports.push({
      target: targetOf(specifier),
      isType: false,
      isLazy: imported !== undefined,
      isEntry: entry !== undefined,
    });
    for (const name of new Set(text.match(/\b\w+\b/g))) takes.push([targetOf(specifier), name]);
  }
  return {
    path,
    room: roomOf(path),
    text,
    code: codeOf(text),
    imports,
    takes,
    forwards,
    stars,
    declared: declaredIn(text),
  };
}

function declaredIn(text: string): Map<string, string> {
  const declaration =
    /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(function\*?|class|interface|type|const|let|enum) (\w+)/gm;
  return new Map([...text.matchAll(declaration)].map(([, kind, name]) => [name!, kind!]));
}

/** A comment, a text, a regular expression, a bracket, or what lies between them. */
const TOKEN = new RegExp(
  [
    /\/\*[^]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/,
    /(?<=(?:[(,=:[!&|?{;]|=>|\breturn)\s*)\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//,
    /[`{}]|[^"'`{}/]+|[^]/,
  ].map(({ source }) => source).join("|"),
  "y",
);
/** The text of a template up to its end or its next expression. */
const TEMPLATE = /(?:[^`\\$]|\\[^]|\$(?!\{))*(`|\$\{)?/y;

/** Blanks comments and the contents of texts and regular expressions; lines and expressions in templates stay. */
function codeOf(text: string): string {
  const blank = (part: string) => part.replace(/[^\n]/g, " ");
  let code = "";
  /** For each template that is open: how many brackets its expression has open. */
  const open: number[] = [];
  for (let at = 0; at < text.length;) {
    TOKEN.lastIndex = at;
    const [token] = TOKEN.exec(text)!;
    at += token.length;
    if (token === "{" && open.length > 0) open[open.length - 1]!++;
    const isOver = token === "}" && open.length > 0 && open[open.length - 1]!-- === 0;
    if (isOver) open.pop();
    code += isOver || /^["'`]|^\/./.test(token) ? blank(token) : token;
    if (!isOver && token !== "`") continue;
    TEMPLATE.lastIndex = at;
    const [part, end] = TEMPLATE.exec(text)!;
    at += part.length;
    code += blank(part);
    if (end === "${") open.push(0);
  }
  return code;
}

/**
 * Returns the functions of a file: from the line that opens the body to the line that closes it at the same
 * indentation.
 */
export function functionsOf({ code }: Source): Measured[] {
  const lines = code.split("\n");
  return lines.flatMap((text, index) => {
    const opens = /\bfunction\b.*\{\s*$|=>\s*\{\s*$|\)(: .*)? \{\s*$/.test(text);
    if (!opens || /^\s*(\} )?(if|for|while|switch|catch|else|do)\b/.test(text)) return [];
    const indent = /^\s*/.exec(text)![0];
    const end = lines.findIndex((line, at) => at > index && line.startsWith(`${indent}}`));
    return [{ line: index + 1, head: text.trim(), lines: end - index + 1 }];
  });
}

/** Returns the member of a class or interface, else the declaration, that contains a line. */
export function memberAt({ code }: Source, line: number): string {
  const lines = code.split("\n").slice(0, line);
  const words =
    "(?:export|default|declare|abstract|static|async|get|set|readonly|override|function|const|let|type|class|interface)";
  const start = lines.findLastIndex((text) => /^[\w@]/.test(text));
  const declaration = new RegExp(`^(?:${words} )*(\\w+)`).exec(lines[start] ?? "")?.[1] ?? "";
  if (!/\b(class|interface)\b/.test(lines[start] ?? "")) return declaration;
  const member = new RegExp(`^ {2}(?:${words} )*(#?\\w+|\\[[\\w.]+\\])`);
  const inside = lines.slice(start + 1).findLast((text) => member.test(text));
  return inside === undefined ? declaration : member.exec(inside)![1]!;
}

/** Returns groups of files that import each other in a circle, types counted. */
export function circles(sources: readonly Source[]): string[][] {
  const targets = new Map(sources.map(({ path, imports }) => [
    path,
    imports.filter(({ isEntry }) => !isEntry).map(({ target }) => target),
  ]));
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const visit = (path: string) => {
    order.set(path, order.size);
    low.set(path, order.get(path)!);
    open.push(path);
    for (const target of targets.get(path) ?? []) {
      if (!targets.has(target)) continue;
      if (!order.has(target)) visit(target);
      if (open.includes(target)) low.set(path, Math.min(low.get(path)!, low.get(target)!));
    }
    if (low.get(path) !== order.get(path)) return;
    const group = open.splice(open.indexOf(path));
    if (group.length > 1) found.push(group.sort());
  };
  for (const { path } of sources) if (!order.has(path)) visit(path);
  return found;
}

/** Finds which files use a declaration, through any number of doors. */
export class Users {
  readonly #byPath: ReadonlyMap<string, Source>;
  /** The files that take a declaration, by "file name". */
  readonly #users = new Map<string, Set<string>>();

  constructor(sources: readonly Source[], publicDoors: readonly string[]) {
    this.#byPath = new Map(sources.map((source) => [source.path, source]));
    for (const { path, takes, forwards } of sources) {
      for (const [target, name] of takes) this.#note(target, name, path);
      if (publicDoors.includes(path)) {
        for (const [, target, name] of forwards) this.#note(target, name, path);
      }
    }
  }

  /** Returns the files that take what a file declares or forwards under a name. */
  of(path: string, name: string): string[] {
    return [...this.#users.get(this.#find(path, name) ?? "") ?? []];
  }

  #note(target: string, name: string, user: string): void {
    const place = this.#find(target, name);
    if (place === null) return;
    const users = this.#users.get(place);
    if (users === undefined) this.#users.set(place, new Set([user]));
    else users.add(user);
  }

  #find(path: string, name: string): string | null {
    const source = this.#byPath.get(path);
    if (source === undefined) return null;
    if (source.declared.has(name)) return `${path} ${name}`;
    const forward = source.forwards.find(([as]) => as === name);
    if (forward !== undefined) return this.#find(forward[1], forward[2]);
    for (const star of source.stars) {
      const place = this.#find(star, name);
      if (place !== null) return place;
    }
    return null;
  }
}
