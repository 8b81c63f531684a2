/**
 * A daemon's two sides: the parent that starts this program again in a session of its own and waits until that is
 * ready or has failed, and the child that tells.
 *
 *     parent ── setsid, stdin null, stdout and stderr pipes ──► child      LOVAGE_DAEMON=starting
 *     parent ◄─────────────── its errors, as text ───────────── child
 *     parent ◄───── READY on stdout, then both pipes end ────── child      its streams are /dev/null from here on
 *
 * A child that ends before READY has failed: its text and status are the outcome. The parent returns only then.
 *
 * Source: celery 5.2.6 platforms.py DaemonContext, bin/worker.py detach (which returns before anything is known).
 */

import { type Clock, errorText, OperatingError, UsageError } from "../base/mod.ts";
import { closeStandardStreams, execProgram, keepDescriptorsFromChildren } from "./libc.ts";
import { configurationFlags, useProject } from "./configuration.ts";
import { packedFolder, selfPath } from "./form.ts";
import { isFile, selfCommand } from "./spawn.ts";

/** Tells the child what it is. */
const VARIABLE = "LOVAGE_DAEMON";
/** What the child says on its standard output; nothing that a banner or a user's module would print. */
const READY = "\x16\x06 lovage daemon ready \x06\x16\n";
/** The most text of a failing child that is kept, characters. */
const TEXT_MAX = 64 * 1024;
/** How long a child that is not ready in time has to end, milliseconds. */
const END_MS = 5000;

/** How long a child that is ready may take to let go of its streams, milliseconds. */
const CLOSE_MS = 500;

/** The folder this program was started in; where it starts again. */
export const START_FOLDER: string = Deno.cwd();

/** What this process is: no daemon, a daemon whose parent waits, or one whose parent has gone. */
export type DaemonStage = "none" | "starting" | "running";

// Read once and taken away: a program that a task starts is not a daemon of its own accord.
const given = Deno.env.get(VARIABLE);
let stage: DaemonStage = given === "starting" || given === "running" ? given : "none";
if (given !== undefined) Deno.env.delete(VARIABLE);

/** What this process is. */
export function daemonStage(): DaemonStage {
  return stage;
}

/** What became of a daemon's start. `text` is what it had to say, masked and cut by itself. */
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

/** How to start a daemon. */
export interface DaemonOptions {
  /** The command line without the program. */
  readonly args: readonly string[];
  readonly folder?: string;
  /** Added to our environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long it may take to be ready, milliseconds; then it is ended. Infinity waits for ever. */
  readonly readyMs: number;
  /** Ends the start: the child is told to stop. */
  readonly signal?: AbortSignal;
  /** Hears at once what the child says of its errors; else that is in the outcome alone. */
  readonly onText?: (text: string) => void;
}

/**
 * Starts this program as a daemon; resolves when it is ready, has failed or is late (then it has been ended). Throws
 * OperatingError where it cannot be started at all.
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
  // A daemon that outlives us must not keep us; its pipes do until they end.
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
      // Its streams end with the next thing it does; where the system shows no copies of them, not at all.
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

/** The child's word that it is ready. Its streams lead nowhere afterwards. Without a waiting parent: nothing. */
export function reportReady(): void {
  if (stage !== "starting") return;
  stage = "running";
  try {
    const bytes = new TextEncoder().encode(READY);
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch {
    // The parent was killed while it waited: the daemon is ready all the same.
  }
  closeStandardStreams();
}

/**
 * Starts this program again under the same pid with the same arguments, folder and environment: the newest build of
 * it, where it is one file. Returns only by throwing OperatingError.
 */
export function restartInPlace(): never {
  if (stage !== "none") Deno.env.set(VARIABLE, stage);
  const path = selfPath();
  if (path !== null && isFile(path)) return execProgram(path, Deno.args, START_FOLDER);
  const self = selfCommand();
  return execProgram(self.program, [...self.args, ...Deno.args], START_FOLDER);
}

/**
 * Starts this program again under the same pid, with the same arguments and environment, and another configuration of
 * the runtime; null: its own. Returns only by throwing OperatingError.
 */
export function restartUnder(config: string | null): never {
  if (stage !== "none") Deno.env.set(VARIABLE, stage);
  useProject(config);
  const { program, args } = selfCommand();
  return execProgram(program, [...args, ...Deno.args], START_FOLDER);
}

/**
 * Has the runtime run a program or tests of the user's in this process, or check their types, under this program's
 * configuration or the project's. Returns only by throwing: UsageError in a compiled program, which has no runtime to
 * hand over to.
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
  // The runtime colours its errors whatever standard error is.
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

/** Reads a stream to its end, keeping its last `max` characters. */
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
