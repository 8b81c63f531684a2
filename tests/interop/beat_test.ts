/** Beat as a program: with Python's worker and beat, killed, stopped, suspended, on Redis and on the embedded broker. */

import assert from "node:assert/strict";
import { eventually } from "../support/ports.ts";
import {
  environment,
  lovage,
  type Place,
  Program,
  startBeat,
  startPythonWorker,
  startWorker,
  TASKS,
} from "../support/programs.ts";
import { type RedisServer, requirePython, startRabbit, startRedis } from "../support/servers.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { connect } from "../../lib/transport/mod.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";
import { filePath } from "../../lib/base/mod.ts";
import { KvStore } from "../../lib/beat/store_kv.ts";
import { fakeWorld } from "../support/fake_world.ts";
import { disposableFolder } from "../support/temporary.ts";
import { mustRun } from "../support/run.ts";

const SUPPORT = filePath(new URL("../support", import.meta.url));

interface Envelope {
  body: string;
  headers: Record<string, unknown>;
  properties: Record<string, unknown>;
  [key: string]: unknown;
}

async function startPythonBeat(place: Place, file: string): Promise<Program> {
  const { celery } = await requirePython();
  const argv = [...celery, "-A", "tasks", "beat", "-l", "INFO", "-s", file, "--pidfile", ""];
  const beat = new Program(argv, environment(place), SUPPORT);
  await beat.says(/beat: Starting\.\.\./);
  return beat;
}

/** Everything in a Redis queue, oldest first. */
async function queued(redis: RedisServer, queue = "celery"): Promise<Envelope[]> {
  const texts: string[] = JSON.parse(await redis.cli("--json", "lrange", queue, "0", "-1"));
  return texts.map((one) => JSON.parse(one)).reverse();
}

const body = (one: Envelope) => JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(one.body)));
const idOf = (one: Envelope) => String(one.headers.id);

function place(
  redis: RedisServer,
  entries: Record<string, unknown>,
  conf: Record<string, unknown> = {},
): Place {
  return { broker: redis.url(0), backend: redis.url(1), conf: { beat_schedule: entries, ...conf } };
}

Deno.test("beat: its messages are those captured from Celery 5.6.3, field by field", async () => {
  await using redis = await startRedis();
  await using dir = await disposableFolder();
  const golden = JSON.parse(
    Deno.readTextFileSync(new URL("../golden/redis-beat-5.6.3.json", import.meta.url)),
  ).messages.flatMap((one: { published?: { envelope: Envelope }[] }) => one.published ?? []) as {
    envelope: Envelope;
  }[];
  const entries = {
    "every-second": { task: "tasks.add", schedule: 1, args: [16, 16] },
    "with-options": {
      task: "tasks.echo",
      schedule: 2,
      kwargs: { a: 1 },
      options: { expires: 15, queue: "other", priority: 3, headers: { x: "own" } },
    },
  };
  await using _beat = await startBeat(place(redis, entries), `${dir.path}/s`);
  const ours = await eventually(
    async () => {
      const all = [...await queued(redis), ...await queued(redis, "other\u0006\u00163")];
      return new Set(all.map((one) => one.headers.task)).size === 2 ? all : null;
    },
    "both entries are sent",
    { everyMs: 50 },
  );
  for (const task of ["tasks.add", "tasks.echo"]) {
    const theirs = golden.map(({ envelope }) => envelope).find((one) => one.headers.task === task)!;
    const mine = ours.find((one) => one.headers.task === task)!;
    const shape = (value: unknown, path = ""): string[] =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.entries(value).flatMap(([key, one]) => shape(one, `${path}.${key}`)).sort()
        : [`${path} ${typeof value}`];
    assert.deepEqual(shape(mine), shape(theirs), task);
    for (
      const key of [
        "argsrepr",
        "kwargsrepr",
        "timelimit",
        "retries",
        "lang",
        "shadow",
        "eta",
        "ignore_result",
      ]
    ) {
      assert.deepEqual(mine.headers[key], theirs.headers[key], `${task} ${key}`);
    }
    assert.deepEqual(mine.properties.delivery_info, theirs.properties.delivery_info);
    assert.equal(mine.properties.delivery_mode, 2);
    assert.deepEqual(body(mine), body(theirs));
    assert.equal(mine.properties.correlation_id, mine.headers.id);
    assert.equal(mine.headers.root_id, mine.headers.id);
  }
  const echo = ours.find((one) => one.headers.task === "tasks.echo")!;
  assert.equal(echo.properties.priority, 3);
  assert.equal(echo.headers.x, "own");
  assert.match(String(echo.properties.expiration), /^1[45]\d{3}$/);
});

