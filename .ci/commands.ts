/** Runs programs and writes files for builds. */

import { filePath } from "../lib/base/mod.ts";

/** The project's folder. */
const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");

/**
 * Runs a program and returns its output. Rejects with its whole output if it fails. `cwd`: default the
 * project's folder.
 */
export async function run(
  program: string,
  args: readonly string[],
  { cwd = root, env = {} }: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const [said, complained] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)) as [
    string,
    string,
  ];
  if (!success) throw new Error(`${program} ${args[0] ?? ""} failed:\n${said}${complained}`);
  return said;
}

/** Returns true if a folder is at a path. */
export function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Runs git in the project and returns its output; null without a repository. */
export async function gitText(...args: string[]): Promise<string | null> {
  try {
    return (await run("git", args)).trim();
  } catch {
    return null;
  }
}

/** Writes a file, and creates its folders. */
export async function write(path: string, text: string, mode = 0o644): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, text, { mode });
}
