/** Starts the programs of the benches: workers until they are stopped, and commands to their end. */

import { filePath } from "../lib/base/mod.ts";

const PEERS = filePath(new URL("./peers", import.meta.url));

/** Starts a worker; its output is discarded, or shown if BENCH_LOG is set. */
export function start(argv: readonly string[], env: Record<string, string>): Deno.ChildProcess {
  return new Deno.Command(argv[0]!, {
    args: argv.slice(1),
    env,
    cwd: PEERS,
    stdin: "null",
    stdout: "null",
    stderr: Deno.env.get("BENCH_LOG") ? "inherit" : "null",
  }).spawn();
}

/** Stops a worker, and kills it after 5 s. */
export async function stop(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGTERM");
  } catch {
    // It has already ended.
  }
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await child.status;
  clearTimeout(timer);
}

/** Installs the peers from npm into a folder, if they are missing. */
export async function installPeers(modules: string): Promise<void> {
  try {
    await Deno.stat(`${modules}/node_modules/bullmq`);
  } catch {
    console.log("Fetching BullMQ and celery.node ...");
    await Deno.mkdir(modules, { recursive: true });
    const quiet = ["--no-save", "--no-audit", "--no-fund"];
    // BullMQ needs its client installed next to it.
    const peers = ["bullmq@6", "ioredis@5", "celery-node"];
    await output(["npm", "install", "--prefix", modules, ...quiet, ...peers], {});
  }
}

/** Runs a command and returns its trimmed output. Throws with its error output if it fails. */
export async function output(argv: readonly string[], env: Record<string, string>): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(argv[0]!, { args: argv.slice(1), env }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(`${argv.join(" ")}: ${text(stderr)}`);
  return text(stdout);
}

/**
 * Returns how many results of `n` tasks exist. `call` sends a Redis command. The database also has a few keys
 * of the worker. The exact count scans all keys and takes milliseconds of Redis's time, so it is made only
 * near the end.
 */
export async function finishedOf(n: number, call: (...words: string[]) => Promise<unknown>): Promise<number> {
  const keys = Number(await call("DBSIZE"));
  return keys < n ? Math.max(0, keys - 16) : await resultCount(call);
}

/** Returns the exact count. */
export async function resultCount(call: (...words: string[]) => Promise<unknown>): Promise<number> {
  return Number(await call("EVAL", "return #redis.call('KEYS', 'celery-task-meta-*')", "0"));
}
