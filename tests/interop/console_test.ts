/** The console over a cluster of a Python worker and one of ours: what it shows, what it does, who may come. */

import assert from "node:assert/strict";
import { decodeEnvelope } from "../../lib/wire/mod.ts";
import { eventually, PATIENCE_MS } from "../support/ports.ts";
import {
  environment,
  LOVAGE,
  lovage,
  type Place,
  Program,
  PythonClient,
  startPythonWorker,
  startWorker,
} from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";

const CONF = { worker_send_task_events: true, task_send_sent_event: true, result_extended: true };
/** For a machine on which much else runs. */
const WITHIN = { everyMs: 100 };

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- answers of many shapes, looked at by the test
  readonly json: any;
}

/** A console, and a way to ask it. */
class ConsoleProgram implements AsyncDisposable {
  readonly #program: Program;
  readonly url: string;
  #isKilled = false;

  private constructor(program: Program, url: string) {
    this.#program = program;
    this.url = url;
  }

  static async start(place: Place, args: readonly string[], env: Record<string, string> = {}) {
    const { broker = "", backend = "" } = place;
    const words = ["-b", broker, "--result-backend", backend, "ui", "--port", "0", ...args];
    const program = new Program([...LOVAGE, ...words], { ...environment(place), ...env });
    await program.says(/^Console: (\S+)\/$/m);
    return new ConsoleProgram(program, /^Console: (\S+)\/$/m.exec(program.text)![1]!);
  }

  get log(): string {
    return this.#program.text;
  }

  kill(): void {
    this.#isKilled = true;
    this.#program.signal("SIGKILL");
  }

  async ask(path: string, headers: Record<string, string> = {}): Promise<Reply> {
    return await read(await fetch(`${this.url}${path}`, { headers, redirect: "manual" }));
  }

