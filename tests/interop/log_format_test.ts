/** `worker_log_format` and `worker_task_log_format`: the same lines as Celery's own formatters make. */

import assert from "node:assert/strict";
import { openLogSink } from "../../lib/platform/mod.ts";
import { FakeClock } from "../support/fake_world.ts";
import { environment, LOVAGE, lovage, startWorker } from "../support/programs.ts";
import { askPython } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";

const ERROR = {
  type: "ValueError",
  repr: "ValueError('no')",
  traceback: 'Traceback (most recent call last):\n  File "t.py", line 1, in t\nValueError: no\n',
};
const TASK = { name: "shop.add", id: "3f0b" };
const AT_MS = 1704164645_250;
const PROCESS = { process: "ForkPoolWorker-3", pid: 4711, logger: "celery.app.trace" };

/** Every field, and what printf can do to one. */
const FORMATS = [
  "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s",
  "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s",
  "%(message)s",
  "%(message)s <- %(name)s",
  "%(message)s%%",
  "100%% %(message)s %% end",
  "%(levelname)-10s|%(levelname)10s|%(levelname).3s|%(levelname)-6.3s|%(levelname)6.3s|",
  "%(processName)20s|%(process)d|%(process)08d|%(process)-8d|%(process)s|%(process)+d|%(process)x|%(process)X|%(process)o",
  "%(name)-20s|%(name)30s|%(name).6s",
  "%(message)r %(message)10.4s|",
  "%(filename)s:%(lineno)d:%(module)s:%(funcName)s:%(pathname)s",
  "%(threadName)s %(thread)d %(threadName)12s|",
  "%(levelno)d %(levelno)s %(levelno)03d %(levelno)5.2f|%(levelno)e|%(levelno)g|%(levelno)i|%(levelno)u",
  "%(created)f %(created).3f %(created)d %(created)s %(msecs)d %(msecs)03d %(msecs)s",
  "%(relativeCreated)d %(relativeCreated)f",
  "%(task_name)-12s|%(task_id)8s|%(task_name).4s|%(message)s",
  "%(task_name)r %(task_id)r",
  "%(created)g %(created)G %(created).10g %(created).12g %(msecs)g %(levelno)g %(levelno)#g %(levelno).1g %(created)e %(created).0E",
  "%(levelno)#x|%(levelno)#X|%(levelno)#o|%(levelno)#08x|%(levelno)+05d|%(levelno)-+6d|%(levelno) d|%(levelno)6.4d|%(levelno).0f",
  "%(msecs)r %(created)a %(message)a %(relativeCreated)s %(msecs)8s|%(created)020.2f|%(msecs)-10.1f|",
  "{message} %(message)s $message",
  "line one\n  %(message)s\tend",
  "",
];

/** Formats of which Python says that it cannot use them. */
const REFUSED = [
  "just text",
  "%s",
  "%(message)",
  "%(nothing)s",
  "%(levelname)d",
  "%(message)q",
  "%(created)x",
];

const SCRIPT = `
import json, logging, sys, time
from celery.app.log import TaskFormatter
from celery.utils.log import ColorFormatter
formats, refused, error = json.load(sys.stdin)
created = ${AT_MS / 1000}
def record(level, text, traceback=None):
    made = logging.makeLogRecord(dict(
        name="celery.app.trace", levelno=getattr(logging, level), levelname=level, msg=text, created=created,
        msecs=created % 1 * 1000, relativeCreated=0.0, process=4711, processName="ForkPoolWorker-3",
        pathname="(unknown file)", filename="(unknown file)", module="(unknown file)", lineno=0,
        funcName="(unknown function)", thread=0, threadName="MainThread"))
    made.exc_text = traceback
    return made
def lines(format):
    out = []
    for kind, of in ((ColorFormatter, {}), (TaskFormatter, {"task_name": "shop.add", "task_id": "3f0b"})):
        for level, text, traceback in (("INFO", "said", None), ("WARNING", "a 'b' é\\u20ac", None), ("ERROR", "raised", error)):
            made = record(level, text, traceback)
            made.__dict__.update(of or {"task_name": "???", "task_id": "???"})
            out.append(kind(format, use_color=False).format(made))
    return out
def refuses(format):
    try:
        return not logging.Formatter(format).format(record("INFO", "x"))
    except Exception:
        return True
json.dump([[lines(one) for one in formats], [refuses(one) for one in refused]], sys.stdout)
`;

/** What Python makes of the formats, and whether it refuses the others. */
function ofPython(): Promise<[string[][], boolean[]]> {
  return askPython(["-c", SCRIPT], [FORMATS, REFUSED, ERROR.traceback.trimEnd()], { TZ: "UTC" });
}

