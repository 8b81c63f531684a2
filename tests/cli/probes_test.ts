/** `--http`: what a worker and a beat tell Prometheus and whoever starts and stops them, on a real broker. */

import assert from "node:assert/strict";
import { eventually, freePort } from "../support/ports.ts";
import { environment, LOVAGE, lovage, type Place, Program, startWorker, TASKS } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";
import { disposableFolder, exists } from "../support/temporary.ts";

interface Got {
  readonly status: number;
  readonly body: string;
}

async function get(port: number, path: string, accept = "*/*"): Promise<Got> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { accept } });
  return { status: response.status, body: await response.text() };
}

/** The value of one sample, with its labels as they are written. */
function sample(text: string, name: string): number | null {
  const line = text.split("\n").find((one) => one.startsWith(`${name} `));
  return line === undefined ? null : Number(line.slice(name.length + 1));
}

async function called(place: Place, task: string, args: unknown[]): Promise<void> {
  const { code, err } = await lovage(["call", task, "-a", JSON.stringify(args), "-A", TASKS], place);
  assert.equal(code, 0, err);
}

Deno.test("worker --http: counts of tasks, readiness that follows the broker, liveness that does not", async () => {
  const port = freePort();
  await using redis = await startRedis();
  await using folder = await disposableFolder();
  const place: Place = {
    broker: redis.url(),
    backend: redis.url(1),
    conf: { beat_schedule: { seldom: { task: "t.add", schedule: 86_400, args: [1, 2] } } },
  };
  const beat = ["-B", "-s", `${folder.path}/schedule`];
  const at = ["--http", `127.0.0.1:${port}`];
  await using worker = await startWorker(place, ["-c", "1", "-n", "w@host1", ...beat, ...at]);
  await worker.says(/Serving metrics and health at http:\/\/127\.0\.0\.1:\d+/);
  assert.equal((await get(port, "/readyz")).body, "ok\n");
  const json = JSON.parse((await get(port, "/readyz", "application/json")).body);
  assert.equal(json.status, "ok");
  assert.deepEqual(json.checks.map((check: { name: string }) => check.name), [
    "state",
    "broker",
    "consumer",
    "pool",
    "beat",
  ]);
  const ofBeat = (await get(port, "/metrics")).body;
  assert.deepEqual([sample(ofBeat, "celery_beat_entries"), sample(ofBeat, "celery_beat_leader")], [1, 1]);
  await called(place, "t.add", [1, 2]);
  await called(place, "t.fail", ["ValueError", "no"]);
  const labels = 'hostname="host1"';
  const failed =
    `celery_task_failed_total{name="t.fail",${labels},exception="ValueError",queue_name="celery"}`;
  let text = "";
  await eventually(async () => {
    text = (await get(port, "/metrics")).body;
    return sample(text, failed) === 1;
  }, () => text);
  assert.equal(sample(text, `celery_task_succeeded_total{name="t.add",${labels},queue_name="celery"}`), 1);
  assert.equal(sample(text, `celery_task_runtime_count{name="t.add",${labels},queue_name="celery"}`), 1);
  assert.equal(sample(text, `celery_worker_pool_slots{${labels},state="idle"}`), 1);
  assert.equal(sample(text, `celery_broker_connected{${labels}}`), 1);
  assert.match((await get(port, "/metrics", "application/openmetrics-text")).body, /# EOF\n$/);
  assert.equal((await get(port, "/nothing")).status, 404);

  await redis.kill();
  await eventually(async () => (await get(port, "/readyz")).status === 503, () => "still ready");
  assert.match((await get(port, "/readyz")).body, /^\[-\]broker: no connection to redis:\/\//m);
  assert.equal((await get(port, "/livez")).status, 200);
  await redis.restart();
  await eventually(async () => (await get(port, "/readyz")).status === 200, () => "not ready again");
  assert.equal(sample((await get(port, "/metrics")).body, `celery_broker_reconnects_total{${labels}}`), 1);

  // Draining: a task still runs, and nothing new is to come here.
  await called(place, "t.sleep", [3]);
  await eventually(
    async () => sample((await get(port, "/metrics")).body, `celery_worker_tasks_active{${labels}}`) === 1,
    () => "the task has not begun",
  );
  worker.signal("SIGTERM");
  await eventually(async () => (await get(port, "/readyz")).status === 503, () => "ready while it drains");
  assert.equal((await get(port, "/livez")).status, 200);
  assert.equal(await worker.stop(), 0);
});

Deno.test("worker --http: a task that loops without an await leaves liveness and heartbeats as they are", async () => {
  await using folder = await disposableFolder();
  const place: Place = { broker: `sqlite://${folder.path}/broker.db` };
  for (const pool of ["processes", "threads", "async"]) {
    const port = freePort();
    const [begun, end, heartbeat] = ["begun", "end", "heartbeat"].map((name) =>
      `${folder.path}/${pool}.${name}`
    );
    const probes = ["--http", `127.0.0.1:${port}`, "--heartbeat-file", heartbeat!];
    await using _worker = await startWorker(place, [
      "-P",
      pool,
      "-c",
      "1",
      "-n",
      `${pool}@looping`,
      ...probes,
    ]);
    await called(place, "t.loop", [begun, end]);
    const touched = () => Deno.statSync(heartbeat!).mtime!.getTime();
    try {
      await eventually(() => exists(begun!), `${pool}: the loop begins`);
      const before = touched();
      await eventually(
        () => touched() > before,
        `${pool}: the heartbeat file is touched while the task loops`,
      );
      assert.equal((await get(port, "/livez")).status, 200);
      const ready = await get(port, "/readyz", "application/json");
      assert.equal(ready.status, 200);
      assert.deepEqual(JSON.parse(ready.body).checks.map((check: { name: string }) => check.name), [
        "state",
        "broker",
        "consumer",
        "pool",
      ]);
      const { code, out } = await lovage(["status", "--local", `${pool}@looping`], place);
      assert.deepEqual([code, out.startsWith(`${pool}@looping: OK, running`)], [0, true], out);
      assert.ok(!exists(end!), "it still loops");
    } finally {
      Deno.writeTextFileSync(end!, "");
    }
  }
});

Deno.test("worker -P solo --http: liveness while a task loops in the worker itself, and the rest once it has ended", async () => {
  await using folder = await disposableFolder();
  const place: Place = { broker: `sqlite://${folder.path}/broker.db` };
  const port = freePort();
  const [begun, end] = [`${folder.path}/begun`, `${folder.path}/end`];
  await using worker = await startWorker(place, ["-P", "solo", "--http", `127.0.0.1:${port}`]);
  await worker.says(new RegExp(`Serving metrics and health at http://127\\.0\\.0\\.1:${port}`));
  assert.deepEqual(await get(port, "/readyz"), { status: 200, body: "ok\n" });
  assert.match((await get(port, "/metrics", "application/openmetrics-text")).body, /# EOF\n$/);
  await called(place, "t.loop", [begun, end]);
  try {
    await eventually(() => exists(begun), "the loop begins");
    assert.deepEqual(await get(port, "/livez"), { status: 200, body: "ok\n" });
    const loops = "a task has blocked the event loop for 5 s";
    const [ready, metrics] = await Promise.all([
      get(port, "/readyz", "application/json"),
      get(port, "/metrics"),
    ]);
    assert.equal(ready.status, 503);
    assert.deepEqual(JSON.parse(ready.body), {
      status: "not ready",
      checks: [{ name: "loop", ok: false, text: loops }],
    });
    assert.deepEqual(metrics, { status: 503, body: `[-]loop: ${loops}\nnot ready\n` });
    assert.equal((await get(port, "/livez")).status, 200);
    assert.ok(!exists(end), "it still loops");
  } finally {
    Deno.writeTextFileSync(end, "");
  }
  await eventually(async () => (await get(port, "/readyz")).status === 200, () => worker.text);
  const succeeded = `celery_task_succeeded_total{name="t.loop",hostname="${Deno.hostname().split(".")[0]}"`;
  await eventually(
    async () => (await get(port, "/metrics")).body.includes(succeeded),
    () => worker.text,
  );
  assert.equal(await worker.stop(), 0);
  await assert.rejects(get(port, "/livez"), "nobody answers for a worker that is gone");
});

Deno.test("beat --http: who leads, and how late the last task was", async () => {
  const port = freePort();
  const folder = await Deno.makeTempDir();
  const place: Place = {
    broker: `sqlite://${folder}/broker.db`,
    conf: { beat_schedule: { often: { task: "t.add", schedule: 0.2, args: [1, 2] } } },
  };
  const path = `${folder}/schedule`;
  const argv = [...LOVAGE, "-A", TASKS, "beat", "-s", path, "--http", `127.0.0.1:${port}`];
  const beat = new Program(argv, environment(place));
  try {
    await eventually(async () => {
      const text = await get(port, "/metrics").then(({ body }) => body, () => "");
      return (sample(text, "celery_beat_sent_total") ?? 0) > 1 && sample(text, "celery_beat_leader") === 1;
    }, () => beat.text);
    assert.ok(sample((await get(port, "/metrics")).body, "celery_beat_lag_seconds")! >= 0);
    assert.equal((await get(port, "/readyz")).status, 200);
    assert.match((await get(port, "/readyz?verbose")).body, /^\[\+\]state: sending, 1 entries$/m);
  } finally {
    await beat.stop();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("--http: a place that is none, and one that is taken, are one line, and leave nothing behind", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  await using folder = await disposableFolder();
  const place: Place = { broker: "memory://", env: { LOVAGE_HOME: folder.path } };
  const pidfile = `${folder.path}/worker.pid`;
  try {
    const wrong = await lovage(["worker", "-P", "solo", "--http", "nowhere"], place);
    assert.deepEqual([wrong.code, wrong.err.trimEnd().split("\n").at(-1)], [
      64,
      'Error: Cannot serve HTTP at "nowhere": give ADDRESS:PORT, such as 127.0.0.1:9808, or unix:PATH',
    ]);
    const files = ["--pidfile", pidfile, "--heartbeat-file", `${folder.path}/heartbeat`];
    const taken = await lovage(["worker", "-P", "solo", "--http", `127.0.0.1:${port}`, ...files], place);
    assert.equal(taken.code, 1);
    assert.match(taken.err, new RegExp(`Error: Cannot serve at http://127.0.0.1:${port}: .*in use`));
    assert.deepEqual([exists(pidfile), exists(`${folder.path}/heartbeat`)], [false, false]);
    // It never ran: whoever asks for this machine's health is not told of a node that is gone.
    const { code, err } = await lovage(["status", "--local"], place);
    assert.deepEqual([code, /^Error: No node has run on this machine/.test(err)], [1, true], err);
  } finally {
    listener.close();
  }
});
