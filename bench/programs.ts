/** Programs that the benches start: workers that run until told to end, and commands that run to their end. */

import { filePath } from "../lib/base/mod.ts";

const PEERS = filePath(new URL("./peers", import.meta.url));

/** Starts a worker; what it says is thrown away, or shown where BENCH_LOG is set. */
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

/** Asks a worker to end, and after 5 s makes it. */
export async function stop(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGTERM");
  } catch {
    // ended by itself
  }
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  await child.status;
  clearTimeout(timer);
}

/** Installs the peers that npm has into a folder, if they are not there yet. */
export async function installPeers(modules: string): Promise<void> {
  try {
    await Deno.stat(`${modules}/node_modules/bullmq`);
  } catch {
    console.log("Fetching BullMQ and celery.node ...");
    await Deno.mkdir(modules, { recursive: true });
    const quiet = ["--no-save", "--no-audit", "--no-fund"];
    // BullMQ takes its client from whoever uses it.
    const peers = ["bullmq@6", "ioredis@5", "celery-node"];
    await output(["npm", "install", "--prefix", modules, ...quiet, ...peers], {});
  }
}

/** Runs a command; its trimmed output. Throws with its error output where it fails. */
export async function output(argv: readonly string[], env: Record<string, string>): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(argv[0]!, { args: argv.slice(1), env }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(`${argv.join(" ")}: ${text(stderr)}`);
  return text(stdout);
}

/**
 * How many results of `n` tasks are there, of which `call` asks Redis. The worker has a few keys beside them; the exact
 * count goes through all keys and takes milliseconds of Redis's time that the worker would have, so it is asked for at
 * the end alone.
 */
export async function finishedOf(n: number, call: (...words: string[]) => Promise<unknown>): Promise<number> {
  const keys = Number(await call("DBSIZE"));
  return keys < n ? Math.max(0, keys - 16) : await resultCount(call);
}

/** The exact count. */
export async function resultCount(call: (...words: string[]) => Promise<unknown>): Promise<number> {
  return Number(await call("EVAL", "return #redis.call('KEYS', 'celery-task-meta-*')", "0"));
}