  async post(path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Reply> {
    return await read(
      await fetch(`${this.url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(PATIENCE_MS),
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assert.equal(
      await this.#program.stop("SIGTERM", 20_000),
      this.#isKilled ? 137 : 0,
      "ends when it is told to",
    );
  }
}

/** Reads a stream until a frame of each kind came. */
async function framesCome(url: string, headers: Record<string, string>, kinds: string[]): Promise<void> {
  const ending = new AbortController();
  const { body } = await fetch(url, { headers, signal: ending.signal });
  let text = "";
  for await (const part of body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (kinds.every((kind) => text.includes(`event: ${kind}\n`))) break;
  }
  ending.abort();
}

async function read(response: Response): Promise<Reply> {
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : null };
}

Deno.test("console: shows and acts on workers of both kinds, and is as it was after a kill", async () => {
  await using redis = await startRedis();
  await using folder = await disposableFolder();
  const place = { broker: redis.url(), backend: redis.url(), conf: CONF };
  const ours = { ...place, conf: { ...CONF, task_default_queue: "ours" } };
  await using _python = await startPythonWorker(place, ["-n", "py@here"]);
  await using worker = await startWorker(ours, ["-P", "solo", "-n", "ours@here", "-E", "-Q", "ours"]);
  await using client = await PythonClient.start(place);
  const db = ["--db", `${folder.path}/c.db`];
  let failed: string;
  {
    await using ui = await ConsoleProgram.start(place, db);
    await eventually(async () => (await ui.ask("/readyz")).status === 200, "it listens to events", WITHIN);
    await client.get(await client.send("t.add", [1, 2], { queue: "ours" }));
    await client.get(await client.send("t.add", [3, 4]));
    failed = await client.send("t.fail", ["ValueError", "big", 12345678901234567890n.toString()], {
      queue: "ours",
    });
    const pythons = await client.send("t.fail", ["KeyError", "k"], {}, {});
    await client.get(failed);
    await client.get(pythons);
    const tasks = await eventually(
      async () => {
        const { json } = await ui.ask("/api/v1/tasks?search=NOT%20state:STARTED");
        return json.rows.length === 4 &&
          json.rows.every((row: { ended: number | null }) => row.ended !== null) && json;
      },
      "four tasks ended",
      WITHIN,
    );
    assert.deepEqual([tasks.total, tasks.isTotalExact], [4, true]);
    const overview = (await ui.ask("/api/v1/overview")).json;
    assert.deepEqual([overview.totals.succeeded, overview.totals.failed, overview.workersOnline], [2, 2, 2]);
    assert.deepEqual(
      overview.failures.map((one: { exception: string }) => one.exception).sort(),
      ["KeyError", "ValueError"],
    );
    const page = await ui.ask("/tasks");
    assert.equal(page.status, 200);
    assert.ok(page.text.includes("t.add"), "the first paint says something");
    assert.match(page.headers.get("content-security-policy")!, /script-src 'self'/);

    for (const name of ["py@here", "ours@here"]) {
      const json = await eventually(
        async () => {
          const { json } = await ui.ask(`/api/v1/workers/${name}`);
          return json.answered === true && json.registered.length > 0 && json;
        },
        `${name} answered`,
        WITHIN,
      );
      assert.equal(json.row.isOnline, true, name);
      assert.ok(json.registered.some((one: { name: string }) => one.name === "t.add"), name);
    }
    const limited = (await ui.post("/api/v1/task-names/t.add/rate-limit", { rate: "100/s" })).json;
    assert.deepEqual(limited.replies.map((one: { isOk: boolean }) => one.isOk), [true, true]);

    // With nobody at its queue a retried task stays where it is put: its message is what it was.
    const kept = (await ui.ask("/api/v1/letters/failed")).json.rows[0];
    assert.deepEqual([kept.taskId, kept.canRetry], [failed, true]);
    const [before] = JSON.parse(await redis.cli("--json", "zrange", "lovage:failed", "0", "-1"));
    await worker.stop();
    const retried = await ui.post(`/api/v1/tasks/${failed}/retry`);
    assert.equal(retried.status, 200, retried.text);
    const [sent] = [decodeEnvelope(await redis.cli("--raw", "rpop", "ours")).message];
    const first = decodeEnvelope(JSON.parse(before).envelope ?? before).message;
    assert.equal(sent.body, first.body);
    const { id, retries, ...rest } = sent.headers;
    assert.deepEqual([id, retries], [retried.json.taskId, 0]);
    const { id: _, retries: __, ...firstRest } = first.headers;
    assert.deepEqual(rest, firstRest);

    const pythonRetried = await ui.post(`/api/v1/tasks/${pythons}/retry`);
    assert.equal(pythonRetried.status, 200, pythonRetried.text);
    const again = await client.get(pythonRetried.json.taskId);
    assert.deepEqual([again.error, again.args], ["KeyError", ["k"]]);
    assert.match(
      ui.log,
      new RegExp(`audit user=- from=127\\.0\\.0\\.1 action=retry target=${failed} outcome=ok`),
    );
    await eventually(
      async () => (await ui.ask("/api/v1/tasks")).json.total === 5,
      "the retried one is known",
      WITHIN,
    );
    ui.kill();
  }
  await using again = await ConsoleProgram.start(place, db);
  const { json } = await again.ask("/api/v1/tasks");
  assert.equal(json.total, 5);
  assert.equal((await again.ask(`/api/v1/tasks/${failed}`)).json.row.state, "FAILURE");
});

Deno.test("console: Flower's API answers as Flower does", async () => {
  await using redis = await startRedis();
  const place = { broker: redis.url(), backend: redis.url(), conf: CONF };
  await using _worker = await startPythonWorker(place, ["-n", "py@here"]);
  await using client = await PythonClient.start(place);
  await using ui = await ConsoleProgram.start(place, ["--no-history"]);
  await eventually(async () => (await ui.ask("/readyz")).status === 200, "it listens to events", WITHIN);
  const id = await client.send("t.add", [1, 2]);
  await client.get(id);

  const workers = (await ui.ask("/api/workers?refresh=1")).json;
  assert.deepEqual(Object.keys(workers), ["py@here"]);
  const wanted = "active active_queues conf registered reserved revoked scheduled stats timestamp";
  assert.deepEqual(Object.keys(workers["py@here"]).sort(), wanted.split(" "));
  assert.deepEqual((await ui.ask("/api/workers?status=true")).json, { "py@here": true });
  assert.deepEqual((await ui.ask("/api/workers?workername=none@x")).status, 404);

  const info = await eventually(
    async () => {
      const { json } = await ui.ask(`/api/task/info/${id}`);
      return json?.state === "SUCCESS" && json;
    },
    "the task is known",
    WITHIN,
  );
  const fields =
    "uuid name state received sent started rejected succeeded failed retried revoked args kwargs eta " +
    "expires retries worker result exception timestamp runtime traceback exchange routing_key clock client root " +
    "root_id parent parent_id children";
  assert.deepEqual(Object.keys(info), fields.split(" "));
  assert.deepEqual([info.name, info.result, info.worker, info.root_id], ["t.add", "3", "py@here", id]);
  assert.deepEqual(Object.keys((await ui.ask("/api/tasks?limit=1&taskname=t.add")).json), [id]);
  assert.deepEqual((await ui.ask("/api/tasks?taskname=t.ad")).json, {});
  const wrong = await ui.ask("/api/tasks?search=(");
  assert.deepEqual([wrong.status, wrong.json], [400, { error: "Expected a search term at position 1." }]);
  const short = await ui.ask("/api/tasks?search=ab");
  assert.deepEqual([short.status, short.json.error], [
    400,
    "Substring search terms must contain at least 3 characters at position 0.",
  ]);
  assert.deepEqual(Object.keys((await ui.ask("/api/tasks?limit=4&offset=-1&sort_by=name")).json), [id]);
  assert.deepEqual((await ui.ask("/api/tasks?limit=4&offset=1&sort_by=name")).json, {});
  assert.deepEqual((await ui.ask("/api/task/types")).json, { "task-types": ["t.add"] });
  assert.deepEqual((await ui.ask("/api/queues/length")).json, {
    active_queues: [{ name: "celery", messages: 0 }],
  });
  assert.deepEqual((await ui.ask("/api/task/info/none")).status, 404);

  const applied = await ui.post("/api/task/apply/t.add", { args: [20, 22] });
  assert.deepEqual([applied.status, applied.json.state, applied.json.result], [200, "SUCCESS", 42]);
  const failed = await ui.post("/api/task/apply/t.fail", { args: ["ValueError", "x"] });
  assert.deepEqual([failed.json.state, failed.json.result], ["FAILURE", "ValueError('x')"]);
  assert.match(failed.json.traceback, /^Traceback/);
  assert.deepEqual((await ui.post("/api/task/apply/t.none")).status, 404);
  assert.deepEqual((await ui.post("/api/task/send-task/t.add", { args: 1 })).status, 400);
  const sent = (await ui.post("/api/task/async-apply/t.add", { args: [1, 1], countdown: 600 })).json;
  assert.deepEqual(Object.keys(sent), ["task-id", "state"]);
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().replace("T", " ").replace("Z", "456");
  for (const option of [{ countdown: "600" }, { eta: tomorrow }, { expires: "60" }, { expires: tomorrow }]) {
    const given = { args: [1, 1], ...option };
    assert.equal((await ui.post("/api/task/async-apply/t.add", given)).status, 200, JSON.stringify(option));
  }
  const revoked = await ui.post(`/api/task/revoke/${sent["task-id"]}?terminate=true&signal=SIGKILL`);
  assert.deepEqual(revoked.json, { message: `Revoked '${sent["task-id"]}'` });
  assert.deepEqual((await ui.ask(`/api/task/result/${id}`)).json, {
    "task-id": id,
    state: "SUCCESS",
    result: 3,
  });

  const waited = await ui.ask("/api/task/result/none?timeout=0.1");
  assert.deepEqual([waited.status, waited.json], [200, {
    "task-id": "none",
    state: "PENDING",
    result: null,
  }]);

  const worker = async (path: string) => await ui.post(`/api/worker/${path}`);
  assert.deepEqual((await worker("queue/add-consumer/py@here?queue=more")).json, {
    message: "add consumer more",
  });
  const cancelled = await worker("queue/cancel-consumer/py@here?queue=more");
  assert.deepEqual(cancelled.json, { message: "no longer consuming from more" });
  // Flower's own would ask the worker for a queue "a&amp;b".
  assert.deepEqual((await worker("queue/add-consumer/py@here?queue=a%26b")).json, {
    message: "add consumer a&b",
  });
  assert.deepEqual((await worker("pool/grow/py@here?n=1")).json, {
    message: "Growing 'py@here' worker's pool by 1",
  });
  const scaled = await worker("pool/autoscale/py@here?min=1&max=2");
  assert.equal(scaled.status, 403);
  assert.match(scaled.text, /^Failed to autoscale 'py@here' worker: /);
  assert.deepEqual((await worker("pool/grow/none@x")).status, 404);
  const limited = await ui.post("/api/task/rate-limit/t.add?workername=py@here&ratelimit=10/m");
  assert.deepEqual(limited.json, { message: "new rate limit set successfully" });
  const garbage = await ui.post("/api/task/rate-limit/t.add?workername=py@here&ratelimit=garbage");
  assert.equal(garbage.status, 403);
  assert.match(garbage.text, /^Failed to set rate limit: 'Invalid rate limit string: /);
  assert.equal((await ui.ask("/healthcheck")).text, "OK");
  const table = (await ui.ask("/workers?json=1")).json;
  assert.deepEqual([table.data[0].hostname, table.data[0].status], ["py@here", true]);
  const asked = "draw=7&start=0&length=1&search[value]=name:t.add&order[0][column]=1&order[0][dir]=desc" +
    "&columns[0][data]=name&columns[1][data]=received";
  const drawn = (await ui.ask(`/tasks/datatable?${asked}`)).json;
  assert.deepEqual([drawn.draw, drawn.data.length, drawn.data[0].name], [7, 1, "t.add"]);
  assert.ok(drawn.recordsTotal > drawn.recordsFiltered && drawn.recordsFiltered > 1);
  assert.deepEqual(Object.keys(drawn.data[0]), fields.split(" "));
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const posted = await fetch(`${ui.url}/tasks/datatable`, { method: "POST", headers: form, body: asked });
  assert.equal((await posted.json()).recordsFiltered, drawn.recordsFiltered);
  const missing = await ui.ask(`/tasks/datatable?${asked.replace("name:t.add", "(")}`);
  assert.deepEqual([missing.json.recordsFiltered, missing.json.searchError], [
    0,
    "Expected a search term at position 1.",
  ]);
  assert.equal((await ui.ask("/tasks/datatable?draw=1")).status, 400);
  assert.equal((await ui.post("/api/v1/workers/nobody@here/shutdown")).status, 404);
  assert.deepEqual((await worker("shutdown/py@here")).json, { message: "Shutting down!" });
});

Deno.test("console: who waits is answered when the console ends, and when the broker is away", async () => {
  await using redis = await startRedis();
  await using folder = await disposableFolder();
  const place = { broker: redis.url(), backend: redis.url() };
  {
    await using worker = await startWorker(place, ["-P", "async", "-n", "ours@here"]);
    const never = `${folder.path}/never`;
    let waiting: Promise<Reply>;
    {
      await using ui = await ConsoleProgram.start(place, ["--no-history"]);
      waiting = ui.post("/api/task/apply/t.hold", { args: [never] });
      await worker.says(/Task t\.hold\[.*received/);
    }
    const { status, text } = await waiting;
    assert.deepEqual([status, text], [503, ""]);
    await Deno.writeTextFile(never, "");
  }
  await using ui = await ConsoleProgram.start(place, ["--no-history"]);
  await redis.stop();
  const shutdown = await ui.post("/api/worker/shutdown/ours@here");
  assert.deepEqual([shutdown.status, shutdown.text], [503, "Broker or result backend unavailable"]);
  for (const path of ["async-apply", "send-task"]) {
    assert.equal((await ui.post(`/api/task/${path}/t.add`, { args: [1, 2] })).status, 503, path);
  }
  const limited = await ui.post("/api/v1/task-names/t.add/rate-limit", { rate: "1/s" });
  assert.deepEqual([limited.status, limited.json.error.includes("onnect")], [503, true]);
});

Deno.test("console: a history belongs to one console, and the second one is told what to do", async () => {
  await using redis = await startRedis();
  await using folder = await disposableFolder();
  const place = { broker: redis.url(), backend: redis.url() };
  const db = ["--db", `${folder.path}/c.db`];
  await using _ui = await ConsoleProgram.start(place, db);
  const { code, err } = await lovage(["-b", redis.url(), "ui", "--port", "0", ...db], place);
  assert.equal(code, 1, err);
  assert.match(
    err,
    /another console has it open; name another file with --db, or keep none with --no-history\n$/,
  );
});

Deno.test("console: who may come, and from where", async () => {
  await using redis = await startRedis();
  const place = { broker: redis.url(), backend: redis.url() };
  const refused = await lovage(["-b", redis.url(), "ui", "--address", "0.0.0.0", "--port", "0"], place);
  assert.equal(refused.code, 64);
  assert.match(
    refused.err,
    /--basic-auth, --token, --oidc-issuer or --proxy-auth-header, or let everybody in with --no-auth/,
  );
  const logins = [
    "--address",
    "0.0.0.0",
    "--basic-auth",
    "kim:secret",
    "--token",
    "read:looker",
    "--no-history",
  ];
  await using ui = await ConsoleProgram.start(place, [...logins, "--url-prefix", "/ui/"]);
  const basic = { authorization: `Basic ${btoa("kim:secret")}` };
  const looker = { authorization: "Bearer looker" };
  const run = { name: "t.add", args: [1, 2] };

  assert.match(ui.url, /\/ui$/);
  assert.equal((await ui.ask("/livez")).status, 200);
  assert.equal((await ui.ask("/healthcheck")).text, "OK");
  for (const path of ["/api/v1/overview", "/api/v1/stream?topics=workers", "/api/workers", "/"]) {
    assert.equal((await ui.ask(path)).status, 401, path);
  }
  const toLogin = await ui.ask("/tasks?search=x", { accept: "text/html" });
  assert.deepEqual([toLogin.status, toLogin.headers.get("location")], [
    302,
    "/ui/login?next=%2Fui%2Ftasks%3Fsearch%3Dx",
  ]);
  const session = (await ui.ask("/api/v1/session")).json;
  assert.deepEqual([session.isLoggedIn, session.broker, session.logins], [false, "", ["basic", "token"]]);
  assert.equal((await ui.ask("/api/v1/overview", basic)).status, 200);
  assert.equal((await ui.ask("/api/v1/overview", looker)).status, 200);
  await framesCome(`${ui.url}/api/v1/stream`, looker, ["overview", "workers", "queues"]);
  assert.equal((await ui.post("/api/v1/run", run, looker)).status, 403);
  assert.equal((await ui.post("/api/v1/run", run, basic)).status, 200);

  assert.equal((await ui.post("/api/v1/login", { user: "kim", password: "wrong" })).status, 401);
  const login = await ui.post("/api/v1/login", { user: "kim", password: "secret" });
  const [cookie] = login.headers.getSetCookie();
  assert.match(cookie!, /^lovage_session=\S+; Path=\/ui; Max-Age=\d+; HttpOnly; SameSite=Lax$/);
  const mine = { cookie: cookie!.split(";")[0]! };
  assert.equal((await ui.ask("/api/v1/session", mine)).json.user, "kim");
  assert.equal((await ui.post("/api/v1/run", run, mine)).status, 200);
  assert.equal((await ui.post("/api/v1/run", run, { ...mine, "sec-fetch-site": "cross-site" })).status, 403);
  assert.equal((await ui.post("/api/v1/run", run, { ...mine, origin: "http://evil.example" })).status, 403);
  assert.equal((await ui.post("/api/v1/run", run, { ...basic, "content-type": "text/plain" })).status, 415);
  assert.match(ui.log, /audit user=kim from=127\.0\.0\.1 action=login target=password outcome=refused/);
  assert.ok(!ui.log.includes("secret"), "no password in the log");
});
