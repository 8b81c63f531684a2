/** Child processes, and this program started again, whatever its form (form.ts). */

import {
  type ChildProcess,
  OperatingError,
  type SelfOptions,
  type Spawner,
  type SpawnOptions,
} from "../base/mod.ts";
import { configurationFlags, currentProject, restoreProject } from "./configuration.ts";
import { moduleUrl, packedFolder, selfPath } from "./form.ts";

/**
 * How V8 is set up in every isolate of ours, worker and slots alike: what V8 has compiled is kept for the next
 * start, and it takes only what was compiled under the same flags. Where slots had flags of their own, both kept
 * replacing what the other had left, and every start compiled everything (a process pool began 35 ms later).
 *
 * The heap: garbage of a busy queue is young and goes early, so a small young generation and a heap that grows by less
 * than V8's default keep the resident size near what is alive (a solo worker after 200,000 tasks: 95 MiB instead of
 * 175). The young generation must hold some windows of messages (worker/lane/window.ts ADAPTIVE_MAX), or they outlive
 * their youth and are collected at a multiple of the cost; and the heap is not looked through as a whole before it
 * has the size that a busy worker's has anyway (a chord of 10,000 is done 14 per cent earlier).
 *
 * The compilers: a worker's code is wide and flat, and the optimising compiler takes more time for it, on cores that
 * the tasks could have, than its code saves: a function is given to it later (20,000 tasks drain 15 per cent faster,
 * 200,000 in one isolate 20 per cent). Loops that run long are found as early as ever.
 *
 * For slots, of which there are many: an isolate gets no copy of V8's builtins beside its own code (2 MiB of resident
 * memory each, for calls that are a little shorter), and `gc` is there to measure and to shrink them (sandbox.ts).
 */
export const V8_FLAGS =
  "--v8-flags=--max-semi-space-size=8,--initial-heap-size=64,--heap-growing-percent=50," +
  "--invocation-count-for-turbofan=100000,--no-short-builtin-calls,--expose-gc";

/** Starts a program that the kernel ends with its parent; part of util-linux, so everywhere Debian is. */
const SETPRIV = "/usr/bin/setpriv";

/** The program and leading arguments that start this program again, or a slot of it. */
export function selfCommand(
  { isSlot, isLazy }: Pick<SelfOptions, "isSlot" | "isLazy"> = {},
): { program: string; args: string[] } {
  if (Deno.build.standalone) return { program: Deno.execPath(), args: [] };
  const packed = packedFolder();
  if (packed !== null && isCopyBroken(packed)) {
    // The packed file unpacks itself again. Another version in its place would not understand this one: it says so.
    const self = selfPath()!;
    if (!isFile(self)) {
      const why = `"${packed}" and "${self}" were removed; install the program again and restart it`;
      throw new OperatingError(`Cannot start a process of this program: ${why}`);
    }
    restoreProject();
    const version = `LOVAGE_COPY=${packed.slice(packed.lastIndexOf("/") + 1)}`;
    return { program: "/usr/bin/env", args: [version, `LOVAGE_CONFIG=${currentProject() ?? ""}`, self] };
  }
  const main = isSlot
    ? moduleUrl("child_main.js", "pool/child/child_main.ts")
    : moduleUrl("main.js", "../main.ts");
  const args = ["run", "-A", "--quiet", "--no-prompt", V8_FLAGS];
  if (isLazy) args.push("--unstable-lazy-dynamic-imports");
  args.push(...configurationFlags(), main.href);
  // Not Deno.execPath(): a runtime that was unpacked again lies at the same path, but is another file.
  return { program: packed === null ? Deno.execPath() : `${packed}/deno`, args };
}

/** Whether there is a file at a path. */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** How many files the copy had when it was first looked at, shortly after the stub had found it whole. */
let filesOfCopy: number | null = null;

/** Whether something was removed from the unpacked copy since this process began. */
function isCopyBroken(folder: string): boolean {
  let files = 0;
  try {
    for (const _ of Deno.readDirSync(folder)) files++;
  } catch {
    return true; // it is gone
  }
  return files < (filesOfCopy ??= files);
}

/** The real Spawner. */
export function realSpawner(): Spawner {
  const spawn = (program: string, options: SpawnOptions): ChildProcess => {
    const diesWithParent = options.diesWithParent === true && canTieToParent();
    const child = new Deno.Command(diesWithParent ? SETPRIV : program, {
      args: diesWithParent ? ["--pdeathsig", "KILL", "--", program, ...options.args] : [...options.args],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
      clearEnv: options.clearEnv ?? false,
      stdin: options.stdin ?? "null",
      stdout: options.stdout ?? "null",
      stderr: options.stderr ?? "null",
      detached: options.detached || options.ownGroup || options.ownSession || false,
    }).spawn();
    if (options.detached) child.unref();
    return {
      pid: child.pid,
      diesWithParent,
      ended: child.status.then(({ code, signal }) => ({ code, signal: signal ?? null })),
      stdin: options.stdin === "piped" ? child.stdin : null,
      stdout: options.stdout === "piped" ? child.stdout : null,
      stderr: options.stderr === "piped" ? child.stderr : null,
      kill(signal) {
        try {
          if (options.ownGroup) Deno.kill(-child.pid, signal);
          else child.kill(signal);
        } catch {
          // It has ended already.
        }
      },
    };
  };
  return {
    spawn,
    spawnSelf(options) {
      const { program, args } = selfCommand(options);
      return spawn(program, { ...options, args: [...args, ...options.args] });
    },
    killGroup(pid) {
      try {
        Deno.kill(-pid, "SIGKILL");
      } catch {
        // It has ended already.
      }
    },
  };
}

let tiesToParent: boolean | null = null;

/** Whether children can be tied to us: on Linux with setpriv at hand. */
function canTieToParent(): boolean {
  if (tiesToParent !== null) return tiesToParent;
  try {
    tiesToParent = Deno.build.os === "linux" && Deno.statSync(SETPRIV).isFile;
  } catch {
    tiesToParent = false; // not installed
  }
  return tiesToParent;
}
