/**
 * Events between Lovage and Python: Celery's receiver, state and dump follow a Lovage worker through every event type,
 * ours follow a Python worker; mingle, gossip and elections among both.
 */

import assert from "node:assert/strict";
import { App } from "lovage";
import type { ReceivedEvent } from "lovage";
import {
  environment,
  lovage,
  type Place,
  Program,
  startPythonWorker,
  startWorker,
} from "../support/programs.ts";
import { eventually } from "../support/ports.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRabbit, startRedis } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";

const MODULE = `
import { App, Ignore, Reject } from "lovage";
const env = (name: string) => Deno.env.get(name) || "";
export const app = new App("events", {
  broker_url: env("TEST_BROKER"), result_backend: env("TEST_BACKEND"), task_send_sent_event: true,
});
class ValueError extends Error {}
app.task("t.add", (x: number, y: number) => x + y);
app.task("t.fail", () => { throw new ValueError("boom"); });
app.task("t.retry", { bind: true }, (self) => {
  if (self.request.retries < 1) throw self.retry({ countdown: 0.1, exc: new ValueError("again") });
  return "done";
});
app.task("t.reject", { acksLate: true }, () => { throw new Reject("no", { requeue: false }); });
app.task("t.sleep", async (seconds: number) => { await new Promise((done) => setTimeout(done, seconds * 1000)); });
app.task("t.custom", { bind: true }, (self) => { self.sendEvent("task-halfway", { done: 50 }); return null; });
app.task("t.parent", { bind: true }, async (self) => (await app.sendTask("t.add", { args: [1, 1] })).id);
app.task("t.silent", { sendEvents: false }, () => "unheard");
`;

interface Followed {
  event: ReceivedEvent;
  state: {
    tasks: Record<string, Record<string, unknown>>;
    workers: Record<string, Record<string, unknown>>;
  };
}

/** Celery's receiver and state in a process of their own. */
class Follower implements AsyncDisposable {
  readonly program: Program;

  constructor(place: Place) {
    const script = filePath(new URL("events_follow.py", import.meta.url));
    this.program = new Program(["/usr/bin/python3", script], environment(place));
  }

  get all(): Followed[] {
    return this.program.text.split("\n").filter((line) => line.startsWith('{"event"')).flatMap((line) => {
      try {
        return [JSON.parse(line) as Followed];
      } catch {
        return []; // the last line is still coming
      }
    });
  }

  of(uuid: string): ReceivedEvent[] {
    return this.all.map(({ event }) => event).filter((event) => event["uuid"] === uuid);
  }

  async hears(uuid: string, type: string): Promise<ReceivedEvent> {
    const find = () => this.of(uuid).find((event) => event.type === type);
    await eventually(
      () => find() !== undefined,
      () => `${type} of ${uuid}: ${this.program.text.slice(-2000)}`,
    );
    return find()!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program.stop("SIGTERM");
  }
}

async function call(file: string, place: Place, args: readonly string[]): Promise<string> {
  const { code, out, err } = await lovage(["-A", file, "call", ...args], place);
  assert.equal(code, 0, err);
  return out.trim();
}

