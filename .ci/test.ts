/**
 * `make test`: format, lint, types, then every test. Ends with one plain line, `N passed, N failed`; each of the
 * three checks counts as one. Arguments narrow the tests: `deno run -A .ci/test.ts tests/unit/wire`.
 */

const decoder = new TextDecoder();
const deno = Deno.execPath();
const isNarrowed = Deno.args.length > 0;
let passed = 0;
let failed = 0;

if (!isNarrowed) {
  await step("format", ["fmt", "--check", "--quiet"]);
  await step("lint", ["lint", "--quiet"]);
  await step("types", ["check", "--quiet", "main.ts", "lib", "tests", "examples", "bench", ".ci"]);
}
await tests(isNarrowed ? Deno.args : ["tests"]);
console.log(`${passed} passed, ${failed} failed`);
Deno.exit(failed > 0 ? 1 : 0);

async function step(name: string, args: string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(deno, { args }).output();
  console.log(`${name} ... ${success ? "ok" : "FAILED"}`);
  if (success) passed++;
  else {
    failed++;
    console.log(decoder.decode(stdout) + decoder.decode(stderr));
  }
}

/** Runs the tests, shows their output as it comes and adds up the runner's own counts. */
async function tests(paths: string[]): Promise<void> {
  const child = new Deno.Command(deno, {
    args: ["test", "-A", "--quiet", "--no-check", "--parallel", ...paths],
    env: { NO_COLOR: "1", DENO_JOBS: Deno.env.get("DENO_JOBS") ?? "2" },
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  for await (const chunk of child.stdout) {
    const part = decoder.decode(chunk, { stream: true });
    text += part;
    Deno.stdout.writeSync(new TextEncoder().encode(part));
  }
  const { success } = await child.status;
  const closing = [...text.matchAll(/^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed/gm)].pop();
  passed += Number(closing?.[1] ?? 0);
  failed += Number(closing?.[2] ?? 0);
  // A run that broke off without counting, or failed outside a test (a leaked resource of the file), is a failure.
  if (!success && Number(closing?.[2] ?? 0) === 0) failed++;
}
