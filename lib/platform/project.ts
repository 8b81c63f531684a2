/**
 * A project's own dependencies: `deno.json`, `package.json` and `node_modules` beside the user's module or above it.
 *
 * The runtime takes one configuration at its start, and this program's own says what "lovage" is. So where a project
 * has something to say, both are joined in files of ours, and this program starts again under them (in place: the
 * same process). The imports are in a file of their own: what it says wins over every deno.json that the runtime finds
 * beside a module, which may have "lovage" mean some types. Slots and daemons start under them at once, and so does
 * the packed file the next time (.ci/dist_stub.sh). Where there is nothing, nothing happens.
 *
 * As in Deno and Node: the nearest `deno.json` or `deno.jsonc` and the workspace it is a member of; the nearest
 * `package.json`; `node_modules` at every level, which the runtime looks through itself once it is told to. What lies
 * above a folder that everybody may write to is somebody else's: the search ends there.
 */

import { absolutePath, errorText, filePath, fileUrl, UsageError } from "../base/mod.ts";
import { toJson } from "../wire/mod.ts";
import {
  currentProject,
  importsOf,
  keepProject,
  markOf,
  OWN_CONFIG,
  projectFile,
  type ProjectFiles,
} from "./configuration.ts";
import { readFile, removeFile, replaceFile } from "./files.ts";
import { makePrivateFolder } from "./private_file.ts";

const CONFIGS = ["deno.json", "deno.jsonc"];
const NAMES = new Set([...CONFIGS, "package.json", "node_modules"]);
/** What of the compiler's options changes how modules run. */
const COMPILER_OPTIONS = [
  "jsx",
  "jsxFactory",
  "jsxFragmentFactory",
  "jsxImportSource",
  "experimentalDecorators",
  "emitDecoratorMetadata",
];
/** Ranges of a package.json that name no version of a registry. */
const NOT_A_VERSION = /^(file|link|portal|workspace|catalog|git|github|https?)\b.*:|\//;

type Json = Record<string, unknown>;
type Imports = Record<string, string>;

/** The configurations of a project, by path. */
interface Found {
  readonly config: string | null;
  /** The configuration above it whose workspace it is a member of. */
  readonly workspace: string | null;
  readonly manifest: string | null;
  readonly hasModules: boolean;
}

/**
 * Has this program run under the configuration of the project that the module `spec` (as `-A` takes it) belongs to.
 * Calls `restart` where that is another than now; returns where it is this one. Throws UsageError where a file of the
 * project cannot be read, and OperatingError where ours cannot be written.
 */
export function enterProject(
  spec: string,
  { cwd, restart }: { cwd: string; restart: (config: string | null) => never },
): void {
  // A compiled program has its configuration built in.
  if (Deno.build.standalone) return;
  const folder = folderOf(spec, cwd);
  const current = currentProject();
  const found = find(folder);
  if (found === null && current === null) return;
  if (current !== null && found !== null) {
    const files = filesFor(found, current, () => moduleText(spec, cwd));
    if (files !== null && isWritten(files)) return keepProject(current, files);
  }
  const path = projectFile(folder);
  const files = found === null ? null : filesFor(found, path, () => moduleText(spec, cwd));
  if (files === null) {
    if (current === null) return;
    if (current === path) removeFile(path);
    return restart(null);
  }
  if (isWritten(files)) return restart(path);
  try {
    write(files);
  } catch {
    // All may be read-only but the temporary folder. Made anew there at each start: nobody else can have made it.
    const temporary = `${Deno.makeTempDirSync({ prefix: "lovage-project-" })}/deno.json`;
    write(filesFor(found!, temporary, () => moduleText(spec, cwd))!);
    return restart(temporary);
  }
  restart(path);
}

/** Our files for a project, their configuration at `path`; null where the project changes nothing. */
function filesFor(found: Found, path: string, moduleText: () => string): ProjectFiles | null {
  const config = joined(found, path, moduleText);
  if (config === null) return null;
  const { imports, scopes, ...options } = config;
  const lock = lockOf(found);
  return {
    [path]: toJson(options),
    [importsOf(path)]: toJson({ imports, scopes }),
    // What the project's own said. The runtime adds what it finds to a copy, since the own one is the project's.
    ...(lock === null ? {} : { [`${path}.lock-source`]: lock }),
  };
}

function isWritten(files: ProjectFiles): boolean {
  return Object.entries(files).every(([file, text]) => readFile(file) === text);
}

function write(files: ProjectFiles): void {
  for (const [file, text] of Object.entries(files)) {
    makePrivateFolder(parentOf(file));
    if (file.endsWith(".lock-source")) replaceFile(file.replace(/-source$/, ""), text, 0o600);
    replaceFile(file, text, 0o600);
  }
}

/** The folder of the module that `spec` names; of one that is not there, the nearest folder on the way to it. */
function folderOf(spec: string, cwd: string): string {
  const path = absolutePath(pathOf(spec), cwd);
  const kind = kindOf(path);
  if (kind === "folder") return path;
  let at = kind === "file" ? parentOf(path) : path.replace(/[^/]+$/, (name) => name.replaceAll(".", "/"));
  while (at !== "/" && kindOf(at) !== "folder") at = parentOf(at);
  return at;
}

