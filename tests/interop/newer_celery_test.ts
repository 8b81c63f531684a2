/**
 * What docs/from-celery.md says of Celery 5.3 and newer, row by row, by the program: those rows that no other test shows
 * whole. One RabbitMQ serves the queues' settings; the rest runs on the embedded broker.
 */

import assert from "node:assert/strict";
import { App, chain, chord, group, type Signature } from "lovage";
import { eventually } from "../support/ports.ts";
import { environment, LOVAGE, lovage, type Place, Program, startWorker, TASKS } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type RabbitServer, startRabbit, startRedis } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";

let rabbit: RabbitServer;
let used = 0;

Deno.test.beforeAll(async () => {
  rabbit = await startRabbit();
  await rabbit.addVhosts(Array.from({ length: 8 }, (_, n) => `n${n}`));
});
Deno.test.afterAll(() => rabbit?.stop());

/** A virtual host of one test's own. */
function newVhost(
  conf: Record<string, unknown>,
): { place: Place; list(what: "queues" | "exchanges", ...columns: string[]): Promise<string> } {
  const vhost = `n${used++}`;
  return {
    place: { broker: rabbit.url({ vhost }), backend: "rpc://", conf },
    list: (what, ...columns) => rabbit.ctl("-q", `list_${what}`, "-p", vhost, ...columns),
  };
}

function openApp(place: Place): App {
  return new App("newer", {
    broker_url: place.broker!,
    result_backend: place.backend!,
    ...place.conf,
  }, { world: realTestWorld() });
}

const MODULE = `
import { App } from "lovage";
export const app = new App("newer");
app.conf.update(JSON.parse(Deno.env.get("TEST_CONF") || "{}"));
const note = (text: string) => Deno.writeTextFileSync(Deno.env.get("NOTES")!, text + "\\n", { append: true });
app.task("n.ok", (...args: unknown[]) => args.at(-1) ?? null);
app.task("n.fail", (text: string) => { throw new Error(text) });
app.task("n.note", (...args: unknown[]) => note(JSON.stringify(args)));
app.task("n.swap", {
  bind: true,
  onReplace: (_self, signature) => note("replaced by " + (signature as { task: string }).task),
}, (self) => self.replace(self.app.signature("n.ok", { args: ["swapped"] })));
app.task("n.kept", { acksLate: true }, () => { throw new Error("kept") });
app.task("n.slow", { acksLate: true, timeLimit: 0.5 }, () => new Promise(() => {}));
app.task("n.limits", { bind: true }, (self) => [self.request.timeLimit, self.request.softTimeLimit]);
`;

/** Tasks of MODULE on the embedded broker, and what they noted. */
class Here implements AsyncDisposable {
  readonly place: Place;
  readonly module: string;
  #folder: Awaited<ReturnType<typeof disposableFolder>>;
  #notes: string;

