/**
 * Child processes through node:child_process, for programs that give passwords and for commands of a
 * manifest.
 */

import { type ChildProcess, OperatingError, type Spawner } from "../../base/mod.ts";

/**
 * Returns a Spawner on node:child_process. It cannot start this program again: `spawnSelf` throws
 * OperatingError.
 */
export function nodeSpawner(): Spawner {
  return {
    spawn(program, options): ChildProcess {
      const { spawn } = process.getBuiltinModule("node:child_process");
      const { Readable, Writable } = process.getBuiltinModule("node:stream");
      const how = (given: "piped" | "null" | "inherit" | undefined) =>
        given === "piped" ? "pipe" : given === "inherit" ? "inherit" : "ignore";
      const child = spawn(program, [...options.args], {
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        env: { ...(options.clearEnv ? {} : process.env), ...options.env },
        stdio: [how(options.stdin), how(options.stdout), how(options.stderr)],
        detached: options.detached || options.ownGroup || options.ownSession || false,
      });
      if (options.detached) child.unref();
      const ended = new Promise<{ code: number; signal: string | null }>((resolve) => {
        child.once("error", () => resolve({ code: 127, signal: null }));
        child.once("exit", (code, signal) => resolve({ code: code ?? 1, signal }));
      });
      return {
        pid: child.pid ?? 0,
        ended,
        stdin: child.stdin === null ? null : Writable.toWeb(child.stdin) as WritableStream<Uint8Array>,
        stdout: child.stdout === null ? null : Readable.toWeb(child.stdout) as ReadableStream<Uint8Array>,
        stderr: child.stderr === null ? null : Readable.toWeb(child.stderr) as ReadableStream<Uint8Array>,
        kill(signal) {
          try {
            if (options.ownGroup && child.pid !== undefined) process.kill(-child.pid, signal);
            else child.kill(signal as "SIGTERM");
          } catch {
            // It has ended already.
          }
        },
      };
    },
    spawnSelf(): never {
      throw new OperatingError(
        'Cannot start a worker: it is not part of the npm package\'s library; the program "lovage" has it',
      );
    },
  };
}