function pathOf(spec: string): string {
  const path = spec.replace(/^(.+):[A-Za-z_$][\w$]*$/, "$1");
  try {
    return path.startsWith("file:") ? filePath(path) : path;
  } catch {
    return path; // whoever loads it says what is wrong
  }
}

function moduleText(spec: string, cwd: string): string {
  return readFile(absolutePath(pathOf(spec), cwd)) ?? "";
}

/** Looks from a folder upwards; null where there is nothing. */
function find(folder: string): Found | null {
  let config: string | null = null;
  let workspace: string | null = null;
  let manifest: string | null = null;
  let hasModules = false;
  for (let at = folder;; at = parentOf(at)) {
    if (at !== folder && isOpenToAll(at)) break;
    const below = at === "/" ? "" : at;
    const names = namesIn(at);
    for (const name of CONFIGS) {
      const path = `${below}/${name}`;
      if (!names.has(name) || kindOf(path) !== "file") continue;
      // Our own source: its configuration is the one we run under.
      if (path === OWN_CONFIG) return null;
      if (config === null) config = path;
      else if (workspace === null && hasMember(path, config)) workspace = path;
      break;
    }
    if (names.has("package.json")) manifest ??= `${below}/package.json`;
    hasModules ||= names.has("node_modules");
    if (at === "/") break;
  }
  const isNothing = config === null && manifest === null && !hasModules;
  return isNothing ? null : { config, workspace, manifest, hasModules };
}

/** Our configuration and the project's as one; null where the project's changes nothing. */
function joined(found: Found, path: string, moduleText: () => string): Json | null {
  const own = readJson(OWN_CONFIG);
  const ownImports = resolved(own.imports, OWN_CONFIG);
  const { imports, scopes, options } = theirs(found);
  const manifest = found.manifest === null ? {} : readJson(found.manifest);
  // Modules of ours that the runtime fetches are in its cache, and not in node_modules.
  const mayBeManual = !Object.values(ownImports).some((target) => target.startsWith("npm:"));
  const isManual = mayBeManual && usesModules(found, { imports, options, manifest, moduleText });
  if (!isManual) {
    for (const [name, range] of Object.entries(dependenciesOf(manifest))) imports[name] ??= range;
  }
  delete imports.lovage;
  for (const scope of Object.values(scopes)) delete scope.lovage;
  const compilerOptions = picked(record(options.compilerOptions), COMPILER_OPTIONS);
  const unstable = [...new Set([...list(own.unstable), ...list(options.unstable)])];
  const isSame = !isManual &&
    [imports, scopes, compilerOptions].every((one) => Object.keys(one).length === 0) &&
    unstable.length === list(own.unstable).length;
  if (isSame) return null;
  const ours = ownImports.lovage!;
  if (Object.keys(ownImports).length > 1) scopes[fileUrl(`${parentOf(OWN_CONFIG)}/`)] = ownImports;
  return {
    nodeModulesDir: isManual ? "manual" : "none",
    lock: !isManual && lockOf(found) !== null ? { path: `${path}.lock`, frozen: false } : false,
    unstable,
    ...(Object.keys(compilerOptions).length > 0 ? { compilerOptions } : {}),
    imports: { ...withDoors(imports), lovage: ours, ...markOf(path) },
    scopes,
  };
}

