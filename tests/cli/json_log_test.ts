/** `--log-format json`: whatever a command says on standard error is one object a line. */

import assert from "node:assert/strict";
import { eventually, freePort } from "../support/ports.ts";
import { environment, LOVAGE, lovage, Program, startWorker, TASKS } from "../support/programs.ts";
import { disposableFolder } from "../support/temporary.ts";

const JSON_LOG = ["--log-format", "json"];

interface LogRecord {
  readonly level: string;
  readonly message: string;
}

/** The records of a text; fails for a line that is not one. */
function records(text: string): LogRecord[] {
  return text.split("\n").filter(Boolean).map((line) => {
    const record = JSON.parse(line);
    assert.deepEqual(
      ["time", "level", "logger", "process", "pid", "message"].filter((key) => !(key in record)),
      [],
    );
    return { level: record.level, message: record.message };
  });
}

/** Runs a command that fails; what it says. */
async function failing(args: readonly string[], env: Record<string, string> = {}): Promise<LogRecord[]> {
  const { code, err } = await lovage(args, { env });
  assert.notEqual(code, 0, args.join(" "));
  return records(err);
}

Deno.test("--log-format json: what is wrong with the words of a command line is one record", async () => {
  const said = { level: "CRITICAL" };
  const unknown = { ...said, message: 'No such command "nope"; lovage --help lists all' };
  assert.deepEqual(await failing([...JSON_LOG, "nope"]), [unknown]);
  assert.deepEqual(await failing(["nope", "--log-format=json"]), [unknown]);
  const option = { ...said, message: 'Unknown option "--zzz"\nTry lovage status --help.' };
  assert.deepEqual(await failing(["status", "--zzz", ...JSON_LOG]), [option]);
  assert.deepEqual(await failing(["status", "--zzz"], { CELERY_LOG_FORMAT: "json" }), [option]);
  const missing = { ...said, message: "Missing argument: <name>\nTry lovage call --help." };
  assert.deepEqual(await failing(["call", ...JSON_LOG]), [missing]);
  const [usage, ...more] = await failing([...JSON_LOG]);
  assert.deepEqual([usage!.message.split("\n")[0], more], [
    "Usage: lovage [options] command [arguments]",
    [],
  ]);
  const module = { ...said, message: 'Cannot find task module "none.ts": there is no ./none.ts' };
  for (const command of [["worker"], ["beat"], ["call", "t.add"], ["purge", "-f"], ["report"]]) {
    assert.deepEqual(await failing([...command, "-A", "none.ts", ...JSON_LOG]), [module], command.join(" "));
  }
  // The words behind the name of a program are its own.
  const { err } = await lovage(["run", "none.ts", ...JSON_LOG]);
  assert.equal(err, 'Error: Cannot run "none.ts": there is no such file\n');
  assert.deepEqual(await failing([...JSON_LOG, "run", "none.ts"]), [
    { ...said, message: 'Cannot run "none.ts": there is no such file' },
  ]);
  assert.deepEqual(await failing([...JSON_LOG, "multi", "strat"]), [
    { level: "WARNING", message: 'Invalid command: strat: did you mean "start"?' },
  ]);
});

Deno.test("--log-format json: a cluster that says nothing, and a broker that is away", async () => {
  await using folder = await disposableFolder();
  const nobody = { level: "CRITICAL", message: "No nodes replied within time constraint" };
  const at = ["-b", `sqlite://${folder.path}/broker.db`];
  assert.deepEqual(await failing(["status", ...at, ...JSON_LOG]), [nobody]);
  assert.deepEqual(await failing(["control", "shutdown", ...at, ...JSON_LOG]), [nobody]);
  assert.deepEqual(await failing(["inspect", "ping", "-d", "a@b", "-t", "0.1", ...at, ...JSON_LOG]), [
    { level: "WARNING", message: "1 node did not reply within 0.1 s: a@b" },
    nobody,
  ]);
  const away = `redis://127.0.0.1:${freePort()}`;
  assert.deepEqual(await failing(["status", "-b", away, ...JSON_LOG]), [
    { level: "CRITICAL", message: `Cannot connect to ${away}: connection refused` },
  ]);
  for (const command of [["events", "--dump"], ["beat", "-s", `${folder.path}/schedule`]]) {
    const argv = [...LOVAGE, ...JSON_LOG, "-b", away, ...command];
    await using program = new Program(argv, environment({}));
    await program.says(/Trying again in [\s\S]*Trying again in /);
    await program.stop();
    const lines = program.text.split("\n").filter((line) => line !== "-> evdump: starting capture...");
    const attempts = records(lines.join("\n")).filter(({ message }) => message.includes("Cannot connect to"));
    assert.match(
      attempts[0]!.message,
      /^[^\n]*Cannot connect to [^\n]*: connection refused\. Trying again in 2/,
    );
  }
});

Deno.test("--log-format json: a worker's life is records, its report too, and it has no banner", async () => {
  await using folder = await disposableFolder();
  const place = { broker: `sqlite://${folder.path}/broker.db` };
  for (const pool of ["solo", "processes"]) {
    const args = ["-P", pool, "-c", "1", "-n", "w@host1", ...JSON_LOG];
    await using worker = await startWorker(place, args);
    worker.signal("SIGUSR1");
    await worker.says(/w@host1: running/);
    await eventually(() => /in the pool 0/.test(worker.text), () => worker.text);
    assert.equal(await worker.stop(), 0);
    const messages = records(worker.text).map(({ message }) => message);
    assert.equal(messages.filter((one) => one === "worker: Warm shutdown (MainProcess)").length, 1);
    assert.equal(messages.filter((one) => one.startsWith("w@host1: running, consumer ")).length, 1);
  }
});

Deno.test("--log-format json: a daemon that cannot start tells its starter in records", async () => {
  await using folder = await disposableFolder();
  const files = ["--logfile", `${folder.path}/w.log`, "--pidfile", `${folder.path}/w.pid`];
  const argv = ["worker", "-A", TASKS, "-D", ...files, "--http", "nowhere", ...JSON_LOG];
  const wrong = 'Cannot serve HTTP at "nowhere": give ADDRESS:PORT, such as 127.0.0.1:9808, or unix:PATH';
  const { code, err } = await lovage(argv, { broker: "memory://" });
  const said = records(err);
  assert.deepEqual([code, said.at(-1)], [64, { level: "CRITICAL", message: wrong }]);
});
