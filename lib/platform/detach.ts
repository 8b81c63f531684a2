/**
 * The two sides of a daemon's start: the parent starts this program again in a session of its own and waits
 * until the child reports that it is ready, or ends.
 *
 *     parent ── setsid, stdin null, stdout and stderr pipes ──► child      LOVAGE_DAEMON=starting
 *     parent ◄─────────────── its errors, as text ───────────── child
 *     parent ◄───── READY on stdout, then both pipes end ────── child      its streams are /dev/null from here on
 *
 * A child that ends before READY has failed; its text and exit status are the outcome. The parent returns
 * when it has the outcome.
 *
 * Source: celery 5.2.6 platforms.py DaemonContext, bin/worker.py detach (which returns before anything is
 * known).
 */

import { type Clock, errorText, OperatingError, UsageError } from "../base/mod.ts";
import { closeStandardStreams, execProgram, keepDescriptorsFromChildren } from "./libc.ts";
import { configurationFlags, useProject } from "./configuration.ts";
import { packedFolder, selfPath } from "./form.ts";
import { isFile, selfCommand } from "./spawn.ts";

/** The variable that gives the child its stage. */
const VARIABLE = "LOVAGE_DAEMON";
/** The child's report on its standard output; a text that no banner and no user's module would print. */
const READY = "\x16\x06 lovage daemon ready \x06\x16\n";
/** The maximum text of a failing child that is kept, characters. */
const TEXT_MAX = 64 * 1024;
/** How long a child that was not ready in time has to end, milliseconds. */
const END_MS = 5000;

/** How long a ready child may take to close its streams, milliseconds. */
const CLOSE_MS = 500;

/** The folder in which this program was started, and in which it starts again. */
export const START_FOLDER: string = Deno.cwd();

/**
 * The stage of this process: not a daemon, a daemon whose parent still waits, or one that has reported ready.
 */
export type DaemonStage = "none" | "starting" | "running";

// Read once and removed, so that a program started by a task does not take itself for a daemon.
const given = Deno.env.get(VARIABLE);
let stage: DaemonStage = given === "starting" || given === "running" ? given : "none";
if (given !== undefined) Deno.env.delete(VARIABLE);

/** Returns the stage of this process. */
export function daemonStage(): DaemonStage {
  return stage;
}

/**
 * The outcome of a daemon's start. `text` is the child's error output, in which the child has masked
 * passwords, cut to its last 64 KiB.
 */
export type DaemonStart =
  | { readonly kind: "ready"; readonly pid: number }
  | {
    readonly kind: "failed";
    readonly pid: number;
    readonly code: number;
    readonly signal: string | null;
    readonly text: string;
  }
  | { readonly kind: "late"; readonly pid: number; readonly text: string };

/** The options for starting a daemon. */
export interface DaemonOptions {
  /** The command line without the program. */
  readonly args: readonly string[];
  readonly folder?: string;
  /** Added to our environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long it may take to be ready, milliseconds; after that it is ended. Infinity: no limit. */
  readonly readyMs: number;
  /** Cancels the start: the child is ended. */
  readonly signal?: AbortSignal;
  /** Called at once with each piece of the child's error output. It is in the outcome as well. */
  readonly onText?: (text: string) => void;
}

/**
 * Starts this program as a daemon. Resolves when it is ready, has failed or is late (then it has been ended).
 * Rejects with OperatingError if it cannot be started at all.
 */
export async function startDaemon(clock: Clock, options: DaemonOptions): Promise<DaemonStart> {
  keepDescriptorsFromChildren();
  const { program, args } = selfCommand();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args: [...args, ...options.args],
      cwd: options.folder ?? START_FOLDER,
      env: { ...options.env, [VARIABLE]: "starting" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
  } catch (error) {
    throw new OperatingError(`Cannot start ${program}: ${errorText(error)}`, { cause: error });
  }
  // A daemon outlives this process and must not keep it running; only its pipes do, until they end.
  child.unref();
  const { pid } = child;
  const out = collect(child.stdout, READY.length * 2);
  const err = collect(child.stderr, TEXT_MAX, options.onText);
  const { promise: tooLong, resolve } = Promise.withResolvers<"late">();
  const disarm = clock.arm(clock.monoMs() + Math.min(options.readyMs, 2 ** 40), () => resolve("late"));
  const onAbort = () => resolve("late");
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const ended = Promise.all([out.ended, err.ended]);
    const first = await Promise.race([out.seen(READY), ended, tooLong]);
    if (first !== "late" && out.text().endsWith(READY)) {
      // The child closes its streams right after READY. They stay open if the system does not list its copies
      // of them.
      await Promise.race([ended, clock.sleep(CLOSE_MS)]);
      return { kind: "ready", pid };
    }
    if (first === "late") {
      await end(clock, child);
      return { kind: "late", pid, text: err.text() };
    }
    const { code, signal } = await child.status;
    return { kind: "failed", pid, code, signal, text: err.text() };
  } finally {
    disarm();
    options.signal?.removeEventListener("abort", onAbort);
    out.cancel();
    err.cancel();
  }
}

