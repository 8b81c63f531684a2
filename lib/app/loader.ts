/**
 * `-A`: finds the user's module or manifest, loads it, and finds the App in it; also loads `--config`,
 * `imports` and `include`. The worker and every pool slot load through this file.
 *
 * Source: celery 5.2.6 app/utils.py find_app, loaders/base.py; contract.md section 2.
 */

import {
  absolutePath,
  errorText,
  filePath,
  fileUrl,
  isOptions,
  nearest,
  nodeFs,
  OperatingError,
  setCurrentWorld,
  UsageError,
  userStack,
  type World,
} from "../base/mod.ts";
import { App } from "./app.ts";
import { modulesOf } from "./made_in.ts";
import { addManifest, manifestApp, type ManifestOptions } from "./manifest.ts";
import type { SettingSource } from "./conf/conf.ts";
import { signals } from "./call/signals.ts";

/** Names of exports that are tried for the App if none is given, in this order. */
const APP_EXPORTS = ["app", "celery", "default"] as const;
const MODULE_ENDINGS = [".ts", ".js", ".mjs"];
const DOCUMENT_ENDINGS = [".toml", ".json"];
/** Files that are tried if the path is a folder. */
const FOLDER_FILES = [
  "mod.ts",
  "mod.js",
  "mod.mjs",
  "tasks.ts",
  "tasks.js",
  "tasks.mjs",
  "tasks.toml",
  "tasks.json",
  // Celery's own layout: proj/celery creates the App.
  "celery.ts",
  "celery.js",
  "celery.mjs",
];
/** Exit status if the module itself fails. */
const MODULE_FAILED = 1;

/** Further modules to load, and settings that override those of the module. */
export interface LoadOptions {
  /** Settings of the command line; each setting's kind parses their texts. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** The source of these settings. Default "command line". */
  readonly settingsSource?: SettingSource;
  /** Path of a `.ts`, `.json` or `.toml` file of settings. Default: the variable CELERY_CONFIG_MODULE. */
  readonly config?: string | null;
  /** Further modules (`-I`), after `imports` and `include`. */
  readonly include?: readonly string[];
}

/**
 * What a sandbox loads. A sandbox may not read files, so its modules are imported by literals generated for
 * it.
 */
export interface SandboxLoad {
  /** As in `LoadedFrom.app`; no search is made. */
  readonly app: string;
  readonly include: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
  /** Imports the module at an absolute path. Rejects with the module's error. */
  readonly importModule: (path: string) => Promise<Record<string, unknown>>;
}

/** The error of a module that exports no App, or several. */
class NoAppError extends UsageError {}

/** Loads an App again in an isolate that may not read files. Rejects with a module's error, unchanged. */
export async function loadSandboxedApp(world: World, load: SandboxLoad): Promise<App> {
  setCurrentWorld(world);
  const { path, exportName } = splitSpec(load.app);
  const app = appOf(await load.importModule(path), exportName, relative(world, path));
  app.conf.apply(load.settings, "command line");
  // Commands do not run in a sandbox, so manifests are not needed there.
  for (const include of load.include) if (!isManifest(include)) await load.importModule(include);
  signals.importModules.send(app, {}, world.log);
  app.finalize();
  return app;
}

/**
 * Returns the absolute paths of the modules that an App was loaded from, which a sandbox must be able to
 * import.
 */
export function sandboxModules(app: string, include: readonly string[]): string[] {
  return [...new Set([splitSpec(app).path, ...include])].filter((path) => !isManifest(path));
}

/** Returns true if the App is a manifest, not a module. */
export function isManifest(app: string): boolean {
  return DOCUMENT_ENDINGS.some((ending) => splitSpec(app).path.endsWith(ending));
}

/** Where an App was loaded from, so that a pool slot can load it again. Paths are absolute. */
export interface LoadedFrom {
  /** The `-A` argument with its path made absolute, or null. */
  readonly app: string | null;
  readonly config: string | null;
  /** The modules that were included; `loadMore` appends to it. */
  readonly include: string[];
}

const loadedFrom = new WeakMap<App, LoadedFrom>();

/** Returns where an App was loaded from; all null or empty for an App that was created in code. */
export function appSource(app: App): LoadedFrom {
  return loadedFrom.get(app) ?? { app: null, config: null, include: [] };
}

/** For an App created in code: records the modules that created it as its source, if they are known. */
export function recordSource(app: App): void {
  const [own, ...others] = modulesOf(app);
  if (own !== undefined && !loadedFrom.has(app)) {
    loadedFrom.set(app, { app: own, config: null, include: others });
  }
}

/**
 * Loads the App of `spec` (a path, folder or bare name, with an optional `:export`) and all modules that it
 * names. If `spec` is null, makes an App without tasks.
 *
 * Rejects with `UsageError` if nothing is found, a setting is wrong, or a module throws. In the last case the
 * text contains the user's own error and the stack frames in the user's files.
 */