/** Whether packages come from node_modules: as the project says, or as Deno and Node would take it. */
function usesModules(
  { config, manifest: manifestPath, hasModules }: Found,
  { imports, options, manifest, moduleText }: {
    imports: Imports;
    options: Json;
    manifest: Json;
    moduleText: () => string;
  },
): boolean {
  const given = options.nodeModulesDir;
  if (given === "none" || given === false) return false;
  if (given !== undefined) return hasModules;
  if (manifestPath !== null) return hasModules || manifest.imports !== undefined;
  if (!hasModules) return false;
  // Without a package.json the packages that are named by version are those of the registry.
  const fromRegistry = /["']npm:/;
  return !Object.values(imports).some((target) => target.startsWith("npm:")) &&
    (config !== null || !fromRegistry.test(moduleText()));
}

/** The imports, scopes and options that a project's configurations give; the nearest wins. */
function theirs(
  { config, workspace }: Found,
): { imports: Imports; scopes: Record<string, Imports>; options: Json } {
  const imports: Imports = {};
  const scopes: Record<string, Imports> = {};
  const options: Json = {};
  for (const path of [workspace, config]) {
    if (path === null) continue;
    const json = readJson(path);
    if (path === workspace) Object.assign(imports, membersOf(json, path));
    // A map in a file of its own counts from there, and only where the configuration has none.
    const isApart = json.imports === undefined && json.scopes === undefined &&
      typeof json.importMap === "string" &&
      !/^https?:/.test(json.importMap);
    const mapPath = isApart ? absolutePath(json.importMap as string, parentOf(path)) : path;
    const map = isApart ? readJson(mapPath) : json;
    Object.assign(imports, resolved(map.imports, mapPath));
    for (const [prefix, targets] of Object.entries(record(map.scopes))) {
      scopes[resolvedOne(prefix, mapPath)] = resolved(targets, mapPath);
    }
    Object.assign(options, json);
  }
  return { imports, scopes, options };
}

/** True where the workspace of a configuration names the folder of `member`. */
function hasMember(path: string, member: string): boolean {
  return memberFolders(readJson(path), path).includes(parentOf(member));
}

function memberFolders(json: Json, path: string): string[] {
  const { workspace } = json;
  const members = list(Array.isArray(workspace) ? workspace : record(workspace).members);
  return members.flatMap((member) => {
    const folder = absolutePath(member.replace(/\/\*$/, ""), parentOf(path));
    return member.endsWith("/*") ? foldersIn(folder) : [folder];
  });
}

/** The members of a workspace by their names, as their `exports` have it. */
function membersOf(json: Json, path: string): Imports {
  const imports: Imports = {};
  for (const folder of memberFolders(json, path)) {
    const config = CONFIGS.map((name) => `${folder}/${name}`).find((one) => kindOf(one) === "file");
    if (config === undefined) continue;
    const { name, exports } = readJson(config);
    if (typeof name !== "string") continue;
    const doors = typeof exports === "string" ? { ".": exports } : record(exports);
    for (const [door, target] of Object.entries(doors)) {
      if (typeof target === "string") imports[name + door.slice(1)] = resolvedOne(target, config);
    }
  }
  return imports;
}

/** The packages that a package.json asks the registry for. */
function dependenciesOf(manifest: Json): Imports {
  const packages: Imports = {};
  for (const kind of ["devDependencies", "optionalDependencies", "dependencies"]) {
    for (const [name, range] of Object.entries(record(manifest[kind]))) {
      if (typeof range !== "string") continue;
      if (range.startsWith("npm:")) packages[name] = range;
      else if (!NOT_A_VERSION.test(range)) packages[name] = `npm:${name}@${range || "*"}`;
    }
  }
  return packages;
}

/** The text of the project's lock file; null where it has none. */
function lockOf({ config, workspace, manifest }: Found): string | null {
  const beside = workspace ?? config ?? manifest;
  return beside === null ? null : readFile(`${parentOf(beside)}/deno.lock`);
}

/** An import map's part with its relative paths made URLs, from the file that it stands in. */
function resolved(given: unknown, path: string): Imports {
  const imports: Imports = {};
  for (const [name, target] of Object.entries(record(given))) {
    if (typeof target === "string") imports[resolvedOne(name, path)] = resolvedOne(target, path);
  }
  return imports;
}

/** What deno.json understands by a package's name, and an import map does not: what lies below it too. */
function withDoors(imports: Imports): Imports {
  const all: Imports = {};
  for (const [name, target] of Object.entries(imports)) {
    const match = /^(npm|jsr):\/?(.*[^/])$/.exec(target);
    if (match !== null && !name.endsWith("/")) all[`${name}/`] = `${match[1]}:/${match[2]}/`;
  }
  return { ...all, ...imports };
}

function resolvedOne(text: string, path: string): string {
  return /^\.{0,2}\//.test(text) ? new URL(text, fileUrl(path)).href : text;
}

function readJson(path: string): Json {
  const text = readFile(path);
  if (text === null) throw new UsageError(`Cannot read "${path}"`);
  try {
    const plain = text.replace(/^\uFEFF/, "")
      .replace(/"(?:\\.|[^"\\])*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (part) => part.startsWith("/") ? " " : part)
      .replace(/"(?:\\.|[^"\\])*"|,(?=\s*[}\]])/g, (part) => part === "," ? "" : part);
    return record(JSON.parse(plain));
  } catch (error) {
    throw new UsageError(`Cannot read "${path}": ${errorText(error)}`, { cause: error });
  }
}

function record(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Json : {};
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function picked(from: Json, names: readonly string[]): Json {
  return Object.fromEntries(
    names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]),
  );
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function kindOf(path: string): "file" | "folder" | null {
  try {
    return Deno.statSync(path).isDirectory ? "folder" : "file";
  } catch {
    return null;
  }
}

/** Which of the names that matter a folder has: one look, where a question for each that is missing takes longer. */
function namesIn(folder: string): Set<string> {
  const names = new Set<string>();
  try {
    for (const { name } of Deno.readDirSync(folder)) if (NAMES.has(name)) names.add(name);
  } catch {
    // Who may not look into it has no project there.
  }
  return names;
}

function isOpenToAll(folder: string): boolean {
  try {
    return ((Deno.statSync(folder).mode ?? 0) & 0o002) !== 0;
  } catch {
    return true;
  }
}

function foldersIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory).map(({ name }) =>
      `${folder}/${name}`
    );
  } catch {
    return [];
  }
}
