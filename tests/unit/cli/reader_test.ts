/** How the words of a command line are read: a table of words and readings, what is refused, and what variables give. */

import assert from "node:assert/strict";
import { longName } from "../../../lib/base/mod.ts";
import { allOptions, command, factsOf } from "../../../lib/cli/command.ts";
import { readWords } from "../../../lib/cli/reader.ts";
import { COMMANDS } from "../../../lib/cli/table.ts";

/** Reads words of a command that is not raw, its name first. */
async function read([name, ...words]: string[], env: Record<string, string> = {}) {
  const entry = COMMANDS.find((one) => one.name === name)!;
  const given = await entry.load();
  assert.ok(!given.isRaw, name);
  const { options, args, isHelpAsked } = readWords(name!, {
    command: given,
    words,
    env: (variable) => env[variable] ?? null,
  });
  return isHelpAsked ? "help" : { ...options, ...args.length === 0 ? {} : { args: [...args] } };
}

const READ: [line: string, reading: unknown][] = [
  // Where options may stand, and how values are given.
  ["worker", {}],
  ["worker -c 4", { concurrency: 4 }],
  ["worker -c4", { concurrency: 4 }],
  ["worker --concurrency=4", { concurrency: 4 }],
  ["worker --concurrency 4 a.b=1", { concurrency: 4, args: ["a.b=1"] }],
  ["worker a.b=1 --concurrency 4", { concurrency: 4, args: ["a.b=1"] }],
  ["worker -c 4 -c 5", { concurrency: 5 }],
  ["worker -A tasks -b redis://h/0 --workdir=/srv", {
    app: "tasks",
    broker: "redis://h/0",
    workdir: "/srv",
  }],
  ["worker --config=a=b", { config: "a=b" }],
  ["worker --pidfile= -f ", { pidfile: "", logfile: "" }],
  // A value is the next word, whatever it looks like.
  ["worker -n -E", { hostname: "-E" }],
  ["call t --countdown -5", { countdown: -5, args: ["t"] }],
  ["call t --countdown=-5", { countdown: -5, args: ["t"] }],
  ["beat -s --help", { schedule: "--help" }],
  // Flags, and flags run together.
  ["worker -EB", { taskEvents: true, beat: true }],
  ["worker -EBc2", { taskEvents: true, beat: true, concurrency: 2 }],
  ["worker -qC --burst", { quiet: true, noColor: true, burst: true }],
  ["worker --without-gossip --without-mingle --without-heartbeat", {
    withoutGossip: true,
    withoutMingle: true,
    withoutHeartbeat: true,
  }],
  // What is an argument.
  ["control rate_limit t.add -5", { args: ["rate_limit", "t.add", "-5"] }],
  ["control x -.5e3 -t 2", { timeout: 2, args: ["x", "-.5e3"] }],
  ["logtool stats -", { args: ["stats", "-"] }],
  ["logtool stats -- -j --help", { args: ["stats", "-j", "--help"] }],
  ["worker -- -c=4", { args: ["-c=4"] }],
  // What means nothing here, of copied command lines.
  ["worker --loader my.Loader --skip-checks", { loader: "my.Loader", skipChecks: true }],
  // Help.
  ["worker --help", "help"],
  ["worker --nope -h", "help"],
  ["call -h", "help"],
  ["worker -Eh", "help"],
  // Each kind of value.
  ["worker -l fatal", { loglevel: "CRITICAL" }],
  ["worker -l debug", { loglevel: "DEBUG" }],
  ["worker -Q a,b -Q c", { queues: ["a", "b", "c"] }],
  ["worker -X a, -I x,y", { excludeQueues: ["a"], include: ["x", "y"] }],
  ["worker --autoscale 3,10", { autoscale: [10, 3] }],
  ["worker --autoscale 10", { autoscale: [10, 0] }],
  ["worker -O fair", { optimization: "fair" }],
  ["worker --time-limit 1.5 --max-memory-per-child 0", { timeLimit: 1.5, maxMemoryPerChild: 0 }],
  ["beat --max-interval 2 -S memory", { maxInterval: 2, scheduler: "memory" }],
  ["call t -a [1] -k {} --priority 9", { args: ["t"], kwargs: {}, priority: 9 }],
  ["call t --eta 2030-01-31 --expires 60 --routing-key k", {
    eta: "2030-01-31",
    expires: 60,
    routingKey: "k",
    args: ["t"],
  }],
  ["status -d a,b -d c --min 2 --wait 1", { destination: ["a", "b", "c"], min: 2, wait: 1 }],
  ["inspect -j", { json: true }],
  ["migrate a b -n 5 -T x,y -Q q:r", { limit: 5, tasks: ["x", "y"], queues: ["q:r"], args: ["a", "b"] }],
  ["dead retry -a -Q q", { all: true, queue: "q", args: ["retry"] }],
  // Celery's other spellings.
  ["worker --events --schedule x", { taskEvents: true, scheduleFilename: "x" }],
  ["worker --schedule=x", { scheduleFilename: "x" }],
  ["events --freq=2", { frequency: 2 }],
];

