/** `lovage ui` as a program of a test. */

import { environment, LOVAGE, type Place, Program } from "./programs.ts";
import { freePort } from "./ports.ts";
import { filePath } from "../../lib/base/mod.ts";

/** The task module that console tests use. */
export const SHOP = filePath(new URL("./shop.ts", import.meta.url));

/** A running console. */
export interface TestConsole extends AsyncDisposable {
  /** Its address with its prefix, without a slash at the end. */
  readonly url: string;
  readonly program: Program;
  /** Returns the response of GET /api/v1/PATH. */
  api<T>(path: string): Promise<T>;
}

/** Starts `lovage ui` with more arguments, and waits until it responds. */
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
