/**
 * Task manifests: tasks that are commands, declared in TOML or JSON. No shell is involved.
 *
 * `argv` items may contain `{0}` (a positional argument) and `{name}` (a keyword argument); `{{` and `}}` are
 * braces. An argument at the start of an item that begins with a dash would be an option. It is refused,
 * unless a `--` comes before it or the task sets `allow_options = true`. The whole call is written to the
 * command's standard input as JSON. Its output is the result: parsed if it is JSON, else as text. An exit
 * status other than 0 is a failure that carries the end of the standard error.
 *
 * A command has its own process group. Limits, revocation and the death of its slot end the whole group, with
 * SIGTERM first if the slot still lives.
 *
 * Source: contract.md section 2.
 */

import { camelCase, errorText, isRecord, UsageError, type World } from "../base/mod.ts";
import { fromPlainJson, shownJson } from "../wire/mod.ts";
import { App } from "./app.ts";
import type { Context } from "./run/context.ts";
import type { Settings } from "./conf/conf.ts";
import type { TaskOptions } from "./task.ts";

/** Maximum output of a command, bytes. */
const OUTPUT_MAX = 64 * 1024 * 1024;
/** Characters from the end of standard error that a failure carries. */
const STDERR_TAIL_MAX = 4096;
/** Milliseconds between SIGTERM and SIGKILL. */
const KILL_AFTER_MS = 5000;

/** The error of a command that failed. Its only argument is the message. */
class CommandFailed extends Error {
  static readonly module: string = "lovage";
  override name = "CommandFailed";
  /** Exit status; null if the command was ended by a signal or never started. */
  readonly exitStatus: number | null;
  constructor(message: string, exitStatus: number | null) {
    super(message);
    this.exitStatus = exitStatus;
  }
}

/** A checked task of a manifest. */
interface CommandTask {
  readonly argv: readonly string[];
  readonly cwd: string | null;
  readonly env: Readonly<Record<string, string>>;
  /** True if arguments may become options of the program. */
  readonly allowOptions: boolean;
}

/** The origin of a manifest. */
export interface ManifestOptions {
  /** The name of its App, if the document has none. */
  readonly name: string;
  /** Its folder: the program's relative path is resolved there. */
  readonly folder: string;
  /** Its path as messages show it. */
  readonly shown: string;
}

/**
 * Makes the App of a manifest's document. Throws `UsageError` for an invalid document, with the task and the
 * problem.
 */
export function manifestApp(world: World, document: unknown, options: ManifestOptions): App {
  const { name, settings, tasks } = readManifest(document, options);
  const app = new App(name, settings as Partial<Settings>, { world });
  addTasks(app, tasks, options);
  return app;
}

/**
 * Adds the tasks of a manifest to an App that has its own settings. Throws like `manifestApp`, and for a
 * manifest with settings.
 */
export function addManifest(app: App, document: unknown, options: ManifestOptions): void {
  const { settings, tasks } = readManifest(document, options);
  if (Object.keys(settings).length > 0) {
    throw new UsageError(
      `Cannot include manifest "${options.shown}": it has settings, but the App has its own; put them into --config`,
    );
  }
  addTasks(app, tasks, options);
}

function readManifest(document: unknown, { name: byDefault, shown }: ManifestOptions) {
  if (!isRecord(document) || !isRecord(document.tasks)) {
    throw new UsageError(`Cannot use manifest "${shown}": it has no [tasks."name"] in it`);
  }
  const { tasks, settings = {}, name = byDefault, ...rest } = document;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    throw new UsageError(
      `Cannot use manifest "${shown}": unknown key "${unknown}"; the keys are name, settings and tasks`,
    );
  }
  if (!isRecord(settings)) throw new UsageError(`Cannot use manifest "${shown}": settings must be a table`);
  return { name: String(name), settings, tasks: tasks as Record<string, unknown> };
}

function addTasks(app: App, tasks: Readonly<Record<string, unknown>>, options: ManifestOptions): void {
  for (const [taskName, given] of Object.entries(tasks)) {
    const { command, taskOptions } = readTask(taskName, given, options);
    app.task(
      taskName,
      { ...taskOptions, bind: true, schema: null },
      (self: Context, ..._args: unknown[]) => runCommand(app.world, self, command),
    );
  }
}

function readTask(
  name: string,
  given: unknown,
  { folder, shown }: { folder: string; shown: string },
): { command: CommandTask; taskOptions: TaskOptions } {
  const wrong = (why: string) => new UsageError(`Cannot use task "${name}" of manifest "${shown}": ${why}`);
  if (!isRecord(given)) throw wrong("it must be a table");
  const { argv, cwd = null, env = {}, allow_options: allowOptions = false, ...rest } = given;
  for (const option of ["permissions", "memory_limit"]) {
    if (option in rest) {
      throw wrong(`${option} is only for tasks that are functions; the system decides what a command may do`);
    }
  }
  if (!Array.isArray(argv) || argv.length === 0 || !argv.every((item) => typeof item === "string")) {
    throw wrong('argv must be a list of strings, such as ["./resize.sh", "{0}"]');
  }
  if (cwd !== null && typeof cwd !== "string") throw wrong("cwd must be a path");
  if (!isRecord(env) || !Object.values(env).every((value) => typeof value === "string")) {
    throw wrong("env must be a table of strings");
  }
  if (typeof allowOptions !== "boolean") throw wrong("allow_options must be true or false");
  const [program, ...words] = argv as string[];
  const taskOptions: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(rest)) {
    taskOptions[camelCase(key)] = value;
  }
  return {
    command: {
      argv: [program!.includes("/") ? inFolder(folder, program!) : program!, ...words],
      cwd: cwd === null ? null : inFolder(folder, cwd),
      env: env as Record<string, string>,
      allowOptions,
    },
    taskOptions: taskOptions as TaskOptions,
  };
}