Deno.test("Celery's receiver and state follow a Lovage worker through every event type", async (t) => {
  await using redis = await startRedis();
  const folder = await Deno.makeTempDir();
  const file = `${folder}/tasks.ts`;
  await Deno.writeTextFile(file, MODULE);
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  await using follower = new Follower(place);
  await follower.program.says(/"ready"/);
  await using dump = new Program(
    ["/usr/bin/python3", "-m", "celery", "-b", redis.url(0), "events", "--dump"],
    environment(place),
  );
  await dump.says(/starting capture/);
  await eventually(
    async () => (await redis.cli("CLIENT", "LIST", "TYPE", "pubsub")).split("psub=1").length > 2,
    "both listen",
  );
  const worker = await startWorker(place, ["-P", "prefork", "-c", "2", "-E", "-n", "w1@x"], { app: file });

  await t.step(
    "success: sent, received, started, succeeded, with Celery's fields in their order",
    async () => {
      const id = await call(file, place, ["t.add", "-a", "[2, 3]"]);
      const succeeded = await follower.hears(id, "task-succeeded");
      assert.deepEqual(follower.of(id).map((event) => event.type), [
        "task-sent",
        "task-received",
        "task-started",
        "task-succeeded",
      ]);
      const [sent, received] = follower.of(id);
      const common = ["hostname", "utcoffset", "pid", "clock"];
      const end = ["timestamp", "type", "local_received"];
      assert.deepEqual(Object.keys(sent!), [
        ...common,
        ..."uuid root_id parent_id name args kwargs retries eta expires queue exchange routing_key".split(
          " ",
        ),
        ...end,
      ]);
      assert.deepEqual(Object.keys(received!), [
        ...common,
        ..."uuid name queue args kwargs root_id parent_id retries eta expires".split(" "),
        ...end,
      ]);
      assert.deepEqual(Object.keys(succeeded), [...common, "uuid", "result", "runtime", ...end]);
      assert.equal(succeeded["result"], "5");
      assert.equal(sent!["queue"], "celery");
      assert.match(sent!.hostname, /^gen\d+@/);
      const { state } = follower.all.at(-1)!;
      const task = state.tasks[id]!;
      assert.deepEqual([task["name"], task["state"], task["result"], task["worker"]], [
        "t.add",
        "SUCCESS",
        "5",
        "w1@x",
      ]);
      const clocks = follower.of(id).slice(1).map((event) => event.clock);
      assert.deepEqual(clocks, [...clocks].sort((a, b) => a - b));
    },
  );

  await t.step(
    "failed, retried, rejected, custom, a child's parent; tasks without events are silent",
    async () => {
      const failed = await follower.hears(await call(file, place, ["t.fail"]), "task-failed");
      assert.equal(failed["exception"], "ValueError('boom')");
      assert.match(String(failed["traceback"]), /ValueError: boom/);
      const retry = await call(file, place, ["t.retry"]);
      await follower.hears(retry, "task-succeeded");
      assert.equal((await follower.hears(retry, "task-retried"))["exception"], "ValueError('again')");
      const reject = await call(file, place, ["t.reject"]);
      assert.equal((await follower.hears(reject, "task-failed"))["exception"], "Reject('no', False)");
      assert.equal((await follower.hears(reject, "task-rejected"))["requeue"], false);
      const custom = await follower.hears(await call(file, place, ["t.custom"]), "task-halfway");
      assert.equal(custom["done"], 50);
      const silent = await call(file, place, ["t.silent"]);
      const parent = await call(file, place, ["t.parent"]);
      const child = JSON.parse(`"${(await follower.hears(parent, "task-succeeded"))["result"]}"`).replaceAll(
        "'",
        "",
      );
      assert.equal((await follower.hears(child, "task-succeeded"))["uuid"], child);
      assert.equal(follower.all.at(-1)!.state.tasks[child]!["parent"], parent);
      assert.deepEqual(follower.of(silent).map((event) => event.type), ["task-sent"]);
    },
  );

  await t.step("revoked: before it came, expired, and while it ran", async () => {
    const wait = async (id: string) => (await follower.hears(id, "task-revoked"))!;
    const expired = await wait(
      await call(file, place, ["t.add", "-a", "[1,1]", "--expires", "2020-01-01T00:00:00Z"]),
    );
    assert.deepEqual([expired["terminated"], expired["signum"], expired["expired"]], [false, null, true]);
    await lovage(["-b", redis.url(0), "control", "revoke", "early-id"], place);
    await call(file, place, ["t.add", "-a", "[1,1]", "--task-id", "early-id"]);
    const early = await wait("early-id");
    assert.deepEqual([early["terminated"], early["signum"], early["expired"]], [false, null, false]);
    const running = await call(file, place, ["t.sleep", "-a", "[30]"]);
    await follower.hears(running, "task-started");
    await lovage(["-b", redis.url(0), "control", "terminate", "SIGTERM", running], place);
    const terminated = await wait(running);
    assert.deepEqual([terminated["terminated"], terminated["signum"], terminated["expired"]], [
      true,
      15,
      false,
    ]);
    assert.equal(follower.all.at(-1)!.state.tasks[running]!["state"], "REVOKED");
  });

  await t.step("disable_events and enable_events at run time, of a worker without -E", async () => {
    const quiet = await startWorker(place, ["-P", "solo", "-n", "w2@x", "-Q", "quiet"], { app: file });
    const before = await call(file, place, ["t.add", "-a", "[1,1]", "--queue", "quiet", "--wait"]);
    assert.equal(before, "2");
    const control = (name: string) => lovage(["-b", redis.url(0), "control", name, "-d", "w2@x"], place);
    assert.match((await control("enable_events")).out, /task events enabled/);
    assert.match((await control("enable_events")).out, /task events already enabled/);
    const heard = await call(file, place, ["t.add", "-a", "[1,1]", "--queue", "quiet"]);
    await follower.hears(heard, "task-succeeded");
    assert.match((await control("disable_events")).out, /task events disabled/);
    await quiet.stop();
    assert.equal(
      follower.all.filter(({ event }) => event.hostname === "w2@x" && event.type === "task-succeeded").length,
      1,
    );
  });

  await t.step(
    "an election: with one worker it survives and runs the task, heard as elect and ack",
    async () => {
      const app = new App("chair", { broker_url: redis.url(0) }, { world: realTestWorld() });
      await app.control.election("e1", "task", { task: "t.add", args: [20, 22], kwargs: {}, options: {} });
      await worker.says(/I won the election 'e1'/);
      await eventually(
        () => follower.all.some(({ event }) => event.type === "task-succeeded" && event["result"] === "42"),
        () => `the elected task: ${worker.text.slice(-1500)}`,
      );
      const types = follower.all.map(({ event }) => event.type);
      assert.ok(types.includes("worker-elect") && types.includes("worker-elect-ack"));
      await app.close();
    },
  );

  await t.step("online, heartbeat and offline tell how the worker is; the dump has it all", async () => {
    const isOurs = ({ event }: { event: ReceivedEvent }) => event.hostname === "w1@x";
    await eventually(
      () => follower.all.some((one) => isOurs(one) && one.event.type === "worker-heartbeat"),
      "a heartbeat",
    );
    await worker.stop();
    await dump.says(/w1@x \[[^\]]+\] shutdown: /);
    const ofWorker = follower.all.filter(isOurs);
    const online = ofWorker.find(({ event }) => event.type === "worker-online")!.event;
    assert.deepEqual(
      Object.keys(online).slice(4, -3),
      "freq active processed loadavg sw_ident sw_ver sw_sys".split(" "),
    );
    assert.deepEqual([online["freq"], online["sw_ident"], online["sw_sys"]], [2, "lovage", "Linux"]);
    const alive = ofWorker.find(({ event }) => event.type === "worker-heartbeat")!.state.workers["w1@x"]!;
    assert.equal(alive["alive"], true);
    assert.match(dump.text, /w1@x \[[^\]]+\] started: active=0, clock=\d+/);
    assert.match(dump.text, /task received: t\.add\([0-9a-f-]+\) args=\(2, 3\) kwargs=\{\} clock=/);
    assert.match(
      dump.text,
      /task succeeded: t\.add\([0-9a-f-]+\) args=\(2, 3\) kwargs=\{\} clock=\d+.*result=5/,
    );
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("our receiver, state and dump follow a Python worker; mingle, gossip and election among both", async (t) => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  const app = new App("follow", { broker_url: redis.url(0) }, { world: realTestWorld() });
  const heard: ReceivedEvent[] = [];
  const state = new app.events.State({ callback: (_, event) => heard.push(event) });
  await using _receiver = await app.events.receiver({ handlers: { "*": (event) => state.event(event) } });
  await using dump = new Program(
    [...(await import("../support/programs.ts")).LOVAGE, "-b", redis.url(0), "events", "--dump"],
    environment(place),
  );
  await dump.says(/starting capture/);
  const python = await startPythonWorker(place, ["-n", "py@x", "-E"], { level: "DEBUG", isAlone: false });

  await t.step("every event of its tasks", async () => {
    const added = await app.sendTask("t.add", { args: [2, 3] });
    const failed = await app.sendTask("t.fail", { args: ["ValueError", "boom"] });
    await eventually(() => state.tasks.get(failed.id)?.state === "FAILURE", "the failure");
    const task = state.tasks.get(added.id)!;
    assert.deepEqual([task.name, task.state, task.result, task.worker?.hostname, task.args], [
      "t.add",
      "SUCCESS",
      "5",
      "py@x",
      "(2, 3)",
    ]);
    assert.ok(task.runtime !== null && task.received! <= task.started! && task.started! <= task.succeeded!);
    assert.equal(state.tasksByTime()[0]!.uuid, failed.id);
    assert.deepEqual(state.aliveWorkers().map((one) => [one.hostname, one.freq, one.swIdent]), [
      ["py@x", 2, "py-celery"],
    ]);
    await dump.says(
      /py@x \[\d{4}-\d\d-\d\d [\d:.]+\] task succeeded: t\.add\([0-9a-f-]+\) args=\(2, 3\) kwargs=\{\} clock=/,
    );
  });

  await app.control.revoke("revoked-before");
  await python.says(/Tasks flagged as revoked: revoked-before/);
  const ours = await startWorker(place, ["-P", "solo", "-n", "ours@x", "-Q", "ours"], { level: "DEBUG" });

  await t.step(
    "mingle: ours learns what Python's has revoked, and is ready before the answer's deadline",
    async () => {
      await ours.says(/mingle: sync with 1 nodes/);
      assert.match(ours.text, /mingle: searching for neighbors[\s\S]*mingle: sync complete/);
      await python.says(/sync with ours@x/);
      const id = "revoked-before";
      await app.sendTask("t.add", { args: [1, 1], taskId: id, queue: "ours" });
      await ours.says(/Discarding revoked task: t\.add\[revoked-before\]/);
    },
  );

  await t.step("mingle: a Python worker learns from ours", async () => {
    await app.control.revoke("revoked-by-us", { destination: "ours@x" });
    await ours.says(/Tasks flagged as revoked: revoked-by-us/);
    await using second = await startPythonWorker(place, ["-n", "py2@x", "-Q", "second"]);
    void second;
    const third = await startPythonWorker(place, ["-n", "py3@x", "-Q", "third"], { isAlone: false });
    await app.sendTask("t.add", { args: [1, 1], taskId: "revoked-by-us", queue: "third" });
    await third.says(/Discarding revoked task: t\.add\[revoked-by-us\]/);
    await third.stop();
  });

  await t.step("gossip: joins and leaves, and one that was killed is missed", async () => {
    await ours.says(/py@x joined the party/);
    await ours.says(/py3@x left/);
    await python.says(/ours@x joined the party/);
  });

  await t.step("election: all agree, and the winner runs the task once", async () => {
    // Of two, a Python worker ends by its own acknowledgement (IndexError) where it hears that before the other.
    await using second = await startWorker(place, ["-P", "solo", "-n", "ours2@x", "-Q", "none"]);
    // Who does not know of all decides too early.
    const since = heard.length;
    for (const one of [python, ours]) await one.says(/ours2@x joined the party/);
    await eventually(
      () => ["py@x", "ours@x"].every((name) => heard.slice(since).some(({ hostname }) => hostname === name)),
      "a word of both since the third one listens",
    );
    const all = [ours, python, second];
    const runs = () => ours.text.match(/Task t\.echo\[[0-9a-f-]+\] succeeded/g)?.length ?? 0;
    // A worker decides at as many acknowledgements as workers live, of those that came since it heard of the election:
    // who hears late counts others than its neighbours, and may come to another leader. Then there is another election.
    for (let n = 2;; n++) {
      assert.ok(n < 8, "no election of six was unanimous");
      const before = runs();
      await app.control.election(`e${n}`, "task", {
        task: "t.echo",
        args: ["elected"],
        kwargs: {},
        options: { queue: "ours" },
      });
      const told = new RegExp(`(I won the election|node \\S+ elected for) 'e${n}'`);
      for (const one of all) await one.says(told);
      const winners = all.filter((one) => one.text.includes(`I won the election 'e${n}'`));
      await eventually(() => runs() === before + winners.length, `${winners.length} runs`);
      if (winners.length === 1) break;
    }
  });

  await t.step("a killed neighbour is missed", async () => {
    await python.stop("SIGKILL");
    await ours.says(/missed heartbeat from py@x/);
    await eventually(() => state.workers.get("py@x")?.alive === false, "not alive in the state either");
  });

  await t.step("hostile and huge events are one line in the log, and the worker goes on", async () => {
    const body = (value: string) =>
      JSON.stringify({
        "body": btoa(value),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {},
        "properties": {
          body_encoding: "base64",
          delivery_info: { exchange: "celeryev", routing_key: "worker.x" },
          delivery_tag: "1",
        },
      });
    const publish = (text: string) => redis.cli("PUBLISH", "/0.celeryev/worker.heartbeat", text);
    const values = [
      "[]",
      "7",
      "{}",
      '{"type": 5}',
      '{"type": "worker-heartbeat"}',
      '{"type": "worker-heartbeat", "hostname": "h\\u001b[31m", "clock": "x", "timestamp": "never", "freq": -1}',
      '{"type": "worker-elect", "hostname": "h", "id": {"a": 1}}',
      "[".repeat(5000),
      "not json",
    ];
    for (const value of values) await publish(body(value));
    await publish("not an envelope");
    await ours.says(/dropped: /);
    const done = await app.sendTask("t.echo", { args: ["still here"], queue: "ours" });
    await ours.says(new RegExp(`${done.id}\\] succeeded`));
    assert.equal(ours.text.includes("\u001b[31m"), false);
  });

  assert.equal(await ours.stop(), 0);
  await app.close();
});

Deno.test("a worker that is alone does not wait out the second that mingle gives others", async () => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  const worker = await startWorker(place, ["-P", "solo", "-n", "alone@x"]);
  await worker.says(/mingle: all alone/);
  const at = (pattern: RegExp) =>
    Date.parse(`2000-01-01T${pattern.exec(worker.text)![1]!.replace(",", ".")}Z`);
  const asked = at(/(\d\d:\d\d:\d\d,\d+): INFO\/MainProcess\] mingle: searching/);
  const ready = at(/(\d\d:\d\d:\d\d,\d+): INFO\/MainProcess\] alone@x ready/);
  assert.ok(ready - asked < 900, `${ready - asked} ms`);
  assert.equal(await worker.stop(), 0);
});

