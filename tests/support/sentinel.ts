/** A sentinel for one test, on a free port of 127.0.0.1; ended with the test. */

import { eventually, freePort } from "./ports.ts";
import { runProgram } from "./run.ts";

/** A redis-server that watches a master. */
export interface Sentinel extends AsyncDisposable {
  readonly port: number;
  /** Returns `INFO sentinel`. */
  info(): Promise<string>;
}

/**
 * Starts a sentinel for the master with this name and port; resolves when it responds. `conf`: more lines of
 * its configuration.
 */
export async function startSentinel(
  master: { readonly name: string; readonly port: number },
  conf: readonly string[] = [],
): Promise<Sentinel> {
  const folder = await Deno.makeTempDir({ prefix: "lovage-sentinel-" });
  const port = freePort();
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${folder}`,
    `sentinel monitor ${master.name} 127.0.0.1 ${master.port} 1`,
    ...conf,
  ];
  await Deno.writeTextFile(`${folder}/sentinel.conf`, lines.join("\n") + "\n");
  const child = new Deno.Command("redis-server", {
    args: [`${folder}/sentinel.conf`, "--sentinel"],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const sentinel: Sentinel = {
    port,
    info: async () => (await runProgram(["redis-cli", "-p", String(port), "info", "sentinel"])).out,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
      await Deno.remove(folder, { recursive: true });
    },
  };
  try {
    await eventually(async () => /status=ok|NOAUTH/.test(await sentinel.info()), "the sentinel answers");
  } catch (error) {
    await sentinel[Symbol.asyncDispose]();
    throw error;
  }
  return sentinel;
}