Deno.test("beat: Python's worker runs what ours sends, ours runs what Python's sends", async () => {
  await using redis = await startRedis();
  await using dir = await disposableFolder();
  const entries = { tick: { task: "t.add", schedule: 1, args: [2, 3] } };
  const where = place(redis, entries);
  {
    await using python = await startPythonWorker(where);
    await using _beat = await startBeat(where, `${dir.path}/ours`);
    await python.says(/Task t\.add\[[0-9a-f-]{36}\] succeeded in .*: 5/);
  }
  await redis.cli("flushall");
  await using worker = await startWorker(where);
  await using _beat = await startPythonBeat(where, `${dir.path}/theirs`);
  await worker.says(/Task t\.add\[[0-9a-f-]{36}\] succeeded in .*: 5/);
});

Deno.test("beat: banner, signals, exit status; what was sent is saved; a second one on the file refuses", async () => {
  await using redis = await startRedis();
  await using dir = await disposableFolder();
  const where = place(redis, {
    tick: { task: "t.add", schedule: 1, args: [2, 3] },
    daily: { task: "t", schedule: 86400 },
  });
  const file = `${dir.path}/celerybeat-schedule`;
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
    const beat = await startBeat(where, file);
    await beat.says(/Sending due task tick \(t\.add\)/);
    // What is sent to every process of a fleet.
    for (const ignored of ["SIGUSR1", "SIGUSR2"] as const) Deno.kill(beat.pid, ignored);
    const second = await lovage(["-A", TASKS, "beat", "-s", file], where);
    assert.equal(second.code, 73);
    assert.match(
      second.err,
      new RegExp(`^Error: Schedule file ".*" is in use: .* \\(pid: ${beat.pid}\\)`, "m"),
    );
    assert.equal(await beat.stop(signal), 0);
    assert.match(beat.text, /^lovage beat v[\d.]+ \(lovage\) is starting\.$/m);
    assert.match(beat.text, /^ {4}\. broker -> redis:\/\/127\.0\.0\.1:\d+\/0$/m);
    assert.match(beat.text, /^ {4}\. scheduler -> persistent$/m);
    assert.doesNotMatch(beat.text, /AppLoader/);
    assert.match(beat.text, /^ {4}\. db -> .*celerybeat-schedule$/m);
    assert.match(beat.text, /^ {4}\. logfile -> \[stderr\]@%DEBUG$/m);
    assert.match(beat.text, /^ {4}\. maxinterval -> 5\.00 minutes \(300s\)$/m);
  }
  const { out, code } = await lovage(["-A", TASKS, "beat", "list", "-s", file, "--json"], where);
  assert.equal(code, 0);
  const listed = JSON.parse(out) as { name: string; count: number; last: string | null; next: string }[];
  assert.deepEqual(listed.map(({ name }) => name), ["daily", "tick"]);
  assert.ok(listed[1]!.count >= 2 && listed[1]!.last !== null);
  assert.equal(listed[0]!.last, null);
  const rows = (await lovage(["-A", TASKS, "beat", "list", "-s", file], where)).out.split("\n");
  assert.match(rows[0]!, /^Name +Task +Schedule +Last run +Next run$/);
  assert.match(rows[1]!, /^daily .* never +\d{4}-/);
  assert.ok(rows[2]!.includes(`  ${listed[1]!.last}  `), rows[2]);
});