Deno.test("on RabbitMQ: events, mingle and gossip with Python, both ways", async () => {
  await using rabbit = await startRabbit();
  const place: Place = { broker: rabbit.url(), env: { TEST_BACKEND: "" } };
  await using follower = new Follower(place);
  await follower.program.says(/"ready"/);
  const app = new App("follow", { broker_url: rabbit.url() }, { world: realTestWorld() });
  const state = new app.events.State();
  await using _receiver = await app.events.receiver({ handlers: { "*": (event) => state.event(event) } });
  await using python = await startPythonWorker(place, ["-n", "py@x", "-E"], {
    level: "DEBUG",
    isAlone: false,
  });
  const ours = await startWorker(place, ["-P", "solo", "-n", "ours@x", "-Q", "ours", "-E"], {
    level: "DEBUG",
  });
  await ours.says(/mingle: sync with 1 nodes[\s\S]*mingle: sync complete/);
  await python.says(/sync with ours@x/);
  await python.says(/ours@x joined the party/);
  await ours.says(/py@x joined the party/);
  const here = await app.sendTask("t.add", { args: [2, 3], queue: "ours" });
  assert.equal((await follower.hears(here.id, "task-succeeded"))["result"], "5");
  const there = await app.sendTask("t.add", { args: [3, 4] });
  await eventually(() => state.tasks.get(there.id)?.result === "7", "Python's success in our state");
  assert.equal(await ours.stop(), 0);
  await python.says(/ours@x left/);
  await app.close();
});

