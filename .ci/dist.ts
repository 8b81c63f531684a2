/**
 * `make dist`: builds dist/lovage, one file, and smokes it.
 *
 * Two ways to the one file (docs/architecture.md, "One file"):
 *   compiled  `deno compile`, where the runtime base it needs can be had (downloaded, or named in DENORT_BIN);
 *   packed    else a self-extracting executable: a shell stub, and behind it the deno binary and the bundled program,
 *             which it unpacks once into a versioned cache folder and runs from there.
 * Both are held to the same smoke test. LOVAGE_DIST=compiled|packed chooses one.
 */

import { V8_FLAGS } from "../lib/platform/mod.ts";

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const dist = `${root}/dist`;
const target = `${dist}/lovage`;
const wanted = Deno.env.get("LOVAGE_DIST") ?? "any";
/** The modules that are loaded by their own URL: the program, what users import, and where slots begin. */
const ENTRIES = ["main.ts", "lib/mod.ts", "lib/pool/child_main.ts", "lib/pool/child_thread.ts"];

await Deno.mkdir(dist, { recursive: true });
let how = "";
if (wanted !== "packed" && await compile()) how = "compiled";
else if (wanted !== "compiled") how = await pack();
if (how === "") fail("deno compile found no runtime base; LOVAGE_DIST=packed builds without one");
const { size } = await Deno.stat(target);
console.log(`dist/lovage: ${how}, ${(size / 2 ** 20).toFixed(0)} MiB`);
const smoke = await run(Deno.execPath(), ["run", "-A", "--quiet", `${root}/.ci/smoke.ts`, target]);
Deno.stdout.writeSync(smoke.stdout);
if (!smoke.success) fail(`the smoke test of dist/lovage failed:\n${text(smoke.stderr)}`);

/** Compiles with Deno's own base. False where none can be had: no download, none named. */
async function compile(): Promise<boolean> {
  const temporary = `${target}.new`;
  const args = ["compile", "-A", "--quiet", "--no-check", "--output", temporary];
  for (const entry of ENTRIES.slice(1)) args.push("--include", entry);
  const { success } = await run(Deno.execPath(), [...args, ENTRIES[0]!]);
  if (!success) {
    console.log("deno compile finds no runtime base here: packing instead");
    return false;
  }
  await Deno.rename(temporary, target);
  return true;
}

/** Bundles the program and packs it with the deno binary behind a shell stub. */
async function pack(): Promise<string> {
  const stage = await Deno.makeTempDir({ prefix: "lovage-dist-" });
  try {
    const program = `${stage}/lovage`;
    const bundle = await run(Deno.execPath(), [
      ...["bundle", "--quiet", "--platform", "deno", "--code-splitting", "--keep-names", "--minify"],
      ...["--outdir", program, ...ENTRIES],
    ]);
    if (!bundle.success) fail(`deno bundle failed:\n${text(bundle.stderr)}`);
    await flatten(program);
    await Deno.writeTextFile(`${program}/deno.json`, JSON.stringify(await packedConfig(), null, 2));
    await Deno.copyFile(await realDeno(), `${program}/deno`);
    await Deno.chmod(`${program}/deno`, 0o755);
    const archive = `${stage}/payload.tar.gz`;
    const tar = await run("tar", [
      "--sort=name",
      "--mtime=@0",
      "--owner=0",
      "--group=0",
      "-C",
      program,
      "-I",
      "gzip -6n",
      "-cf",
      archive,
      ".",
    ]);
    if (!tar.success) fail(`tar failed: ${text(tar.stderr)}`);
    const payload = await Deno.readFile(archive);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", payload));
    const mark = [...digest.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const stub = (await Deno.readTextFile(`${root}/.ci/dist_stub.sh`)).replaceAll("@MARK@", mark)
      .replace("@V8_FLAGS@", V8_FLAGS);
    const head = new TextEncoder().encode(stub);
    const file = new Uint8Array(head.length + payload.length);
    file.set(head);
    file.set(payload, head.length);
    await Deno.writeFile(`${target}.new`, file, { mode: 0o755 });
    await Deno.chmod(`${target}.new`, 0o755);
    await Deno.rename(`${target}.new`, target);
    return "packed (deno and the bundled program, self-extracting)";
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/**
 * Brings every module of the bundle into one folder under the name that platform/spawn.ts looks for (main.js,
 * lovage.js, child_main.js, child_thread.js), and gives CommonJS packages the `require` that their bundled form asks for.
 */
async function flatten(folder: string): Promise<void> {
  const moves = [
    ["lib/mod.js", "lovage.js"],
    ["lib/pool/child_main.js", "child_main.js"],
    ["lib/pool/child_thread.js", "child_thread.js"],
  ] as const;
  for (const [from, to] of moves) {
    const code = await Deno.readTextFile(`${folder}/${from}`);
    const up = "../".repeat(from.split("/").length - 1);
    await Deno.writeTextFile(`${folder}/${to}`, code.replaceAll(`"${up}`, `"./`));
  }
  await Deno.remove(`${folder}/lib`, { recursive: true });
  // Made by the first call: importing node:module here would take 20 ms of every start.
  const banner = "let __madeRequire;const require = (id) => " +
    '(__madeRequire ??= process.getBuiltinModule("node:module").createRequire(import.meta.url))(id);\n';
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".js")) continue;
    const code = await Deno.readTextFile(`${folder}/${name}`);
    if (code.includes("Dynamic require of")) await Deno.writeTextFile(`${folder}/${name}`, banner + code);
  }
}

/** The configuration that the packed program runs with: its import of "lovage" and the unstable features. */
async function packedConfig(): Promise<Record<string, unknown>> {
  const config = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  return {
    nodeModulesDir: "none",
    lock: false,
    unstable: config.unstable,
    imports: { lovage: "./lovage.js" },
  };
}

/** The deno binary itself: what npm puts on PATH may be a launcher script. */
async function realDeno(): Promise<string> {
  return await Deno.realPath(Deno.execPath());
}

function run(program: string, args: string[]): Promise<Deno.CommandOutput> {
  return new Deno.Command(program, { args, cwd: root, env: { NO_COLOR: "1" } }).output();
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function fail(why: string): never {
  console.error(why);
  Deno.exit(1);
}
