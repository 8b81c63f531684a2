/**
 * A project's own dependencies: `deno.json`, `package.json` and `node_modules` in the folder of the user's
 * module or above it.
 *
 * The runtime reads one configuration at its start, and this program's own maps "lovage" to the library. So
 * if a project has dependencies, both configurations are joined in generated files, and this program starts
 * again under them, in the same process. The imports are in a file of their own, because an import map
 * overrides every deno.json that the runtime finds next to a module, which may map "lovage" to mere types.
 * Slots and daemons start under the generated files at once, and so does the packed file at its next start
 * (.ci/dist_stub.sh). Without such a project nothing happens.
 *
 * As in Deno and Node, the project consists of the nearest `deno.json` or `deno.jsonc` and the workspace to
 * which it belongs, the nearest `package.json`, and `node_modules` at every level, which the runtime searches
 * itself if it is configured to. The search ends below a parent folder that everybody may write to, since
 * files there may be somebody else's.
 */

import { absolutePath, errorText, filePath, fileUrl, isRecord, UsageError } from "../base/mod.ts";
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
/** The compiler options that change how modules run. */
const COMPILER_OPTIONS = [
  "jsx",
  "jsxFactory",
  "jsxFragmentFactory",
  "jsxImportSource",
  "experimentalDecorators",
  "emitDecoratorMetadata",
];
/** Ranges in a package.json that do not name a version in a registry. */
const NOT_A_VERSION = /^(file|link|portal|workspace|catalog|git|github|https?)\b.*:|\//;

type Json = Record<string, unknown>;
type Imports = Record<string, string>;

/** The configuration files of a project, by path. */
interface Found {
  readonly config: string | null;
  /** The configuration above it to whose workspace it belongs. */
  readonly workspace: string | null;
  readonly manifest: string | null;
  readonly hasModules: boolean;
}

/**
 * Makes sure that this program runs under the configuration of the project to which the module `spec` (as
 * given to `-A`) belongs: returns if it does, else calls `restart`. Throws UsageError if a file of the
 * project cannot be read, OperatingError if the generated files cannot be written.
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
    // Only the temporary folder may be writable. A new folder is made there at each start, so that nobody
    // else can have prepared it.
    const temporary = `${Deno.makeTempDirSync({ prefix: "lovage-project-" })}/deno.json`;
    write(filesFor(found!, temporary, () => moduleText(spec, cwd))!);
    return restart(temporary);
  }
  restart(path);
}

/**
 * Returns the generated files for a project, with the configuration at `path`; null if the project changes
 * nothing.
 */
function filesFor(found: Found, path: string, moduleText: () => string): ProjectFiles | null {
  const config = joined(found, path, moduleText);
  if (config === null) return null;
  const { imports, scopes, ...options } = config;
  const lock = lockOf(found);
  return {
    [path]: toJson(options),
    [importsOf(path)]: toJson({ imports, scopes }),
    // The text of the project's lock file. The runtime adds entries to a copy, because the original belongs
    // to the project.
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

/**
 * Returns the folder of the module that `spec` names; if it is missing, the nearest existing folder above it.
 */
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
    return path; // loading it will report the error
  }
}

function moduleText(spec: string, cwd: string): string {
  return readFile(absolutePath(pathOf(spec), cwd)) ?? "";
}

/** Searches from a folder upwards; null if nothing is found. */
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
      // Our own source tree, under whose configuration the program runs.
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

/** Joins our configuration with the project's; null if the project's changes nothing. */
function joined(found: Found, path: string, moduleText: () => string): Json | null {
  const own = readJson(OWN_CONFIG);
  const ownImports = resolved(own.imports, OWN_CONFIG);
  const { imports, scopes, options } = projectOptions(found);
  const manifest = found.manifest === null ? {} : readJson(found.manifest);
  // Our own npm modules are in the runtime's cache and not in node_modules.
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
    imports: { ...withSubpaths(imports), lovage: ours, ...markOf(path) },
    scopes,
  };
}

/**
 * Returns true if packages come from node_modules: as the project configures it, else as Deno and Node would
 * decide.
 */
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
  // Without a package.json, packages named by `npm:` come from the registry.
  const fromRegistry = /["']npm:/;
  return !Object.values(imports).some((target) => target.startsWith("npm:")) &&
    (config !== null || !fromRegistry.test(moduleText()));
}

/**
 * Returns the imports, scopes and options of a project's configurations; the nearest overrides the
 * workspace's.
 */
function projectOptions(
  { config, workspace }: Found,
): { imports: Imports; scopes: Record<string, Imports>; options: Json } {
  const imports: Imports = {};
  const scopes: Record<string, Imports> = {};
  const options: Json = {};
  for (const path of [workspace, config]) {
    if (path === null) continue;
    const json = readJson(path);
    if (path === workspace) Object.assign(imports, membersOf(json, path));
    // An import map in a separate file is relative to that file, and applies only if the configuration has no
    // imports.
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

/** Returns true if the workspace of the configuration at `path` contains the folder of `member`. */
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

/** Returns the members of a workspace as imports, by their names and `exports`. */
function membersOf(json: Json, path: string): Imports {
  const imports: Imports = {};
  for (const folder of memberFolders(json, path)) {
    const config = CONFIGS.map((name) => `${folder}/${name}`).find((one) => kindOf(one) === "file");
    if (config === undefined) continue;
    const { name, exports } = readJson(config);
    if (typeof name !== "string") continue;
    const entries = typeof exports === "string" ? { ".": exports } : record(exports);
    for (const [subpath, target] of Object.entries(entries)) {
      if (typeof target === "string") imports[name + subpath.slice(1)] = resolvedOne(target, config);
    }
  }
  return imports;
}

/** Returns the packages that a package.json requires from the registry, as imports. */
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

/** Returns the text of the project's lock file; null if it has none. */
function lockOf({ config, workspace, manifest }: Found): string | null {
  const nearest = workspace ?? config ?? manifest;
  return nearest === null ? null : readFile(`${parentOf(nearest)}/deno.lock`);
}

/** Returns a part of an import map with relative paths turned into URLs, relative to the file at `path`. */
function resolved(given: unknown, path: string): Imports {
  const imports: Imports = {};
  for (const [name, target] of Object.entries(record(given))) {
    if (typeof target === "string") imports[resolvedOne(name, path)] = resolvedOne(target, path);
  }
  return imports;
}

/**
 * Adds an entry with a trailing slash for each package, so that its subpaths resolve: deno.json implies
 * these, an import map does not.
 */
function withSubpaths(imports: Imports): Imports {
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
  return isRecord(value) ? value : {};
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

/**
 * Returns which of NAMES a folder contains. Reading the folder once is faster than looking for each missing
 * name.
 */
function namesIn(folder: string): Set<string> {
  const names = new Set<string>();
  try {
    for (const { name } of Deno.readDirSync(folder)) if (NAMES.has(name)) names.add(name);
  } catch {
    // A folder that this user may not read has no project for it.
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