/**
 * Reports to the parent that this daemon is ready, and points the standard streams at /dev/null. Does nothing
 * if no parent waits.
 */
export function reportReady(): void {
  if (stage !== "starting") return;
  stage = "running";
  try {
    const bytes = new TextEncoder().encode(READY);
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch {
    // The parent was killed while it waited; the daemon goes on.
  }
  closeStandardStreams();
}

/**
 * Starts this program again under the same pid with the same arguments, folder and environment. If the
 * program is a single file, that is the build that now lies at its path. Never returns; throws OperatingError
 * on failure.
 */
export function restartInPlace(): never {
  if (stage !== "none") Deno.env.set(VARIABLE, stage);
  const path = selfPath();
  if (path !== null && isFile(path)) return execProgram(path, Deno.args, START_FOLDER);
  const self = selfCommand();
  return execProgram(self.program, [...self.args, ...Deno.args], START_FOLDER);
}

/**
 * Starts this program again under the same pid with the same arguments and environment, but another
 * configuration of the runtime; null: the program's own. Never returns; throws OperatingError on failure.
 */
export function restartUnder(config: string | null): never {
  if (stage !== "none") Deno.env.set(VARIABLE, stage);
  useProject(config);
  const { program, args } = selfCommand();
  return execProgram(program, [...args, ...Deno.args], START_FOLDER);
}

/**
 * Replaces this process by the runtime, which runs a user's program or tests, or checks their types, under
 * the current configuration. Never returns: throws UsageError in a compiled program, which has no runtime,
 * and OperatingError on failure.
 */
export function becomeUserProgram(
  kind: "run" | "test" | "check",
  words: readonly string[],
  { hasColor = true }: { readonly hasColor?: boolean } = {},
): never {
  if (Deno.build.standalone) {
    throw new UsageError(
      `Cannot ${kind} programs: this build can only run tasks${
        kind === "check" ? "; npx tsc checks types" : ""
      }`,
    );
  }
  // The runtime colours its errors even if standard error is not a terminal.
  if (!hasColor || !Deno.stderr.isTerminal()) Deno.env.set("NO_COLOR", "1");
  const packed = packedFolder();
  const flags = [
    ...(kind === "check" ? [] : ["-A"]),
    "--quiet",
    ...(kind === "run" ? ["--no-prompt"] : kind === "test" ? ["--no-check"] : []),
    ...configurationFlags(),
  ];
  return execProgram(
    packed === null ? Deno.execPath() : `${packed}/deno`,
    [kind, ...flags, ...words],
    Deno.cwd(),
  );
}

async function end(clock: Clock, child: Deno.ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  kill(child, "SIGTERM");
  const disarm = clock.arm(clock.monoMs() + END_MS, () => {
    kill(child, "SIGKILL");
    resolve();
  });
  await Promise.race([child.status, promise]);
  disarm();
  await child.status;
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended already.
  }
}

/** Reads a stream to its end and keeps its last `max` characters. */
function collect(stream: ReadableStream<Uint8Array>, max: number, onChunk?: (text: string) => void) {
  let kept = "";
  let onText = () => {};
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  const read = async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const text = decoder.decode(value, { stream: true });
      kept = (kept + text).slice(-max);
      onChunk?.(text);
      onText();
    }
  };
  return {
    text: () => kept,
    /** Resolves when the text ends with `mark`. */
    seen: (mark: string) => new Promise<void>((resolve) => onText = () => kept.endsWith(mark) && resolve()),
    ended: read().catch(() => {}),
    cancel: () => void reader.cancel().catch(() => {}),
  };
}