Deno.test("beat next: what fires when, in each entry's zone; wrong words are told", async () => {
  const conf = {
    beat_schedule: {
      prague: { task: "t.a", schedule: "0 4 * * *", timezone: "Europe/Prague" },
      york: {
        task: "t.b",
        schedule: { hour: "9", minute: "30", day_of_week: "mon-fri" },
        timezone: "America/New_York",
      },
    },
  };
  await using dir = await disposableFolder();
  const file = `${dir.path}/none`;
  const { out, code } = await lovage(["-A", TASKS, "beat", "next", "8", "--json", "-s", file], { conf });
  assert.equal(code, 0);
  const runs = JSON.parse(out) as { name: string; task: string; time: string }[];
  assert.equal(runs.length, 8);
  const times = runs.map(({ time }) => Date.parse(time));
  assert.deepEqual(times, [...times].sort((a, b) => a - b));
  for (const { name, task, time } of runs) {
    if (name === "prague") assert.match(time, /T04:00:00\+0[12]:00$/);
    else assert.match(time, /T09:30:00-0[45]:00$/);
    assert.equal(task, name === "prague" ? "t.a" : "t.b");
  }
  const text = await lovage(["-A", TASKS, "beat", "next", "-s", file], { conf });
  assert.equal(text.out.trim().split("\n").length, 10);
  for (const verb of ["next", "list"]) {
    assert.equal((await lovage(["-A", TASKS, "beat", verb, "-s", file])).out, "No periodic tasks.\n");
  }
  const wrong = await lovage(["-A", TASKS, "beat", "nxt"], { conf });
  assert.equal(wrong.code, 64);
  assert.match(wrong.err, /No such beat command "nxt": did you mean "next"\?/);
  const many = await lovage(["-A", TASKS, "beat", "next", "0"], { conf });
  assert.equal(many.code, 64);
  const broken = { conf: { beat_schedule: { broken: { task: "t", schedule: "0 25 * * *" } } } };
  const told = await lovage(["-A", TASKS, "beat", "-s", file], broken);
  assert.equal(told.code, 64);
  assert.match(told.err, /Cannot use entry "broken" of beat_schedule: Cannot read hour "25" of a crontab/);
});

/** Kills whoever sends, again and again: another takes over, one of them sends, and nothing is sent twice. */
async function killing(where: Place, sent: () => Promise<{ id: string }[]>, kills: number): Promise<void> {
  await using dir = await disposableFolder();
  const start = (n: number) => startBeat(where, `${dir.path}/s${n}`);
  const beats = await Promise.all([0, 1, 2].map(start));
  const counts = () => beats.map((beat) => beat.text.match(/Sending due task/g)?.length ?? 0);
  /** Waits until one of them has sent twice; which. */
  const leader = async () => {
    const before = counts();
    const gained = () => counts().map((count, at) => count - before[at]!);
    await eventually(() => gained().some((one) => one >= 2), "ticks", { everyMs: 50 });
    assert.equal(gained().filter((one) => one > 0).length, 1, `one of them sends: ${gained()}`);
    return gained().findIndex((one) => one >= 2);
  };
  try {
    for (let n = 0; n < kills; n++) {
      const at = await leader();
      beats[at]!.signal("SIGKILL");
      await beats[at]!.ended;
      beats[at] = await start(at);
      await beats[at]!.says(/standing by|Sending due task/);
    }
    await leader();
  } finally {
    for (const beat of beats) await beat.stop("SIGKILL");
  }
  const ids = (await sent()).map(({ id }) => id);
  assert.ok(ids.length >= 2 * kills, `${ids.length} sent`);
  assert.equal(new Set(ids).size, ids.length, "sent twice");
}

const KILLS = Number(Deno.env.get("LOVAGE_BEAT_KILLS") ?? "2");

Deno.test("beat: three on Redis, the one that sends killed with -9: nothing twice, another takes over", async () => {
  await using redis = await startRedis();
  const where = place(redis, { tick: { task: "t.nobody", schedule: 1 } });
  await killing(where, async () => (await queued(redis)).map((one) => ({ id: idOf(one) })), KILLS);
});

Deno.test("beat: the same on the embedded broker", async () => {
  await using dir = await disposableFolder();
  const broker = `sqlite://${dir.path}/broker.db`;
  const where: Place = { broker, conf: { beat_schedule: { tick: { task: "t.nobody", schedule: 1 } } } };
  const { DatabaseSync } = await import("node:sqlite");
  const sent = () => {
    let database: InstanceType<typeof DatabaseSync>;
    try {
      database = new DatabaseSync(`${dir.path}/broker.db`, { readOnly: true });
    } catch {
      return Promise.resolve([]);
    }
    try {
      const rows = database.prepare("SELECT envelope FROM broker_message ORDER BY id").all();
      return Promise.resolve(rows.map((row) => ({ id: idOf(JSON.parse(String(row["envelope"]))) })));
    } catch {
      return Promise.resolve([]); // its tables are being made
    } finally {
      database.close();
    }
  };
  await killing(where, sent, 1);
});