export async function loadApp(world: World, spec: string | null, options: LoadOptions = {}): Promise<App> {
  setCurrentWorld(world);
  let found = spec === null ? null : findModule(world, spec);
  let app: App;
  if (found === null) app = new App("default", {}, { world });
  else {
    const opened = await openFound(world, found, spec!);
    ({ app, found } = opened);
  }
  const config = options.config ?? world.host.env("CELERY_CONFIG_MODULE");
  const configPath = config
    ? findFile(world, config, "settings", [...MODULE_ENDINGS, ...DOCUMENT_ENDINGS])
    : null;
  if (configPath !== null) app.conf.apply(await readSettings(world, configPath), "config");
  if (options.settings) app.conf.apply(options.settings, options.settingsSource ?? "command line");
  const folder = found === null ? world.host.cwd : folderOf(found.path);
  const include = [...app.conf.imports, ...app.conf.include, ...options.include ?? []]
    .map((name) => findFile(world, name, "task module", [...MODULE_ENDINGS, ...DOCUMENT_ENDINGS], folder));
  for (const path of new Set(include)) await includeModule(app, path);
  loadedFrom.set(app, {
    app: found === null ? null : found.path + (found.exportName === null ? "" : `:${found.exportName}`),
    config: configPath,
    include: [...new Set(include)],
  });
  signals.importModules.send(app, {}, world.log);
  app.finalize();
  return app;
}

/**
 * Loads more task modules into an App, by name or path, from the current folder or the App's. Slots that
 * start later load them too. A module that is already loaded is skipped. Rejects with UsageError if there is
 * no such module in those folders, or if it throws.
 */
export async function loadMore(app: App, names: readonly string[]): Promise<void> {
  const { world } = app;
  const source = loadedFrom.get(app) ?? { app: null, config: null, include: [] };
  loadedFrom.set(app, source);
  const own = source.app === null ? world.host.cwd : folderOf(splitSpec(source.app).path);
  for (const name of names) {
    const path = findFile(world, name, "task module", [...MODULE_ENDINGS, ...DOCUMENT_ENDINGS], own);
    // A remote command may load modules of this program's folders, and no other files.
    if (![world.host.cwd, own].some((folder) => path.startsWith(`${folder}/`))) {
      throw new UsageError(`Cannot load task module "${name}": it is outside of the program's folders`);
    }
    if (source.include.includes(path)) continue;
    await includeModule(app, path);
    source.include.push(path);
  }
}

interface FoundModule {
  /** Absolute, once it is found. */
  readonly path: string;
  readonly exportName: string | null;
}

function findModule(world: World, spec: string): FoundModule {
  const { path, exportName } = splitSpec(spec);
  return { path: findFile(world, path, "task module", [...MODULE_ENDINGS, ...DOCUMENT_ENDINGS]), exportName };
}

function splitSpec(spec: string): FoundModule {
  const match = /^(.+):([A-Za-z_$][\w$]*)$/.exec(spec);
  return match ? { path: match[1]!, exportName: match[2]! } : { path: spec, exportName: null };
}

/** Returns the absolute path of a file, folder or bare name. Searches the current folder, then `appFolder`. */
function findFile(
  world: World,
  name: string,
  what: string,
  endings: readonly string[],
  appFolder?: string,
): string {
  const given = name.startsWith("file:") ? pathOfUrl(name, what) : name;
  const tried: string[] = [];
  for (const folder of given.startsWith("/") ? ["/"] : [world.host.cwd, ...(appFolder ? [appFolder] : [])]) {
    const base = absolutePath(given, folder);
    for (const path of candidates(world, base, endings)) {
      if (world.host.fileKind(path) === "file") return path;
      if (!tried.includes(path)) tried.push(path);
    }
  }
  const shownPaths = tried.length <= 5 ? tried : tried.filter((path) => /\.[tj]s$/.test(path)).slice(0, 5);
  const shown = shownPaths.map((path) => relative(world, path)).join(", ");
  throw new UsageError(`Cannot find ${what} "${name}": there is no ${shown}`);
}

function candidates(world: World, base: string, endings: readonly string[]): string[] {
  const kind = world.host.fileKind(base);
  if (kind === "file" || endings.some((ending) => base.endsWith(ending))) return [base];
  const files = FOLDER_FILES.filter((file) => endings.some((ending) => file.endsWith(ending)));
  const inFolder = files.map((file) => `${base}/${file}`);
  if (kind === "folder") return [...inFolder, ...endings.map((ending) => base + ending)];
  const last = base.slice(base.lastIndexOf("/") + 1);
  // Python's names of modules: "proj.tasks" is proj/tasks.
  const dotted = last.includes(".")
    ? candidates(world, base.slice(0, -last.length) + last.replaceAll(".", "/"), endings)
    : [];
  return [...endings.map((ending) => base + ending), ...inFolder, ...dotted];
}