  private constructor(folder: Awaited<ReturnType<typeof disposableFolder>>, conf: Record<string, unknown>) {
    this.#folder = folder;
    this.module = `${folder.path}/tasks.ts`;
    this.#notes = `${folder.path}/notes`;
    const url = `sqlite://${folder.path}/lovage.db`;
    this.place = {
      broker: url,
      backend: url,
      conf: { broker_url: url, result_backend: url, ...conf },
      env: { NOTES: this.#notes },
    };
  }

  static async make(conf: Record<string, unknown> = {}): Promise<Here> {
    const here = new Here(await disposableFolder(), conf);
    await Deno.writeTextFile(here.module, MODULE);
    await Deno.writeTextFile(here.#notes, "");
    return here;
  }

  /** A worker that is ready. */
  work(...args: string[]): Promise<Program> {
    return startWorker(this.place, ["-P", "solo", ...args], { app: this.module });
  }

  async notes(): Promise<string[]> {
    return (await Deno.readTextFile(this.#notes)).split("\n").filter(Boolean);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

Deno.test("5.3: task_allow_error_cb_on_chord_header: an errback is called for the header's task, too", async () => {
  for (const isAllowed of [false, true]) {
    await using here = await Here.make({ task_allow_error_cb_on_chord_header: isAllowed });
    await using _worker = await here.work();
    await using app = openApp(here.place);
    const made = chord([app.signature("n.fail", { args: ["boom"] })], app.signature("n.ok"));
    made.linkError(app.signature("n.note", { args: ["errback"], immutable: true }));
    await assert.rejects((await made.applyAsync()).get({ timeout: 120 }), /boom/);
    const count = isAllowed ? 2 : 1;
    await eventually(async () => (await here.notes()).length >= count, "the errbacks");
    await app.sendTask("n.ok").then((one) => one.get({ timeout: 120 }));
    assert.deepEqual(await here.notes(), Array(count).fill('["errback"]'));
  }
});

Deno.test("5.3: onReplace is called where a task replaces itself", async () => {
  await using here = await Here.make();
  await using _worker = await here.work();
  await using app = openApp(here.place);
  assert.equal(await (await app.sendTask("n.swap")).get({ timeout: 120 }), "swapped");
  assert.deepEqual(await here.notes(), ["replaced by n.ok"]);
});

Deno.test("5.4: a chain's id is its last task's", async () => {
  await using here = await Here.make();
  await using _worker = await here.work();
  await using app = openApp(here.place);
  const ok = (n: number) => app.signature("n.ok", { args: [n] });
  const sent = await chain(ok(1), ok(2)).applyAsync([], {}, { taskId: "of-the-last" });
  assert.equal(sent.id, "of-the-last");
  assert.equal(await app.AsyncResult("of-the-last").get({ timeout: 120 }), 2);
});

Deno.test("5.6: a chain of chords grows with its length, and not with its square", async () => {
  await using redis = await startRedis();
  await using app = openApp({ broker: redis.url(0), backend: redis.url(1) });
  const sizes: number[] = [];
  for (const length of [5, 10, 20]) {
    const ok = () => app.signature("n.ok", { immutable: true }) as Signature;
    const parts = Array.from({ length }, () => chord([ok(), ok()], ok()));
    await chain(...parts).applyAsync();
    let largest = 0;
    for (let text; (text = await redis.cli("rpop", "celery")) !== "";) {
      largest = Math.max(largest, text.length);
    }
    sizes.push(largest);
  }
  const [five, ten, twenty] = sizes as [number, number, number];
  // Ten chords more cost twice what five more cost; with nested bodies it would be four times as much and more.
  assert.ok((twenty - ten) / (ten - five) < 2.5, sizes.join());
});

Deno.test("5.6: a warm shutdown keeps the broker's heartbeats: a long task is acknowledged on its connection", async () => {
  const { place, list } = newVhost({ broker_heartbeat: 1, task_acks_late: true });
  await using worker = await startWorker(place, ["-P", "processes", "-c", "1", "-n", "warm@h"]);
  await using app = openApp(place);
  // RabbitMQ closes a connection that says nothing for twice a heartbeat's time.
  const long = await app.sendTask("t.sleep", { args: [6] });
  await worker.says(new RegExp(`${long.id}\\] received`));
  worker.signal("SIGTERM");
  assert.equal(await long.get({ timeout: 120 }), 6);
  assert.equal((await worker.ended).code, 0);
  assert.match(worker.text, /Warm shutdown/);
  assert.doesNotMatch(worker.text, /lost/i);
  assert.match(await list("queues", "name", "messages"), /^celery\t0$/m);
});

Deno.test("main: task_acks_on_failure and task_acks_on_timeout: what is not acknowledged does not vanish", async () => {
  await using here = await Here.make({
    task_acks_on_failure: false,
    task_acks_on_timeout: false,
    task_max_attempts: 2,
  });
  await using worker = await startWorker(here.place, ["-P", "processes", "-c", "1"], { app: here.module });
  await using app = openApp(here.place);
  await assert.rejects((await app.sendTask("n.kept")).get({ timeout: 120 }), /kept/);
  const slow = await app.sendTask("n.slow");
  await assert.rejects(slow.get({ timeout: 120 }), /TimeLimitExceeded/);
  // At its limit it is given back, and runs as often as its attempts allow.
  await eventually(() => worker.text.match(/Hard time limit \(0\.5s\) exceeded/g)?.length === 2, "twice");
  await worker.says(/it is kept in the dead letters/);
  const { out } = await lovage(["-A", here.module, "dead", "list", "--json"], here.place);
  assert.deepEqual((JSON.parse(out) as { task_id: string }[]).map((one) => one.task_id), [slow.id]);
  assert.equal(await worker.stop(), 0);
});

Deno.test("main: request.timeLimit and softTimeLimit; an empty group in a chain; exists()", async () => {
  await using here = await Here.make();
  await using _worker = await here.work();
  await using app = openApp(here.place);
  const limits = await app.sendTask("n.limits", { timeLimit: 90, softTimeLimit: 60 });
  assert.deepEqual(await limits.get({ timeout: 120 }), [90, 60]);
  const ok = (n: number) => app.signature("n.ok", { args: [n] });
  const sent = await chain(ok(1), group(), ok(2)).applyAsync();
  assert.equal(await sent.get({ timeout: 120 }), 2);
  assert.deepEqual([await app.AsyncResult(sent.id).exists(), await app.AsyncResult("nobody").exists()], [
    true,
    false,
  ]);
});

Deno.test("5.6: worker_eta_task_limit: a worker holds no more that is not due", async () => {
  const { place, list } = newVhost({ worker_eta_task_limit: 3, worker_prefetch_multiplier: 1 });
  await using worker = await startWorker(place, ["-P", "solo", "-n", "w@h"]);
  await using app = openApp(place);
  for (let n = 0; n < 8; n++) await app.sendTask("t.add", { args: [n, n], countdown: 3600 });
  await eventually(() => worker.text.match(/ received/g)?.length === 3, () => worker.text);
  await eventually(
    async () =>
      /^celery\t5\t/m.test(await list("queues", "name", "messages_ready", "messages_unacknowledged")),
    "the rest stays in the queue",
    { everyMs: 500 },
  );
  const { out } = await lovage(["-A", TASKS, "inspect", "scheduled", "--json"], place);
  assert.equal((JSON.parse(out)["w@h"] as unknown[]).length, 3);
});

Deno.test("5.6: task_create_missing_queue_type and _exchange_type; durable control and events", async () => {
  const { place, list } = newVhost({
    task_create_missing_queue_type: "quorum",
    task_create_missing_queue_exchange_type: "topic",
    control_queue_durable: true,
    event_queue_durable: true,
    worker_detect_quorum_queues: false,
  });
  await using worker = await startWorker(place, ["-P", "solo", "-n", "w@h", "-Q", "missing"]);
  await using app = openApp(place);
  const sent = await app.sendTask("t.add", { args: [20, 22], queue: "missing" });
  assert.equal(await sent.get({ timeout: 120 }), 42);
  await using _events = new Program([...LOVAGE, "-A", TASKS, "events", "--json"], environment(place));
  let text = "";
  await eventually(
    async () => /^celeryev\./m.test(text = await list("queues", "name", "durable", "type")),
    () => text,
    { everyMs: 200 },
  );
  assert.match(text, /^celeryev\.\S+\ttrue\t/m);
  assert.match(text, /^missing\ttrue\t.*quorum/m);
  assert.match(text, /^w@h\.celery\.pidbox\ttrue\t/m);
  // And quorum queues are not looked for: a delay is the worker's.
  assert.doesNotMatch(text, /celery_delayed/);
  assert.match(await list("exchanges", "name", "type"), /^missing\ttopic$/m);
  await app.sendTask("t.add", { args: [1, 1], queue: "missing", countdown: 3600 });
  await worker.says(/received/);
  const { out: scheduled } = await lovage(["-A", TASKS, "inspect", "scheduled", "--json"], place);
  assert.equal((JSON.parse(scheduled)["w@h"] as unknown[]).length, 1);
});

Deno.test("5.6: --disable-prefetch: on RabbitMQ one message waits in the worker, and the rest in the queue", async () => {
  await using folder = await disposableFolder();
  const { place, list } = newVhost({});
  await using worker = await startWorker(place, ["-P", "processes", "-c", "1", "--disable-prefetch"]);
  await using app = openApp(place);
  const end = `${folder.path}/end`;
  const sent = await app.sendMany(Array.from({ length: 4 }, () => ({ task: "t.hold", args: [end] })));
  await worker.says(/received/);
  let text = "";
  await eventually(
    async () =>
      /^celery\t2\t1$/m.test(
        text = await list("queues", "name", "messages_ready", "messages_unacknowledged"),
      ),
    () => text,
    { everyMs: 200 },
  );
  assert.equal(worker.text.match(/ received/g)?.length, 1);
  await Deno.writeTextFile(end, "");
  for (const one of sent) assert.equal(await one.get({ timeout: 120 }), "held");
});