Deno.test("beat: the same on RabbitMQ", async () => {
  await using rabbit = await startRabbit();
  const where: Place = {
    broker: rabbit.url(),
    conf: { beat_schedule: { tick: { task: "t.nobody", schedule: 1 } } },
  };
  await using connection = await connect(realTestWorld(), rabbit.url(), CONNECT_OPTIONS);
  const all: { id: string }[] = [];
  const sent = async () => {
    for (let note; (note = await connection.take("celery")) !== null;) {
      all.push({ id: String(note.message.headers["id"]) });
    }
    return all;
  };
  await killing(where, sent, 1);
});

Deno.test("beat: inside two workers one sends, and the other takes over when it is killed", async () => {
  await using redis = await startRedis();
  await using dir = await disposableFolder();
  const where = place(redis, { tick: { task: "t.add", schedule: 1, args: [1, 1] } });
  const start = (n: number) =>
    startWorker(where, ["-P", "solo", "-B", "-s", `${dir.path}/s${n}`, "-n", `w${n}@host`]);
  const one = await start(1);
  await one.says(/Sending due task tick/);
  await using two = await start(2);
  await two.says(/Another beat sends for this schedule: standing by/);
  one.signal("SIGKILL");
  await one.ended;
  await two.says(/Taking over: no other beat sends for this schedule/);
  await two.says(/Sending due task tick/);
  assert.equal(await two.stop(), 0);
});

Deno.test("beat: suspended for a while it says so, and stands by for whoever took over", async () => {
  await using redis = await startRedis();
  await using dir = await disposableFolder();
  // Long enough for it to sleep between two runs on a busy machine too.
  const where = place(redis, { tick: { task: "t.nobody", schedule: 3 } });
  await using one = await startBeat(where, `${dir.path}/1`);
  await one.says(/Sending due task tick/);
  await using two = await startBeat(where, `${dir.path}/2`);
  await two.says(/standing by/);
  // Asleep, it cannot take the time for the broker's.
  const before = one.text.length;
  await eventually(() => one.text.slice(before).includes("Waking up in"), "it sleeps");
  one.signal("SIGSTOP");
  await two.says(/Taking over/);
  await eventually(() => (two.text.match(/Sending due task/g)?.length ?? 0) >= 3, "the other sends");
  one.signal("SIGCONT");
  await one.says(/Held up for \d+\.\d\d seconds \(the process was stopped, or the machine busy\)/);
  await one.says(/standing by/);
  const ids = (await queued(redis)).map(idOf);
  assert.equal(new Set(ids).size, ids.length);
});

Deno.test("beat: the broker goes and comes back: told with Celery's line, and nothing is sent twice", async () => {
  await using redis = await startRedis({ aof: true });
  await using dir = await disposableFolder();
  const where = place(redis, { tick: { task: "t.nobody", schedule: 1 } });
  await using beat = await startBeat(where, `${dir.path}/s`);
  await beat.says(/Sending due task tick/);
  await redis.restart(1500);
  await beat.says(/beat: Connection error: .*\. Trying again in \d+\.\d seconds\.\.\./);
  const before = beat.text.length;
  await eventually(() => /t\.nobody sent/.test(beat.text.slice(before)), "it sends again");
  const ids = (await queued(redis)).map(idOf);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(await beat.stop(), 0);
});

Deno.test("schedule file: one of Python's own beat beside it is left alone", async () => {
  const python = await requirePython();
  await using place = await disposableFolder();
  const path = `${place.path}/celerybeat-schedule`;
  const script = `import shelve; s = shelve.open("${path}"); s["entries"] = {}; s["tz"] = "UTC"; s.close()`;
  await mustRun([python.path, "-c", script]);
  const names = () => [...Deno.readDirSync(place.path)].map(({ name }) => name).sort();
  const before = names();
  const world = fakeWorld();
  await (await KvStore.open(world, path)).close();
  const check = `import shelve; assert dict(shelve.open("${path}"))["tz"] == "UTC"`;
  if (before.includes("celerybeat-schedule")) {
    assert.match(world.log.messages("WARNING")[0]!, /one of Python's/);
  } else {
    await mustRun([python.path, "-c", check]);
  }
});
