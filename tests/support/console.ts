/** `lovage ui` as a program of a test. */

import { environment, LOVAGE, type Place, Program } from "./programs.ts";
import { freePort } from "./ports.ts";
import { filePath } from "../../lib/base/mod.ts";

/** The task module that console tests use. */
export const SHOP = filePath(new URL("./shop.ts", import.meta.url));

/** A console that runs. */
export interface TestConsole extends AsyncDisposable {
  /** Where it is, without a slash at the end, with its prefix. */
  readonly url: string;
  readonly program: Program;
  /** What GET /api/v1/PATH answers. */
  api<T>(path: string): Promise<T>;
}

/** Starts `lovage ui` with some more arguments, and waits until it answers. */
export async function startConsole(
  place: Place,
  { args = [], prefix = "" }: { args?: readonly string[]; prefix?: string } = {},
): Promise<TestConsole> {
  const port = freePort();
  const argv = [...LOVAGE, "-A", SHOP, "ui", "--port", String(port), "--no-history", ...args];
  if (prefix !== "") argv.push("--url-prefix", prefix);
  const program = new Program(argv, environment(place));
  await program.says(/Console: http/);
  const url = `http://127.0.0.1:${port}${prefix}`;
  return {
    url,
    program,
    async api(path) {
      const response = await fetch(`${url}/api/v1/${path}`);
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
      return await response.json();
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}
