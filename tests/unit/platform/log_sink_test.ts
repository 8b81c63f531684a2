/** The lines of the log that programs read: nothing in a message makes a line of its own, or a colour. */

import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { openLogSink } from "../../../lib/platform/log_sink.ts";
import { FakeClock } from "../../support/fake_world.ts";

type Options = Parameters<typeof openLogSink>[1];

function logged(
  options: Options,
  write: (log: ReturnType<typeof openLogSink>) => void,
  wallMs?: number,
): string {
  const file = Deno.makeTempFileSync();
  const log = openLogSink(new FakeClock(wallMs), { level: "DEBUG", ...options, file });
  try {
    write(log);
    log.flushSync();
    return Deno.readTextFileSync(file);
  } finally {
    log.configure({ file: null });
    Deno.removeSync(file);
  }
}

const FORGED = "[2030-01-01 00:00:00,000: INFO/MainProcess] Task bank.transfer[42] succeeded in 0.1s: None";

Deno.test("log: a message makes no record of its own, and control characters are escaped", () => {
  const lines = logged({}, (log) => log.error(`Task a[1\n${FORGED}\x1b[2J`)).split("\n");
  assert.match(lines[0]!, /^\[\d{4}-.*: ERROR\/MainProcess\] Task a\[1$/);
  assert.equal(lines[1], ` ${FORGED}\\x1b[2J`);
});

Deno.test("log: a traceback stays as it is, to the letter", () => {
  const traceback = 'Task a[1] raised unexpected: ValueError("x")\nTraceback (most recent call last):\n' +
    '  File "/srv/tasks.py", line 3, in add\n    raise ValueError("x")\nValueError: x\n\tat add (tasks.ts:3:9)';
  for (const format of [undefined, "%(levelname)s %(asctime)s %(message)s", "%(name)s: %(message)s"]) {
    const text = logged({ ...(format ? { format } : {}) }, (log) => log.error(traceback));
    assert.ok(text.endsWith(`${traceback}\n`), text);
  }
});

Deno.test("log: no record is forged in a format of one's own either", () => {
  const forged: [string, string][] = [
    ["%(levelname)s: %(message)s", "ERROR: forged"],
    ["%(asctime)s %(levelname)-8s %(message)s", "2030-01-01 00:00:00,000 INFO     forged"],
    ["<%(process)d> %(message)s", "<42> forged"],
  ];
  for (const [format, line] of forged) {
    const text = logged({ format }, (log) => log.warning(`said\n${line}`));
    assert.ok(text.endsWith(`said\n ${line}\n`), text);
  }
});

Deno.test("log: JSON stays JSON, and a task's name and id stay on their line", () => {
  const task = { name: "a\nb", id: "\x9b1" };
  const line = logged({ format: "json" }, (log) => log.emit("INFO", `x\n${FORGED}\u202e`, { task }));
  assert.equal(line.split("\n").length, 2);
  assert.doesNotMatch(line, /[\u009b\u202e]/);
  assert.equal(JSON.parse(line).message, `x\n${FORGED}\u202e`);
  const text = logged({}, (log) => log.emit("INFO", "said", { task }));
  assert.match(text, /\] a\\nb\[\\u009b1\]: said\n$/);
});

Deno.test("log: no colours in a file, also where the setting asks for them", () => {
  assert.ok(!logged({ color: true }, (log) => log.error("red")).includes("\x1b"));
});

Deno.test("log: a format of Python's is filled in as Python fills it in", () => {
  const lines: Record<string, string> = {
    "%(levelname)s %(message)s": "INFO said",
    "[%(levelname)-8s/%(processName)-12s] %(message)s": "[INFO    /MainProcess ] said",
    "%(levelname)8s|%(message).2s|": "    INFO|sa|",
    "%(levelno)d %(levelno)05d %(levelno)+d %(levelno)x %(levelno)s": "20 00020 +20 14 20",
    "%(process)d": String(Deno.pid),
    "%(created).3f %(msecs)03d": "1704164645.250 250",
    "%(relativeCreated)d ms %(lineno)d": "0 ms 0",
    "%(filename)s:%(funcName)s": "(unknown file):(unknown function)",
    "100%% %(message)r": "100% 'said'",
    "%(name)s %(threadName)s": "celery MainThread",
    "": "said",
  };
  for (const [format, line] of Object.entries(lines)) {
    const text = logged({ format }, (log) => log.info("said"), 1704164645_250);
    assert.equal(text, `${line}\n`, format);
  }
  const taskFormat = "%(task_name)-10s|%(task_id)5s|%(message)s";
  const task = { name: "t.add", id: "1" };
  assert.equal(logged({ taskFormat }, (log) => log.emit("INFO", "x", { task })), "t.add     |    1|x\n");
});

Deno.test("log: a format that cannot be filled in is refused before anything is logged", () => {
  const wrong: [string, RegExp][] = [
    ["%(levelnam)s %(message)s", /unknown field "levelnam": did you mean "levelname"\?$/],
    ["%(message)", /"%\(message\)" cannot write a string$/],
    ["%(levelname)d", /"%\(levelname\)d" cannot write a string$/],
    ["%(levelno)q", /"%\(levelno\)q" cannot write a number$/],
    ["%s %(message)s", /"%s" is not a field; write %% for a percent sign$/],
    ["just text", /it has no field such as %\(message\)s$/],
  ];
  for (const [format, reason] of wrong) {
    assert.throws(() => openLogSink(new FakeClock(), { format }), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^Cannot read log format ".*": /);
      assert.match(error.message, reason);
      return true;
    });
  }
});