const REFUSED: [line: string, why: RegExp][] = [
  ["worker --concurency 2", /^Unknown option "--concurency": did you mean "--concurrency"\?$/],
  ["worker --concurency=2", /^Unknown option "--concurency=2": did you mean "--concurrency"\?$/],
  ["worker -x", /^Unknown option "-x"$/],
  ["worker -Ex", /^Unknown option "-Ex"$/],
  ["worker --burst=1", /^Cannot use "--burst=1": --burst takes no value$/],
  ["worker -c", /^Missing value: --concurrency <n>$/],
  ["worker -c none", /^Cannot use --concurrency "none": it must be a whole number of at least 0$/],
  ["worker -c none --help", /^Cannot use --concurrency "none"/],
  ["worker -Q ,", /^Cannot use --queues ",": it must name at least one queue$/],
  ["worker -O fast", /^Cannot use --optimization "fast": it must be one of default, fair$/],
  [
    "worker -l loud",
    /^Cannot use --loglevel "loud": it must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL$/,
  ],
  ["worker --autoscale 1,2,3", /^Cannot use --autoscale "1,2,3": it must be max,min$/],
  ["worker x", /^Cannot read "x": settings are given as name=value$/],
  ["call", /^Missing argument: <name>$/],
  ["call t -a {}", /^Cannot use --args "\{\}": it must be a JSON array such as \[1, 2\]$/],
  ["call t -a [", /^Cannot use --args "\[": it must be JSON, an array such as \[1, 2\]: /],
  ["call t u", /^Too many arguments: "u"$/],
  ["status extra", /^Too many arguments: "extra": name a node with --destination, or with --local$/],
  ["status -d ,", /^Cannot use --destination ",": it must name at least one node$/],
  ["status --min 0", /^Cannot use --min "0": it must be a whole number of at least 1$/],
  ["beat nxt", /^No such beat command "nxt": did you mean "next"\?$/],
  ["dead shw", /did you mean "show"\?$/],
  ["list bindngs", /did you mean "bindings"\?$/],
];

Deno.test("readWords: words and their readings", async (t) => {
  for (const [line, reading] of READ) {
    await t.step(line, async () => assert.deepEqual(await read(line.split(" ")), reading));
  }
});

Deno.test("readWords: what is refused, in one line", async (t) => {
  for (const [line, why] of REFUSED) {
    await t.step(line, () => assert.rejects(read(line.split(" ")), { name: "UsageError", message: why }));
  }
});

