/**
 * `make dist`: builds the file dist/lovage and runs its smoke test. LOVAGE_DIST=compiled|packed chooses the
 * form (program.ts); both have the same smoke test.
 */

import { compileProgram, ownDeno, packProgram, ROOT, stagedProgram, thisPlatform } from "./program.ts";

const dist = `${ROOT}/dist`;
const output = `${dist}/lovage`;
const wanted = Deno.env.get("LOVAGE_DIST") ?? "any";
const STARTS = 5;

await Deno.mkdir(dist, { recursive: true });
const how = await build();
const { size } = await Deno.stat(output);
console.log(`dist/lovage: ${how}, ${(size / 2 ** 20).toFixed(0)} MiB, starts in ${await startMs()} ms`);
const smoke = await new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", "--quiet", `${ROOT}/.ci/smoke.ts`, output],
  env: { NO_COLOR: "1" },
}).output();
Deno.stdout.writeSync(smoke.stdout);
if (!smoke.success) fail(`the smoke test of dist/lovage failed:\n${new TextDecoder().decode(smoke.stderr)}`);

async function build(): Promise<string> {
  await using program = await stagedProgram();
  if (wanted !== "packed") {
    const reason = await compileProgram(program.folder, { output, platform: thisPlatform() });
    if (reason === null) return "compiled";
    if (wanted === "compiled") {
      fail(`deno compile found no runtime base (${reason}); LOVAGE_DIST=packed builds without one`);
    }
    console.log("deno compile finds no runtime base here: packing instead");
  }
  await packProgram(program.folder, { output, deno: await ownDeno() });
  return "packed (deno and the bundled program, self-extracting)";
}

/** Returns the shortest time of `--version`, after a first start. */
async function startMs(): Promise<string> {
  let best = Infinity;
  for (let n = 0; n <= STARTS; n++) {
    const began = performance.now();
    const { success, stderr } = await new Deno.Command(output, { args: ["--version"] }).output();
    if (!success) fail(`dist/lovage does not start:\n${new TextDecoder().decode(stderr)}`);
    if (n > 0) best = Math.min(best, performance.now() - began);
  }
  return best.toFixed(0);
}

function fail(why: string): never {
  console.error(why);
  Deno.exit(1);
}
