/**
 * Programs that tests run from outside: Lovage's command line, Python's worker, and Python as a client. Each
 * ends with its test.
 */

import { selfCommand } from "../../lib/platform/mod.ts";
import { pythonPath, requirePython } from "./servers.ts";
import { eventually, PATIENCE_MS } from "./ports.ts";
import { type Finished, runProgram } from "./run.ts";
import { filePath } from "../../lib/base/mod.ts";

const support = filePath(new URL(".", import.meta.url));

/** The command that starts Lovage: from source, or as the variable LOVAGE says, from any folder. */
export const LOVAGE: readonly string[] = named() ?? fromSource();

function named(): string[] | null {
  const words = Deno.env.get("LOVAGE")?.split(" ");
  if (!words) return null;
  if (words[0]!.includes("/")) words[0] = Deno.realPathSync(words[0]!);
  return words;
}

function fromSource(): string[] {
  const { program, args } = selfCommand();
  return [program, ...args];
}

/** The task module of these tests. */
export const TASKS = `${support}tasks.ts`;

/** The environment of a program: its broker and store, and settings for its app. */
export interface Place {
  readonly broker?: string;
  readonly backend?: string;
  readonly conf?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** Waits longer for replies than by default; commands that know which nodes exist end earlier. */
export const REPLIES: Readonly<Record<string, string>> = Object.fromEntries(
  ["STATUS", "INSPECT", "CONTROL"].map((command) => [`CELERY_${command}_TIMEOUT`, "30"]),
);

/** Runs a `lovage` command to its end. */
export function lovage(args: readonly string[], place: Place = {}, input?: string): Promise<Finished> {
  const env = { ...REPLIES, ...environment(place) };
  return runProgram([...LOVAGE, ...args], input === undefined ? { env } : { env, input });
}

/** A program that runs until it is stopped; its output is kept. */
export class Program implements AsyncDisposable {
  readonly pid: number;
  /** Standard output and error together, in order of arrival. */
  text = "";
  #child: Deno.ChildProcess;
  #status: Deno.CommandStatus | null = null;
  /** Resolves when it has ended and its whole output is in `text`. */
  readonly ended: Promise<Deno.CommandStatus>;

  constructor(argv: readonly string[], env: Record<string, string>, cwd?: string) {
    this.#child = new Deno.Command(argv[0]!, {
      args: argv.slice(1),
      env,
      ...(cwd === undefined ? {} : { cwd }),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#child.pid;
    this.ended = Promise.all([
      this.#child.status,
      this.#read(this.#child.stdout),
      this.#read(this.#child.stderr),
    ]).then(([status]) => this.#status = status);
  }

  /** Null while it runs. */
  get status(): Deno.CommandStatus | null {
    return this.#status;
  }

  /** Waits for output that matches; fails at once if the program ends first. */
  async says(pattern: RegExp, withinMs = PATIENCE_MS): Promise<void> {
    await eventually(
      () => {
        if (pattern.test(this.text)) return true;
        if (this.#status) throw new Error(`ended with ${this.#status.code} before ${pattern}:\n${this.text}`);
        return false;
      },
      () => `${pattern} in:\n${this.text.slice(-4000)}`,
      { withinMs },
    );
  }

  /** Sends it a signal; does nothing if it has ended. */
  signal(name: Deno.Signal): void {
    try {
      this.#child.kill(name);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // what Deno throws if it has ended
    }
  }

  /** Stops it and resolves with its exit status. */
  async stop(signal: Deno.Signal = "SIGTERM", withinMs = PATIENCE_MS): Promise<number> {
    this.signal(signal);
    const timer = setTimeout(() => this.signal("SIGKILL"), withinMs);
    const { code } = await this.ended;
    clearTimeout(timer);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGTERM", 20_000);
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const part of stream.pipeThrough(new TextDecoderStream() as never)) this.text += part;
  }
}

/** Starts a Lovage worker with tests/support/tasks.ts and waits until it is ready. */
export async function startWorker(
  place: Place,
  args: readonly string[] = ["-P", "solo"],
  options: { app?: string; level?: string; isReady?: boolean } = {},
): Promise<Program> {
  const argv = [...LOVAGE, "-A", options.app ?? TASKS, "worker", "-l", options.level ?? "INFO", ...args];
  const worker = new Program(argv, environment(place));
  if (options.isReady !== false) await worker.says(/ ready\./);
  return worker;
}

/** Starts a beat with tests/support/tasks.ts and waits until it runs. */
export async function startBeat(place: Place, file: string, args: readonly string[] = []): Promise<Program> {
  const argv = [...LOVAGE, "-A", TASKS, "beat", "-l", "DEBUG", "-s", file, ...args];
  const beat = new Program(argv, environment(place));
  await beat.says(/beat: Starting\.\.\./);
  return beat;
}

/**
 * Starts a Python worker with tests/support/tasks.py, by default without gossip and mingle, and waits until
 * it is ready.
 */
export async function startPythonWorker(
  place: Place,
  args: readonly string[] = [],
  { level = "INFO", isAlone = true }: { level?: string; isAlone?: boolean } = {},
): Promise<Program> {
  const { celery } = await requirePython();
  const alone = isAlone ? ["--without-gossip", "--without-mingle"] : [];
  const argv = [...celery, "-A", "tasks", "worker", "-l", level, "-c", "1", ...alone, ...args];
  const worker = new Program(argv, environment(place), support);
  await worker.says(/ ready\./);
  return worker;
}

/** An answer of the Python client. */
export interface Answer {
  id?: string;
  ids?: string[];
  state?: string;
  value?: unknown;
  error?: string;
  module?: string;
  args?: string[];
  bases?: string[];
  traceback?: string;
}

/** Python Celery as a client, in one process. */
export class PythonClient implements AsyncDisposable {
  #child: Deno.ChildProcess;
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  #lines: AsyncIterator<string>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#lines = lines(child.stdout);
  }

  static async start(place: Place): Promise<PythonClient> {
    await requirePython();
    return new PythonClient(
      new Deno.Command("/usr/bin/python3", {
        args: [`${support}python_client.py`],
        env: environment(place),
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn(),
    );
  }

  /** Sends one request and returns its answer. */
  async ask(request: Record<string, unknown>): Promise<Answer> {
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the Python client has ended");
    const answer = JSON.parse(value);
    if (answer.broken) throw new Error(`the Python client: ${answer.broken}`);
    return answer;
  }

  /** Sends a task and returns its id. */
  async send(
    task: string,
    args: unknown[] = [],
    options: Record<string, unknown> = {},
    kwargs = {},
  ): Promise<string> {
    return (await this.ask({ do: "send", task, args, kwargs, options })).id!;
  }

  /** Waits for a result, or for the error that `get` raises. */
  get(id: string, timeout = 120): Promise<Answer> {
    return this.ask({ do: "get", id, timeout });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#lines.return?.();
    await this.#child.status;
  }
}

/** Returns the environment of a program under test: no colours, and none of the caller's Celery variables. */
export function environment(place: Place): Record<string, string> {
  return {
    NO_COLOR: "1",
    C_FORCE_ROOT: "1",
    PYTHONPATH: pythonPath(support),
    PYTHONDONTWRITEBYTECODE: "1",
    PYTHONUNBUFFERED: "1",
    TEST_BROKER: place.broker ?? "",
    TEST_BACKEND: place.backend ?? "",
    TEST_CONF: JSON.stringify(place.conf ?? {}),
    ...place.env,
  };
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream() as never) as ReadableStream<string>) {
    const all = (rest + part).split("\n");
    rest = all.pop()!;
    yield* all;
  }
}