/** What our log writes in a format: six records, each with its end. */
function ours(format: string, file: string): string {
  const log = openLogSink(new FakeClock(AT_MS), { level: "DEBUG", format, taskFormat: format, file });
  try {
    for (const task of [null, { ...TASK, traceparent: null }]) {
      log.emit("INFO", "said", { ...PROCESS, task });
      log.emit("WARNING", "a 'b' é\u20ac", { ...PROCESS, task });
      log.emit("ERROR", "raised", { ...PROCESS, task, error: ERROR });
    }
    log.flushSync();
    return Deno.readTextFileSync(file);
  } finally {
    log.configure({ file: null });
    Deno.removeSync(file);
  }
}

Deno.test("log formats: every field, width and precision as Python writes it, tracebacks below the line", async () => {
  await using folder = await disposableFolder();
  const [lines, refused] = await ofPython();
  const theirs = lines.map((all) => all.map((line) => `${line}\n`).join(""));
  assert.deepEqual(FORMATS.map((format) => ours(format, `${folder.path}/log`)), theirs);
  assert.deepEqual(refused, REFUSED.map(() => true));
  for (const format of REFUSED) {
    assert.throws(() => openLogSink(new FakeClock(), { format }), /Cannot read log format/, format);
  }
});

Deno.test("log formats: a worker's lines say which process they come from, and a task's the task", async () => {
  await using folder = await disposableFolder();
  const broker = ["-b", `sqlite://${folder.path}/broker.db`];
  const settings = [
    "worker_log_format=P|%(process)d|%(processName)-16s|%(name)s|%(levelname).4s|%(message)s|%(levelno)04d",
    "worker_task_log_format=T|%(process)d|%(processName)s|%(task_name)8s|%(message)s|%(levelno)04d|" +
    "%(filename)s:%(lineno)d|%(module)s|%(funcName)s|%(pathname)s",
  ];
  const app = `${folder.path}/tasks.ts`;
  const beat = ["-B", "-s", `${folder.path}/schedule`];
  await Deno.writeTextFile(
    app,
    `import { App } from "lovage";
    export const app = new App("x");
    app.task("t.say", { bind: true }, function say(self) {
      self.log.info("said");
    });
    app.task("t.fail", () => {
      throw new Error("no");
    });`,
  );
  await using worker = await startWorker(
    {},
    [...broker, "-P", "processes", "-c", "1", ...beat, ...settings],
    { app },
  );
  const [, main] = /^P\|(\d+)\|MainProcess {5}\|celery\.apps\.worker\|INFO\|\S+ ready\.\|0020$/m.exec(
    worker.text,
  )!;
  assert.equal(Number(main), worker.pid);
  const from = (line: string) => new RegExp(`^P\\|${main}\\|${line}\\|0020$`, "m");
  await worker.says(from("MainProcess     \\|celery.worker.consumer.connection\\|INFO\\|Connected to .*"));
  await worker.says(from("MainProcess     \\|celery.worker.consumer.mingle\\|INFO\\|mingle: all alone"));
  await worker.says(from("Beat            \\|celery.beat\\|INFO\\|beat: Starting\\.\\.\\."));
  const { code, err } = await lovage(["call", "t.fail", ...broker]);
  assert.equal(code, 0, err);
  const raised =
    /^P\|(\d+)\|ForkPoolWorker-1\|celery\.app\.trace\|ERRO\|Task t.fail\[.*\] raised unexpected: Error\('no'\)\|0040\nTraceback /m;
  await worker.says(raised);
  const [, slot] = raised.exec(worker.text)!;
  assert.notEqual(slot, main);
  assert.equal((await lovage(["call", "t.say", ...broker])).code, 0);
  await worker.says(
    new RegExp(
      `^T\\|${slot}\\|ForkPoolWorker-1\\|   t\\.say\\|said\\|0020\\|tasks\\.ts:4\\|tasks\\|say\\|${app}$`,
      "m",
    ),
  );
});

Deno.test("log colours: the whole line, as Celery's, if it goes to a terminal", async () => {
  const command = [...LOVAGE, "--skip-checks", "list", "bindings", "-b", "memory://"];
  const { stdout } = await new Deno.Command("script", {
    args: ["--quiet", "--return", "--command", command.map((word) => `'${word}'`).join(" "), "/dev/null"],
    env: { ...environment({}), NO_COLOR: "" },
    stdin: "null",
  }).output();
  assert.match(
    new TextDecoder().decode(stdout),
    // deno-lint-ignore no-control-regex
    /^\x1b\[1;33m\[\d{4}-[^\x1b]*: WARNING\/MainProcess\] --skip-checks has no effect: [^\x1b]*\x1b\[0m\r\n/m,
  );
});
