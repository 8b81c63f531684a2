/**
 * `make run`: a census of a directory, one task per file, on the embedded broker.
 *
 * Starts a worker with a process pool, sends a task for every file, collects the answers into a table and stops the
 * worker. Broker and results are one SQLite file in a temporary folder: no server, and nothing is left behind.
 */

import { filePath } from "../../lib/base/mod.ts";

const folder = await Deno.realPath(Deno.args[0] ?? ".");
const home = await Deno.makeTempDir({ prefix: "lovage-census-" });
Deno.env.set("LOVAGE_HOME", home);
const { app, count } = await import("./tasks.ts");
const tasks = filePath(new URL("./tasks.ts", import.meta.url));
const main = filePath(new URL("../../main.ts", import.meta.url));
const config = filePath(new URL("../../deno.json", import.meta.url));

const paths = await filesOf(folder);
if (paths.length === 0) {
  console.error(`There is no file in ${folder}`);
  Deno.exit(1);
}
console.log(`Census of ${folder}: ${paths.length} files, one task each, on the embedded broker.`);
const worker = new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", "--quiet", "--config", config, main, "-A", tasks, "worker", "-l", "WARNING", "-q"],
  stdin: "null",
  stdout: "null",
}).spawn();
let isOver = false;
const early = worker.status.then(({ code }) => {
  if (!isOver) throw new Error(`The worker ended early with status ${code}`);
});
try {
  const began = performance.now();
  const results = await app.sendMany(paths.map((path) => ({ task: count.name, args: [folder, path] })));
  const counted = await Promise.race([app.ResultSet(results).join({ timeout: 300 }), early]);
  print(counted as Awaited<ReturnType<typeof count>>[], (performance.now() - began) / 1000);
} finally {
  isOver = true;
  worker.kill("SIGTERM");
  await worker.status;
  await app.close();
  await Deno.remove(home, { recursive: true });
}

/**
 * Returns the files below a folder: in a git checkout those in git, else all but hidden folders and
 * node_modules.
 */
async function filesOf(folder: string): Promise<string[]> {
  const git = await new Deno.Command("git", {
    args: ["-C", folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    stderr: "null",
  }).output().catch(() => null);
  if (git?.success) {
    const known = new TextDecoder().decode(git.stdout).split("\0").filter((path) => path !== "");
    const there = known.filter((path) => isFile(`${folder}/${path}`));
    if (there.length > 0) return there.sort();
  }
  const found: string[] = [];
  const walk = (below: string) => {
    for (const { name, isDirectory, isFile } of Deno.readDirSync(`${folder}/${below}`)) {
      if (isDirectory && !name.startsWith(".") && name !== "node_modules") walk(`${below}${name}/`);
      else if (isFile) found.push(`${below}${name}`);
    }
  };
  walk("");
  return found.sort();
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // deleted, but git still lists it
  }
}

/** Formats the table: a row per language, the totals, and the speed. */
function print(counted: Awaited<ReturnType<typeof count>>[], seconds: number): void {
  const rows = new Map<string, number[]>();
  const total = [0, 0, 0, 0];
  for (const { language, lines, words, bytes } of counted) {
    const row = rows.get(language) ?? [0, 0, 0, 0];
    rows.set(language, row);
    [1, lines, words, bytes].forEach((value, n) => {
      row[n]! += value;
      total[n]! += value;
    });
  }
  const line = (name: string, values: (number | string)[]) =>
    console.log(`  ${name.padEnd(12)}${values.map((value) => String(value).padStart(12)).join("")}`);
  console.log();
  line("language", ["files", "lines", "words", "bytes"]);
  for (const [language, row] of [...rows].sort(([, a], [, b]) => b[3]! - a[3]!)) line(language, row);
  line("total", total);
  const rate = Math.round(counted.length / seconds);
  console.log(
    `\n${counted.length} tasks in ${seconds.toFixed(2)} s, ${rate} tasks/s, worker start included.`,
  );
}