/** A log into a file of a folder of its own. */
async function withLogFile(
  run: (log: ReturnType<typeof openLogSink>, path: string, clock: FakeClock) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const clock = new FakeClock();
  const path = `${folder}/w.log`;
  const log = openLogSink(clock, { level: "INFO", format: "%(message)s", file: path });
  try {
    await run(log, path, clock);
  } finally {
    log.configure({ file: null });
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Logs one line, some time after what was before. */
async function later(log: ReturnType<typeof openLogSink>, clock: FakeClock, line: string): Promise<void> {
  await clock.advance(50);
  log.info(line);
  log.flushSync();
}

Deno.test("log: goes on in a new file where its own was renamed or removed", () =>
  withLogFile(async (log, path, clock) => {
    await later(log, clock, "one");
    Deno.renameSync(path, `${path}.1`);
    await later(log, clock, "two");
    // As logrotate makes it before anything is written.
    Deno.renameSync(path, `${path}.2`);
    Deno.writeTextFileSync(path, "");
    await later(log, clock, "three");
    assert.equal(Deno.readTextFileSync(`${path}.1`), "one\n");
    assert.equal(Deno.readTextFileSync(`${path}.2`), "two\n");
    assert.equal(Deno.readTextFileSync(path), "three\n");
    Deno.removeSync(path);
    await later(log, clock, "four");
    assert.equal(Deno.readTextFileSync(path), "four\n");
    // Copied and cut: it appends.
    Deno.truncateSync(path);
    await later(log, clock, "five");
    assert.equal(Deno.readTextFileSync(path), "five\n");
  }));

Deno.test("log: goes on in the file it has where a new one cannot be made, on a signal too", () =>
  withLogFile(async (log, path, clock) => {
    Deno.renameSync(path, `${path}.1`);
    Deno.mkdirSync(path);
    await later(log, clock, "one");
    log.reopen();
    await later(log, clock, "two");
    const lines = Deno.readTextFileSync(`${path}.1`).trimEnd().split("\n");
    assert.equal(lines.length, 3);
    assert.equal(lines[0], "one");
    assert.match(lines[1]!, /^Cannot open log file ".*w\.log": /);
    assert.equal(lines[2], "two");
    assert.throws(() => log.configure({ file: `${path}/../no/such/w.log` }), UsageError);
    await later(log, clock, "three");
    assert.equal(Deno.readTextFileSync(`${path}.1`).trimEnd().split("\n").at(-1), "three");
  }));

Deno.test("log: --log-format json: half of a surrogate pair, which many readers of JSON refuse, is U+FFFD", () => {
  const texts = [
    "a\ud800b",
    "\udfff",
    "\u{1f600}",
    "\\ud800",
    "\\\ud800",
    "\\\\ud83d\ud83d",
    "\\".repeat(50_001) + "\ud800",
  ];
  const text = logged({ isJson: true, logger: "x" }, (log) => {
    for (const one of texts) log.warning(one);
  }, 0);
  const lines = text.trimEnd().split("\n");
  assert.deepEqual(lines.map((line) => JSON.parse(line).message), texts.map((one) => one.toWellFormed()));
});

Deno.test("log: --log-format json: every line is one object, with the node, the task, its trace and its error", () => {
  const trace = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  const about = { name: "tasks.add", id: "42", traceparent: `00-${trace.join("-")}-01` };
  const error = { type: "ValueError", repr: "ValueError('x')", traceback: "Traceback …\nValueError: x\n" };
  const text = logged({ isJson: true, logger: "celery.worker" }, (log) => {
    log.configure({ format: "%(message)s", taskFormat: "%(message)s", node: "celery@web1" });
    log.warning("one");
    log.emit("ERROR", "two", { process: "ForkPoolWorker-1", logger: "celery.app.trace", about, error });
    log.emit("INFO", "three", { task: { name: "tasks.add", id: "42", traceparent: "broken" } });
  }, 1704164645_250);
  const [one, two, three] = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  const common = { time: "2024-01-02T03:04:05.250Z", pid: Deno.pid, node: "celery@web1" };
  assert.deepEqual(one, {
    ...common,
    level: "WARNING",
    logger: "celery.worker",
    process: "MainProcess",
    message: "one",
  });
  assert.deepEqual(two, {
    ...common,
    level: "ERROR",
    logger: "celery.app.trace",
    process: "ForkPoolWorker-1",
    task_name: "tasks.add",
    task_id: "42",
    trace_id: trace[0],
    span_id: trace[1],
    message: "two",
    error,
  });
  assert.deepEqual([three.task_id, three.trace_id, three.message], ["42", undefined, "three"]);
});

Deno.test("log: in text, an error's traceback stands below its message", () => {
  const error = { type: "ValueError", repr: "ValueError('x')", traceback: "Traceback …\nValueError: x\n" };
  const text = logged({ format: "%(message)s" }, (log) => log.emit("ERROR", "Task a[1] raised", { error }));
  assert.equal(text, "Task a[1] raised\nTraceback …\nValueError: x\n");
});

Deno.test("log: a named pipe that nobody reads is refused at once, one with a reader takes the lines", async () => {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/pipe`;
  try {
    new Deno.Command("mkfifo", { args: [path] }).outputSync();
    assert.throws(() => openLogSink(new FakeClock(), { file: path }), {
      message: `Cannot open log file "${path}": it is a named pipe that nobody reads`,
      exitCode: 73,
    });
    // A reader that also writes does not wait for a writer.
    using reader = await Deno.open(path, { read: true, write: true });
    const log = openLogSink(new FakeClock(), { file: path, format: "%(message)s" });
    log.error("one");
    log.flushSync();
    log.configure({ file: null });
    const bytes = new Uint8Array(10);
    assert.equal(new TextDecoder().decode(bytes.subarray(0, (await reader.read(bytes))!)), "one\n");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
