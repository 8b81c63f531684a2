/** Starts child processes, and this program again in each of its forms (form.ts). */

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
 * The flags of V8 in all our isolates, worker and slots alike. V8 keeps compiled code for the next start and
 * uses only code that was compiled under the same flags. When slots had flags of their own, worker and slots
 * kept replacing each other's code, and every start compiled everything (a process pool started 35 ms later).
 *
 * The heap: objects of a busy queue die young, so a small young generation and a heap that grows by less than
 * V8's default keep the resident size near the size of live objects (a solo worker after 200,000 tasks: 95
 * MiB instead of 175). The young generation must hold a few windows of messages (worker/lane/window.ts
 * ADAPTIVE_MAX), or they are promoted and collected at a multiple of the cost. The first full collection
 * comes only when the heap has the size that a busy worker reaches anyway (a chord of 10,000 is done 14 per
 * cent earlier).
 *
 * The compilers: a worker's code is wide and flat. The optimising compiler spends more time on it, on cores
 * that tasks could use, than its code saves. So a function is optimised after more calls (20,000 tasks drain
 * 15 per cent faster, 200,000 in one isolate 20 per cent). Long loops are still optimised early.
 *
 * The slots, of which there are many: an isolate does not copy V8's builtins next to its own code (2 MiB of
 * resident memory each, for slightly shorter calls), and `gc` serves to measure and shrink isolates
 * (sandbox.ts).
 */
export const V8_FLAGS =
  "--v8-flags=--max-semi-space-size=8,--initial-heap-size=64,--heap-growing-percent=50," +
  "--invocation-count-for-turbofan=100000,--no-short-builtin-calls,--expose-gc";

/**
 * Starts a program that the kernel kills when its parent dies. Part of util-linux, so on every Debian system.
 */
const SETPRIV = "/usr/bin/setpriv";

/**
 * Returns the program and leading arguments that start this program again, or a slot of it. Throws
 * OperatingError if both the unpacked copy and the packed file were removed.
 */
export function selfCommand(
  { isSlot, isLazy }: Pick<SelfOptions, "isSlot" | "isLazy"> = {},
): { program: string; args: string[] } {
  if (Deno.build.standalone) return { program: Deno.execPath(), args: [] };
  const packed = packedFolder();
  if (packed !== null && isCopyBroken(packed)) {
    // The packed file unpacks itself again. LOVAGE_COPY makes another version at its path fail with a
    // message, since it would not understand this one.
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
  // Not Deno.execPath(): after unpacking again, the runtime at this path is another file.
  return { program: packed === null ? Deno.execPath() : `${packed}/deno`, args };
}

/** Returns true if a regular file is at the path. */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The number of files in the copy at the first check, shortly after the stub had found it complete. */
let filesOfCopy: number | null = null;

/** Returns true if a file was removed from the unpacked copy since the first check. */
function isCopyBroken(folder: string): boolean {
  let files = 0;
  try {
    for (const _ of Deno.readDirSync(folder)) files++;
  } catch {
    return true; // it was removed
  }
  return files < (filesOfCopy ??= files);
}

/** Returns the real Spawner. */
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

/** Returns true if the system can kill children when this process dies: on Linux with setpriv. */
function canTieToParent(): boolean {
  if (tiesToParent !== null) return tiesToParent;
  try {
    tiesToParent = Deno.build.os === "linux" && Deno.statSync(SETPRIV).isFile;
  } catch {
    tiesToParent = false; // not installed
  }
  return tiesToParent;
}
