/**
 * `make test`: format, lint, types, then every test. Ends with one plain line, `N passed, N failed`; each of the
 * three checks counts as one. Arguments narrow the tests: `deno run -A .ci/test.ts tests/unit/wire`.
 *
 * Unit tests run two files at a time; those that start servers and programs of their own one at a time, since their
 * time limits are those of a machine that is not overloaded. A file that fails is run once more, alone, and named:
 * passing then, it counts as passed, and the line `once more ...` says that it wants mending.
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
if (isNarrowed) await tests(Deno.args, 2);
else {
  await tests(["tests/unit", "tests/sim", "tests/tidy_test.ts", "tests/docs_test.ts"], 2);
  await tests(["tests/conformance", "tests/cli", "tests/interop", "tests/fault"], 1);
}
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

/** Runs the tests of some paths, and what fails once more; adds up the runner's own counts. */
async function tests(paths: readonly string[], jobs: number): Promise<void> {
  const first = await runTests(paths, jobs);
  passed += first.passed;
  failed += first.failed;
  if (first.isSuccess || isNarrowed) return;
  for (const [file, count] of first.failures) {
    const again = await runTests([file], 1);
    // As many at least must run as had failed: a file without tests would always be fine.
    const isFine = again.isSuccess && again.passed >= count;
    console.log(`once more ... ${file} ... ${isFine ? "ok: it failed the first time" : "FAILED"}`);
    if (isFine) {
      passed += count;
      failed -= count;
    }
  }
}

interface Run {
  passed: number;
  failed: number;
  isSuccess: boolean;
  /** How many tests failed, by file. */
  failures: Map<string, number>;
}

/** One call of the runner; its output is shown as it comes. */
async function runTests(paths: readonly string[], jobs: number): Promise<Run> {
  const child = new Deno.Command(deno, {
    args: ["test", "-A", "--quiet", "--no-check", "--parallel", ...paths],
    env: { NO_COLOR: "1", DENO_JOBS: String(jobs) },
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  for await (const chunk of child.stdout) {
    const part = decoder.decode(chunk, { stream: true });
    text += part;
    Deno.stdout.writeSync(new TextEncoder().encode(part));
  }
  const { success: isSuccess } = await child.status;
  const closing = [...text.matchAll(/^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed/gm)].pop();
  const failedTests = Number(closing?.[2] ?? 0);
  return {
    passed: Number(closing?.[1] ?? 0),
    // A run that broke off without counting, or failed outside a test (a leak of the file), is a failure.
    failed: !isSuccess && failedTests === 0 ? 1 : failedTests,
    isSuccess,
    failures: failuresOf(text),
  };
}

/**
 * How many tests failed in each file that the runner ran, from its lines. Its list at the end will not do: that names
 * the place where a test is written, which for a shared suite is no file of tests.
 *
 * One file at a time, a heading `running N tests from FILE` goes before its tests; several at a time, each line begins
 * with `FILE => `. A step has a mark of its own before `FAILED`, or is indented, and fails its test anyway.
 */
function failuresOf(text: string): Map<string, number> {
  const failures = new Map<string, number>();
  let running: string | null = null;
  for (const line of text.slice(0, text.lastIndexOf("\n ERRORS \n")).split("\n")) {
    const heading = /^running \d+ tests? from \.\/(\S+)$/.exec(line);
    if (heading) running = heading[1]!;
    const failed = /^(?:\.\/(\S+) => )?(\S.*?) \.\.\. FAILED \(/.exec(line);
    if (failed === null || failed[2]!.includes(" ... ")) continue;
    const file = failed[1] ?? running;
    if (file !== null) failures.set(file, (failures.get(file) ?? 0) + 1);
  }
  return failures;
}