Deno.test("on the embedded broker: events, mingle and gossip between processes", async () => {
  const folder = await Deno.makeTempDir();
  const place: Place = { broker: `sqlite:///${folder}/b.db`, backend: `sqlite:///${folder}/b.db` };
  const app = new App("follow", { broker_url: place.broker! }, { world: realTestWorld() });
  const state = new app.events.State();
  const receiver = await app.events.receiver({ handlers: { "*": (event) => state.event(event) } });
  const first = await startWorker(place, ["-P", "solo", "-n", "a@x", "-E"], { level: "DEBUG" });
  await first.says(/mingle: all alone/);
  await app.control.revoke("revoked-early");
  await first.says(/Tasks flagged as revoked: revoked-early/);
  const second = await startWorker(place, ["-P", "solo", "-n", "b@x", "-Q", "b"], { level: "DEBUG" });
  await second.says(/mingle: sync with 1 nodes/);
  await app.sendTask("t.add", { args: [1, 1], taskId: "revoked-early", queue: "b" });
  await second.says(/Discarding revoked task: t\.add\[revoked-early\]/);
  const { id } = await app.sendTask("t.add", { args: [2, 3] });
  await eventually(() => state.tasks.get(id)?.result === "5", "the success");
  assert.equal(await second.stop(), 0);
  await first.says(/b@x left/);
  await receiver.close();
  assert.equal(await first.stop(), 0);
  await app.close();
  await Deno.remove(folder, { recursive: true });
});
