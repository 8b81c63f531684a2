/**
 * The smoke test of a built file: `deno run -A .ci/smoke.ts dist/lovage`.
 *
 * From another folder, with a task module outside the tree: version and help, then a worker with a process pool on a
 * private Redis, and one on the embedded broker, run a task of that module whose "lovage" must be the running program's.
 */

import { startRedis } from "../tests/support/servers.ts";
import { eventually } from "../tests/support/ports.ts";

const program = await Deno.realPath(Deno.args[0]!);
const folder = await Deno.makeTempDir({ prefix: "lovage-smoke-" });
const env = { NO_COLOR: "1", LOVAGE_HOME: `${folder}/home` };
const module = `
import { App } from "lovage";
export const app = new App("smoke");
const Same: unknown = App;
export const same = app.task("smoke.same", async () => (await import("lovage")).App === Same && app instanceof App);
export const add = app.task("smoke.add", (x: number, y: number) => x + y);
export const pid = app.task("smoke.pid", () => Deno.pid);
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
      const pid = await run("-A", "tasks.ts", ...at, "call", "--wait", "smoke.pid");
      expect(Number(pid) !== worker.pid, "the task runs in a child process");
      worker.kill("SIGTERM");
      const { code } = await worker.status;
      expect(code === 0, `the worker ended with ${code}`);
      await eventually(() => !isAlive(Number(pid)), "the child has ended");
    } finally {
      try {
        worker.kill("SIGKILL");
      } catch {
        // it has ended
      }
    }
    console.log(
      `smoke: ${broker === null ? "embedded broker" : "Redis"}, process pool, module outside the tree: ok`,
    );
  }
} finally {
  await redis.stop();
  await Deno.remove(folder, { recursive: true });
}

/** Runs the built file; its trimmed output. */
async function run(...args: string[]): Promise<string> {
  const child = new Deno.Command(program, { args, cwd: folder, env, stdout: "piped", stderr: "piped" })
    .spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const text = new TextDecoder().decode(stdout).trim();
  expect(
    code === 0,
    `lovage ${args.join(" ")} ended with ${code}: ${text} ${new TextDecoder().decode(stderr)}`,
  );
  return text;
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
  console.error(`smoke: ${what}`);
  Deno.exit(1);
}