function pathOfUrl(url: string, what: string): string {
  try {
    return filePath(url);
  } catch (error) {
    throw new UsageError(`Cannot find ${what} "${url}": ${errorText(error)}`, { cause: error });
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function relative(world: World, path: string): string {
  return path.startsWith(`${world.host.cwd}/`) ? `./${path.slice(world.host.cwd.length + 1)}` : path;
}

/**
 * Opens the module found for `spec`. If a folder was given and its `tasks` file exports no App, opens the
 * `celery` file next to it, as in Celery's layout. Source: celery 5.2.6 app/utils.py find_app.
 */
async function openFound(
  world: World,
  found: FoundModule,
  spec: string,
): Promise<{ app: App; found: FoundModule }> {
  try {
    return { app: await openModule(world, found), found };
  } catch (error) {
    const isOfFolder = /\/tasks\.\w+$/.test(found.path) && !/tasks(\.\w+)?(:\w+)?$/.test(spec);
    const path = MODULE_ENDINGS.map((ending) => `${folderOf(found.path)}/celery${ending}`)
      .find((one) => world.host.fileKind(one) === "file");
    if (!(error instanceof NoAppError) || !isOfFolder || path === undefined) throw error;
    const celery = { path, exportName: found.exportName };
    return { app: await openModule(world, celery), found: celery };
  }
}

async function openModule(world: World, found: FoundModule): Promise<App> {
  const { path, exportName } = found;
  const shown = relative(world, path);
  if (isManifest(path)) {
    return manifestApp(world, await readDocument(world, path), manifestOptions(world, path));
  }
  return appOf(await importModule(world, path), exportName, shown);
}

/**
 * Loads the tasks of a further module: a module declares its own tasks, a manifest's are added to the App.
 */
async function includeModule(app: App, path: string): Promise<void> {
  const { world } = app;
  if (isManifest(path)) addManifest(app, await readDocument(world, path), manifestOptions(world, path));
  else await importModule(world, path);
}

function manifestOptions(world: World, path: string): ManifestOptions {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.\w+$/, "");
  return { name, folder: folderOf(path), shown: relative(world, path) };
}

/** Returns the App that a module exports. Throws NoAppError. */
function appOf(module: Record<string, unknown>, exportName: string | null, shown: string): App {
  const apps = Object.entries(module).filter(([, value]) => value instanceof App) as [string, App][];
  if (exportName !== null) {
    const named = module[exportName];
    if (named instanceof App) return named;
    const near = nearest(exportName, Object.keys(module));
    throw new NoAppError(
      `Cannot use task module "${shown}": ${
        exportName in module ? `its export "${exportName}" is not an App` : `it exports no "${exportName}"`
      }${near && near !== exportName ? `: did you mean "${near}"?` : ""}`,
    );
  }
  for (const name of APP_EXPORTS) if (module[name] instanceof App) return module[name];
  const different = new Set(apps.map(([, app]) => app));
  if (different.size === 1) return apps[0]![1];
  throw new NoAppError(
    apps.length === 0
      ? `Cannot use task module "${shown}": it exports no App; export const app = new App("name")`
      : `Cannot use task module "${shown}": it exports several Apps; name one: ` +
        apps.map(([name]) => `${shown}:${name}`).join(", "),
  );
}

async function importModule(world: World, path: string): Promise<Record<string, unknown>> {
  try {
    return await import(fileUrl(path));
  } catch (error) {
    throw new UsageError(
      `Cannot load task module "${relative(world, path)}": ${userError(error)}`,
      { cause: error, exitCode: MODULE_FAILED },
    );
  }
}

/** Returns the error that the user's module threw, with the stack frames in the user's own files only. */
function userError(error: unknown): string {
  if (!(error instanceof Error)) return `it threw ${errorText(error)}`;
  const name = error instanceof OperatingError ? "" : `${error.name}: `;
  const frames = userStack(error).split("\n").filter((line) => /^\s+at .*file:\/\//.test(line));
  // The error of a missing module contains its location as a frame, which would be repeated below.
  const message = errorText(error).split("\n").filter((line) => !frames.includes(line)).join("\n");
  return [`${name}${message}`, ...frames.filter((line, n) => line !== frames[n - 1])].join("\n");
}

/**
 * Reads the settings in a file: an object in JSON or TOML; a module's default export, else all its exports.
 */
async function readSettings(world: World, path: string): Promise<Record<string, unknown>> {
  const isDocument = DOCUMENT_ENDINGS.some((ending) => path.endsWith(ending));
  const given = isDocument ? await readDocument(world, path) : await importModule(world, path);
  const settings = !isDocument && isOptions(given) && "default" in given ? given.default : given;
  if (!isOptions(settings)) {
    throw new UsageError(
      `Cannot use settings "${relative(world, path)}": an object of name to value is expected`,
    );
  }
  // A module's namespace object has no prototype and is read-only.
  return { ...settings };
}

async function readDocument(world: World, path: string): Promise<unknown> {
  try {
    const text = nodeFs().readFileSync(path, "utf-8").replace(/^\uFEFF/, "");
    if (path.endsWith(".json")) return JSON.parse(text);
    const { parse } = await import("smol-toml");
    // Make plain objects, as from JSON: the parser's objects have no prototype.
    return structuredClone(parse(text));
  } catch (error) {
    const [first] = errorText(error).split("\n");
    throw new UsageError(`Cannot read "${relative(world, path)}": ${first}`, { cause: error });
  }
}
