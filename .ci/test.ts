/**
 * `make test`: checks format, lint and types, then runs all tests. The last line is `N passed, N failed`;
 * each check counts as one. A failed test is a failure: nothing is run twice.
 *
 *     .ci/test.ts                   everything
 *     .ci/test.ts --unit            the tests that need no servers, no Python and no root
 *     .ci/test.ts --dist            everything, then the built file and its smoke test
 *     .ci/test.ts tests/unit/wire   only these tests
 *
 * Unit tests run in as many processes as there are cores. Each takes files in turn, so that modules are loaded
 * once for many files, which takes a third of the time. Every other file has its own process. No process runs
 * two tests at the same time, since tests set variables and the umask and check open resources. One more
 * process runs at a time than there are cores, since they also wait. The longest start first, and the output
 * of a file is printed when it has ended.
 */

/** Tests that need only Deno. */
const UNIT = ["tests/sim/sim_test.ts", "tests/tidy_test.ts"];
/** Tests that need only Deno, and whose files share processes. */
const SHARED = "tests/unit";
/** Tests that start servers or programs. */
const OTHERS = [
  "tests/docs_test.ts",
  ...["browser", "cli", "conformance", "fault", "fuzz", "interop"].map((name) => `tests/${name}`),
];
/** The longest tests, longest first. */
const LONG = [
  "tests/browser/console_test.ts",
  "tests/interop/canvas_matrix_test.ts",
  "tests/conformance/pool_test.ts",
  "tests/interop/beat_test.ts",
  "tests/interop/amqp_test.ts",
  "tests/conformance/pool_sandbox_test.ts",
  "tests/interop/brokers_test.ts",
  "tests/cli/project_test.ts",
  "tests/interop/control_test.ts",
  "tests/fault/redis_cluster_test.ts",
];
/** Tests that also run as on RabbitMQ 4.3, through the proxy of tests/support/amqp_proxy.ts. */
const RABBIT_4 = [
  "tests/conformance/transport_amqp_test.ts",
  "tests/interop/amqp_test.ts",
  "tests/interop/transport/amqp/amqp_test.ts",
];
/** A file that takes longer counts as hanging. */
const FILE_MINUTES_MAX = 20;

/** A run of `deno`: a check, which counts as one test, or tests, whose counts are added up. */
interface Run {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
  readonly isCheck?: boolean;
}

const deno = Deno.execPath();
const cores = navigator.hardwareConcurrency;
const began = performance.now();
let passed = 0;
let failed = 0;

const CHECKS: Run[] = [
  check("format", ["fmt", "--check", "--quiet"]),
  check("lint", ["lint", "--quiet"]),
  check("types", ["check", "--quiet", "main.ts", "lib", "tests", "examples", "bench", ".ci"]),
];

const [what] = Deno.args;
if (what === "--unit") await unit();
else if (what !== undefined && what !== "--dist") await all(files(Deno.args).map((file) => tests([file])));
else {
  const again = RABBIT_4.map((file) => tests([file], { LOVAGE_RABBITMQ: "4.3.0" }));
  await all(CHECKS);
  await unit();
  await all(longestFirst([...files(OTHERS).map((file) => tests([file])), ...again]));
  if (what === "--dist") await run(check("dist", ["run", "-A", "--quiet", ".ci/dist.ts"]));
}
console.log(`${passed} passed, ${failed} failed`);
Deno.exit(failed > 0 ? 1 : 0);

function check(name: string, args: readonly string[]): Run {
  return { name, args, isCheck: true };
}

function tests(paths: readonly string[], env: Record<string, string> = {}): Run {
  const version = env.LOVAGE_RABBITMQ ? ` as on RabbitMQ ${env.LOVAGE_RABBITMQ}` : "";
  return {
    name: paths.join(" ") + version,
    args: ["test", "-A", "--quiet", "--no-check", ...paths],
    env,
  };
}

/** Runs the unit tests, from modules that import the files. */
async function unit(): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lovage-unit-" });
  try {
    const parts = Array.from({ length: cores }, (): string[] => []);
    files([SHARED]).forEach((file, n) => parts[n % cores]!.push(`import "${url(file)}";\n`));
    const paths = parts.map((_, n) => `${folder}/${n + 1}_test.ts`);
    for (const [n, lines] of parts.entries()) await Deno.writeTextFile(paths[n]!, lines.join(""));
    const shared = paths.map((path, n) => ({ ...tests([path]), name: `unit tests, part ${n + 1}` }));
    await all([...shared, ...UNIT.map((path) => tests([path]))]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function url(file: string): string {
  return new URL(`../${file}`, import.meta.url).href;
}

/** Returns the test files at the given paths, sorted by name. */
function files(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!Deno.statSync(path).isDirectory) return [path];
    const inside = [...Deno.readDirSync(path)].filter(({ name, isDirectory }) =>
      isDirectory || /_test\.tsx?$/.test(name)
    );
    return files(inside.map(({ name }) => `${path.replace(/\/$/, "")}/${name}`).sort());
  });
}

function longestFirst(runs: readonly Run[]): Run[] {
  const place = ({ args }: Run) => {
    const at = LONG.indexOf(args.at(-1)!);
    return at < 0 ? LONG.length : at;
  };
  return [...runs].sort((a, b) => place(a) - place(b));
}

/** Runs all, several at a time. */
async function all(runs: readonly Run[]): Promise<void> {
  const waiting = [...runs];
  const next = async (): Promise<void> => {
    for (let one; (one = waiting.shift());) await run(one);
  };
  await Promise.all(Array.from({ length: cores + 1 }, next));
}

/** Runs one, prints its output, and adds its counts. */
async function run({ name, args, env = {}, isCheck = false }: Run): Promise<void> {
  const start = performance.now();
  const child = new Deno.Command(deno, {
    args: [...args],
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let text = "";
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  const timer = setTimeout(() => {
    text += `\n${name} was ended after ${FILE_MINUTES_MAX} minutes\n`;
    child.kill("SIGKILL");
  }, FILE_MINUTES_MAX * 60_000);
  const { success } = await child.status;
  clearTimeout(timer);
  // Processes that a killed file left running may keep its output open.
  await Promise.race([reading, new Promise((resolve) => setTimeout(resolve, 5000))]);
  if (isCheck) {
    success ? passed++ : failed++;
    text = success ? "" : text;
  } else {
    const closing = [...text.matchAll(/^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed/gm)]
      .pop();
    const failedTests = Number(closing?.[2] ?? 0);
    passed += Number(closing?.[1] ?? 0);
    // A run that ended without counts, or failed outside a test (a leak in the file), is a failure.
    failed += !success && failedTests === 0 ? 1 : failedTests;
  }
  const seconds = (since: number) => Math.round((performance.now() - since) / 1000);
  console.log(
    `${text}${name} ... ${success ? "ok" : "FAILED"} (${seconds(start)} s; ${seconds(began)} s in all)`,
  );
}