Deno.test("readWords: an option of each command, in each spelling", async () => {
  for (const { name, load } of COMMANDS) {
    const { isRaw, options } = await load();
    if (isRaw) continue;
    const plain = command({ options, run: () => Promise.resolve(0) });
    for (const [key, { short, value, aliases = [], read }] of Object.entries(allOptions(options))) {
      if (key === "help") continue;
      for (const spelling of [longName(key), ...short === undefined ? [] : [short], ...aliases]) {
        const text = [
          "3",
          "3,1",
          "INFO",
          "[1]",
          '{"a":1}',
          "fair",
          "json",
          "2030-01-31",
          "512M",
          "a=b",
          "flower",
        ].find((one) => {
          try {
            read?.(one, undefined);
            return true;
          } catch {
            return false;
          }
        })!;
        const lines = value === undefined
          ? [[spelling]]
          : [[spelling, text], [spelling.startsWith("--") ? `${spelling}=${text}` : `${spelling}${text}`]];
        for (const words of lines) {
          assert.deepEqual(
            readWords(name, { command: plain, words }).options,
            { [key]: value === undefined ? true : read === undefined ? text : read(text, undefined) },
            `${name} ${words.join(" ")}`,
          );
        }
      }
    }
  }
});

Deno.test("readWords: variables give values and flags, unless the command line does", async () => {
  const worker = (env: Record<string, string>, ...words: string[]) => read(["worker", ...words], env);
  assert.deepEqual(await worker({ CELERY_WORKER_CONCURRENCY: "4" }), { concurrency: 4 });
  assert.deepEqual(await worker({ CELERY_WORKER_MAX_TASKS_PER_CHILD: "9" }, "-q"), {
    quiet: true,
    maxTasksPerChild: 9,
  });
  for (const own of [["-c", "2"], ["-c2"], ["--concurrency", "2"], ["--concurrency=2"], ["-Ec2"]]) {
    assert.equal((await worker({ CELERY_WORKER_CONCURRENCY: "4" }, ...own) as never)["concurrency"], 2);
  }
  assert.deepEqual(await worker({ CELERY_WORKER_QUEUES: "a" }, "-Q", "b"), { queues: ["b"] });
  assert.deepEqual(await worker({ CELERY_WORKER_TASK_EVENTS: "Yes", CELERY_WORKER_BURST: "0" }), {
    taskEvents: true,
  });
  assert.deepEqual(await worker({ CELERY_WORKER_CONCURRENCY: "", CELERY_BEAT_PIDFILE: "x" }), {});
  await assert.rejects(worker({ CELERY_WORKER_BURST: "maybe" }), /CELERY_WORKER_BURST="maybe"/);
  await assert.rejects(worker({ CELERY_WORKER_CONCURRENCY: "x" }), {
    message: 'Cannot use the variable CELERY_WORKER_CONCURRENCY="x": it must be a whole number of at least 0',
  });
});

Deno.test("readWords: global options by Celery's two names", async () => {
  const worker = (env: Record<string, string>) => read(["worker"], env);
  assert.deepEqual(await worker({ BROKER_URL: "redis://x" }), { broker: "redis://x" });
  assert.deepEqual(await worker({ CELERY_BROKER: "redis://y", BROKER_URL: "redis://x" }), {
    broker: "redis://y",
  });
  assert.deepEqual(await worker({ CELERY_QUIET: "1", CELERY_WORKDIR: "/srv" }), {
    quiet: true,
    workdir: "/srv",
  });
  assert.deepEqual(await worker({ CELERY_APP: "a", APP: "b" }), { app: "a" });
  assert.deepEqual(await worker({ CELERY_WORKER_BROKER: "redis://x" }), {});
});

Deno.test("factsOf: every spelling is one option's alone, and every option has its line of help", async () => {
  for (const entry of COMMANDS) {
    const { options } = factsOf(entry, await entry.load());
    if (entry.isHidden || entry.name === "multi") continue;
    const spellings = options.flatMap(({ long, short, aliases = [] }) => [long, short ?? [], aliases].flat());
    assert.deepEqual(spellings, [...new Set(spellings)], entry.name);
    for (const { long, help } of options) assert.match(help, /\S/, `${entry.name} ${long}`);
  }
});
