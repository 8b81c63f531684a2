/**
 * The smoke test of a built file: `deno run -A .ci/smoke.ts dist/lovage`.
 *
 * Runs in another folder, with a task module outside the tree: checks version and help; then a worker with a
 * process pool on a private Redis, and one on the embedded broker, run a task of that module, whose "lovage"
 * must be the running program's. Then the unpacked copy of a packed file is removed while the worker runs,
 * and the next slot must start.
 */

import { startRedis } from "../tests/support/servers.ts";
import { eventually } from "../tests/support/ports.ts";
import { isFolder } from "./commands.ts";

const program = await Deno.realPath(Deno.args[0]!);
const folder = await Deno.makeTempDir({ prefix: "lovage smoke é%41 " });
const env = { NO_COLOR: "1", LOVAGE_HOME: `${folder}/home #?*`, LOVAGE_CACHE: `${folder}/cache #?*` };
const module = `
import { App } from "lovage";
export const app = new App("smoke");
const Same: unknown = App;
export const same = app.task("smoke.same", async () => (await import("lovage")).App === Same && app instanceof App);
export const add = app.task("smoke.add", (x: number, y: number) => x + y);
export const pid = app.task("smoke.pid", () => Deno.pid);
export const fail = app.task("smoke.fail", function fails() { throw new Error("on purpose"); });
`;

await Deno.writeTextFile(`${folder}/tasks.ts`, module);
const redis = await startRedis();
try {
  const version = await run("--version");
  expect(/^\d+\.\d+\.\d+/.test(version), `--version says ${version}`);
  expect((await run("--help")).includes("worker"), "--help lists the commands");
  for (const broker of [redis.url(0), null]) {
    const at = broker === null ? [] : ["-b", broker, "--result-backend", broker];
    const worker = new Deno.Command(program, {
      args: ["-A", "tasks.ts", ...at, "worker", "-P", "processes", "-c", "2", "-l", "INFO"],
      cwd: folder,
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      expect(
        await run("-A", "tasks.ts", ...at, "call", "--wait", "smoke.add", "-a", "[2, 3]") === "5",
        "2 + 3",
      );
      expect(
        await run("-A", "tasks.ts", ...at, "call", "--wait", "smoke.same") === "true",
        "one library instance",
      );
      const failed = await run("-A", "tasks.ts", ...at, "call", "smoke.fail");
      const { text } = await output(
        "-A",
        "tasks.ts",
        ...at,
        "result",
        "--traceback",
        "--timeout",
        "20",
        failed,
      );
      const frames = text.split("\n").filter((line) => /^ +File /.test(line));
      expect(
        frames.length === 1 && /tasks\.ts.* in fails$/.test(frames[0]!),
        `frames of the user alone: ${text}`,
      );
      const pid = await run("-A", "tasks.ts", ...at, "call", "--wait", "smoke.pid");
      expect(Number(pid) !== worker.pid, "the task runs in a child process");
      let last = Number(pid);
      if (broker === null && isFolder(env.LOVAGE_CACHE)) {
        await Deno.remove(env.LOVAGE_CACHE, { recursive: true });
        for (const one of await slotsOf(worker.pid)) Deno.kill(one, "SIGKILL");
        last = Number(await run("-A", "tasks.ts", "call", "--wait", "smoke.pid"));
        expect(last !== Number(pid), "a slot starts although the unpacked copy was removed");
      }
      worker.kill("SIGTERM");
      const { code } = await worker.status;
      expect(code === 0, `the worker ended with ${code}`);
      await eventually(() => !isAlive(last), "the child has ended");
    } finally {
      const slots = await slotsOf(worker.pid).catch(() => []);
      try {
        worker.kill("SIGKILL");
      } catch {
        // it has ended
      }
      await worker.status;
      for (const one of slots) await eventually(() => !isAlive(one), "the slots have ended");
    }
    console.log(
      `smoke: ${broker === null ? "embedded broker" : "Redis"}, process pool, module outside the tree: ok`,
    );
  }
} finally {
  await redis.stop();
  // A process that was just killed may still write a last file.
  await eventually(
    () => Deno.remove(folder, { recursive: true }).then(() => true, () => !isFolder(folder)),
    "cleared",
  );
}

/** Runs the built file, which must exit with 0, and returns its trimmed output. */
async function run(...args: string[]): Promise<string> {
  const { code, text, errors } = await output(...args);
  expect(code === 0, `lovage ${args.join(" ")} ended with ${code}: ${text} ${errors}`);
  return text;
}

async function output(...args: string[]): Promise<{ code: number; text: string; errors: string }> {
  const child = new Deno.Command(program, { args, cwd: folder, env, stdout: "piped", stderr: "piped" })
    .spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout).trim(), errors: decoder.decode(stderr) };
}

/** Returns the processes that a worker has started. */
async function slotsOf(pid: number): Promise<number[]> {
  return (await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`)).trim().split(" ").filter(Boolean).map(
    Number,
  );
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z/.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

function expect(condition: boolean, what: string): void {
  if (condition) return;
  throw new Error(`smoke: ${what}`);
}