function inFolder(folder: string, path: string): string {
  return path.startsWith("/") ? path : `${folder}/${path.replace(/^\.\//, "")}`;
}

/**
 * Returns a command's words with the arguments filled in. Throws `TypeError` if one is missing or would be an
 * option.
 */
function fillArgv(
  { argv, allowOptions }: CommandTask,
  { args, kwargs, task }: {
    args: readonly unknown[];
    kwargs: Readonly<Record<string, unknown>>;
    task: string;
  },
): string[] {
  const end = argv.indexOf("--");
  return argv.map((item, n) => {
    const word = fillTemplate(item, args, kwargs, task);
    const isOption = word.startsWith("-") && !item.startsWith("-") && !Number.isFinite(Number(word));
    if (isOption && !allowOptions && (end < 0 || n < end)) {
      throw new TypeError(
        `${task}() argument for ${item} begins with a dash and would be an option: put "--" before it in argv, or ` +
          "set allow_options = true",
      );
    }
    return word;
  });
}

/** Returns an `argv` item with the call's arguments filled in. Throws `TypeError` if one is missing. */
export function fillTemplate(
  template: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  label: string,
): string {
  return template.replace(/\{\{|\}\}|\{([A-Za-z_]\w*|\d+)\}/g, (whole, key: string | undefined) => {
    if (key === undefined) return whole[0]!;
    const isPosition = /^\d/.test(key);
    const isThere = isPosition ? Number(key) < args.length : Object.hasOwn(kwargs, key);
    if (!isThere) throw new TypeError(`${label}() missing 1 required argument: '${key}'`);
    const value = isPosition ? args[Number(key)] : kwargs[key];
    return typeof value === "string" ? value : value === undefined ? "" : shownJson(value);
  });
}

async function runCommand(world: World, self: Context, command: CommandTask): Promise<unknown> {
  const { request, signal } = self;
  const { id, task, args, kwargs, retries } = request;
  const [program, ...words] = fillArgv(command, { args, kwargs, task });
  signal.throwIfAborted();
  let child;
  try {
    child = world.spawner.spawn(program!, {
      args: words,
      ...(command.cwd === null ? {} : { cwd: command.cwd }),
      env: { ...command.env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      ownGroup: true,
      diesWithParent: true,
    });
  } catch (error) {
    throw new CommandFailed(`Cannot start "${program}": ${errorText(error)}`, null);
  }
  let disarm = () => {};
  const onAbort = () => {
    child.kill("SIGTERM");
    disarm = world.clock.arm(world.clock.monoMs() + KILL_AFTER_MS, () => child.kill("SIGKILL"));
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    // Processes that hold the pipes open keep the task running, so all of the group must end.
    const [output, errors, ended] = await Promise.all([
      readAll(child.stdout!, () => child.kill("SIGKILL")),
      readTail(child.stderr!),
      child.ended,
      writeAll(child.stdin!, shownJson({ id, task, args, kwargs, retries })),
    ]);
    signal.throwIfAborted();
    if (output === null) {
      throw new CommandFailed(`${program} printed more than ${OUTPUT_MAX >> 20} MiB`, null);
    }
    // The helper that ties the command to this process could not start it.
    if (ended.code === 127 && /^setpriv: failed to execute /.test(errors)) {
      const why = errors.trim().slice(errors.lastIndexOf(": ") + 2);
      throw new CommandFailed(`Cannot start "${program}": ${why}`, null);
    }
    if (ended.signal !== null || ended.code !== 0) {
      const how = ended.signal === null ? `exited with status ${ended.code}` : `was ended by ${ended.signal}`;
      throw new CommandFailed(
        `${program} ${how}${errors.trim() === "" ? "" : `: ${errors.trim()}`}`,
        ended.signal === null ? ended.code : null,
      );
    }
    return resultOf(output);
  } finally {
    signal.removeEventListener("abort", onAbort);
    disarm();
    child.release?.();
  }
}

/** Parses the output: JSON if it is, else text without the last newline; null if it is empty. */
function resultOf(output: string): unknown {
  if (output.trim() === "") return null;
  try {
    return fromPlainJson(output);
  } catch {
    // Not JSON: the result is text.
    return output.replace(/\r?\n$/, "");
  }
}

async function readAll(stream: ReadableStream<Uint8Array>, onTooMuch: () => void): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > OUTPUT_MAX) {
      onTooMuch();
      return null;
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

async function readTail(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let tail = "";
  for await (const chunk of stream) {
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-STDERR_TAIL_MAX);
  }
  return tail;
}

async function writeAll(stream: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stream.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch {
    // A command that does not read its input closes the pipe, which is allowed.
  }
}
