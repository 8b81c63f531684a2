/**
 * Child processes, and this program started again.
 *
 * The program runs in one of three forms: compiled (`deno compile`: the executable is the program), packed (the
 * self-extracting executable: the runtime runs the bundled main.js from its cache folder) or from source
 * (`deno run main.ts`). `selfCommand` is the one place that knows them apart.
 */

import type { ChildProcess, Spawner, SpawnOptions } from "../base/mod.ts";

/** True in the bundled program, where modules lie side by side as .js files. */
export const IS_BUNDLED = import.meta.url.endsWith(".js");

/** The URL of a module of ours by its name in the bundle and its path from lib/ in the source. */
export function moduleUrl(bundled: string, fromLib: string): URL {
  return IS_BUNDLED ? new URL(`./${bundled}`, import.meta.url) : new URL(`../${fromLib}`, import.meta.url);
}

/** The program and leading arguments that start this program again. */
export function selfCommand(): { program: string; args: string[] } {
  if (Deno.build.standalone) return { program: Deno.execPath(), args: [] };
  const main = moduleUrl("main.js", "../main.ts");
  const config = moduleUrl("deno.json", "../deno.json");
  return {
    program: Deno.execPath(),
    args: ["run", "-A", "--quiet", "--no-prompt", "--config", config.pathname, main.href],
  };
}

/** What a person types to run this program: the packed file itself, the compiled one, or null under `deno run`. */
export function selfPath(): string | null {
  const packed = Deno.env.get("LOVAGE_SELF");
  if (packed) return packed;
  return Deno.build.standalone ? Deno.execPath() : null;
}

/** The real Spawner. */
export function realSpawner(): Spawner {
  const spawn = (program: string, options: SpawnOptions): ChildProcess => {
    const child = new Deno.Command(program, {
      args: [...options.args],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
      clearEnv: options.clearEnv ?? false,
      stdin: options.stdin ?? "null",
      stdout: options.stdout ?? "null",
      stderr: options.stderr ?? "null",
      detached: options.detached ?? false,
    }).spawn();
    if (options.detached) child.unref();
    return {
      pid: child.pid,
      ended: child.status.then(({ code, signal }) => ({ code, signal: signal ?? null })),
      stdin: options.stdin === "piped" ? child.stdin : null,
      stdout: options.stdout === "piped" ? child.stdout : null,
      stderr: options.stderr === "piped" ? child.stderr : null,
      kill(signal) {
        try {
          child.kill(signal);
        } catch {
          // It has ended already.
        }
      },
    };
  };
  return {
    spawn,
    spawnSelf(options) {
      const { program, args } = selfCommand();
      return spawn(program, { ...options, args: [...args, ...options.args] });
    },
  };
}
