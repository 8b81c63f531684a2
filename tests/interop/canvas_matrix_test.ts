/**
 * Every canvas of canvas_cases.ts, started by Python or by Lovage, run by Python's worker, by Lovage's, and by both in
 * turn. What Python Celery 5.2.6 makes of it alone is what is expected: values, errors, every run of every task, every
 * callback, and all results one can walk to with their states.
 */

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { buildCanvas, canvasCases, type Node, type Observation, observe } from "../support/canvas_cases.ts";
import { canvasApp } from "../support/canvas_tasks.ts";
import { environment, type Place, Program, startWorker } from "../support/programs.ts";
import { type RedisServer, requirePython, startRabbit, startRedis } from "../support/servers.ts";
import { agrees, alternatives, isByChance, normal } from "../support/canvas_expected.ts";
import { filePath } from "../../lib/base/mod.ts";
import { temporaryFile, temporaryFolder } from "../support/temporary.ts";
import { mustRun, runProgram } from "../support/run.ts";

const support = filePath(new URL("../support/", import.meta.url));
/** Who starts, and the queues that tasks go to in turn. */
const MODES: readonly (readonly [string, "python" | "lovage", string[]])[] = [
  ["Python starts, Lovage runs", "python", ["ov"]],
  ["Lovage starts, Python runs", "lovage", ["py"]],
  ["Lovage starts and runs", "lovage", ["ov"]],
  ["Python starts, both run in turn", "python", ["py", "ov"]],
  ["Lovage starts, both run in turn", "lovage", ["ov", "py"]],
];
/** Seconds without a run, with all queues empty, after which a mode has ended. */
const IDLE = 3;

Deno.test("canvases of both languages come out as in Celery", async (t) => {
  await requirePython();
  await using redis = await startRedis();
  const only = Deno.env.get("TEST_ONLY");
  const cases = Object.fromEntries(
    Object.entries(canvasCases()).filter(([name]) => !only || new RegExp(only).test(name)),
  );
  const expected = await reference(redis, cases);
  const kept = Deno.env.get("TEST_KEEP");
  if (kept) await Deno.writeTextFile(kept, JSON.stringify(expected));
  await using both = await Pair.start(redis, 1);
  for (const [name, starter, queues] of MODES) {
    if (Deno.env.get("TEST_MODE") && !new RegExp(Deno.env.get("TEST_MODE")!).test(name)) continue;
    await t.step(name, async () => {
      compare(await run(both.place, starter, cases, queues), expected);
    });
  }
  await t.step("Lovage starts and runs, on the embedded broker", async () => {
    const folder = temporaryFolder();
    const url = `sqlite:///${folder}/lovage.db`;
    const place = { ...both.place, broker: url, backend: url };
    await using _ = await startHere(place);
    compare(await run(place, "lovage", cases, ["ov"]), expected);
  });
});

Deno.test("canvases over RabbitMQ, with results in Redis", async (t) => {
  await requirePython();
  await using redis = await startRedis();
  await using rabbit = await startRabbit();
  const only = /^\w+$|links$|(fails|retries|toGroup|toChain)@[01]$/;
  const cases = Object.fromEntries(Object.entries(canvasCases()).filter(([name]) => only.test(name)));
  const expected = await reference(redis, cases);
  await using both = await Pair.start(redis, 1, rabbit.url());
  for (const [name, starter, queues] of MODES) {
    if (starter === "lovage" && queues.length === 1) continue;
    await t.step(name, async () => compare(await run(both.place, starter, cases, queues), expected));
  }
});

Deno.test("canvases over RabbitMQ, with results as messages", async (t) => {
  await requirePython();
  await using redis = await startRedis();
  await using rabbit = await startRabbit();
  // Celery has no chords there, nor what becomes one; and where a task replaces itself, its caller never hears of it.
  const only = /^(task|chain|group|groupAtEnd|groupOfChains|groupOfGroups|chainsInChain)(\+|$)/;
  const cases: Cases = {};
  const replacing: Cases = {};
  for (const [name, node] of Object.entries(canvasCases())) {
    if (!only.test(name)) continue;
    if (!/\+to/.test(name)) cases[name] = node;
    else if (/\+to(Task|Chain|Swap|Boom)@/.test(name)) replacing[name] = node;
  }
  const replaced = await reference(redis, replacing);
  const onRedis = placeOn(redis, 0, rabbit.url());
  const place = { ...onRedis, backend: "rpc://", conf: { ...onRedis.conf, result_extended: false } };
  let expected: Seen;
  {
    await using _ = await startPython(place, "py,celery");
    expected = await run(place, "python", cases, ["py"]);
  }
  await using _python = await startPython(place, "py");
  await using _lovage = await startHere(place);
  for (const [name, starter, queues] of MODES) {
    await t.step(name, async () => compare(await run(place, starter, cases, queues), expected));
    if (queues.includes("py")) continue;
    await t.step(`${name}: of what replaces itself the end is told, as with Redis`, async () => {
      const seen = endsOf(await run(place, starter, replacing, queues));
      // The reference leaves some callers waiting for ever.
      for (const [name, end] of Object.entries(endsOf(replaced))) assert.deepEqual(seen[name], end, name);
    });
  }
});

/** What callers were told, of those that were told anything. */
function endsOf(seen: Seen): Record<string, unknown> {
  const ended = Object.entries(seen).filter(([, { pending }]) => pending !== true);
  return Object.fromEntries(ended.map(([name, { value, error }]) => [name, { value, error }]));
}

type Cases = Record<string, Node>;
type Seen = Record<string, Observation>;

/** Throws with every case that came out otherwise than expected. */
function compare(seen: Seen, expected: Seen): void {
  const wrong: string[] = [];
  for (const [key, want] of Object.entries(expected)) {
    if (isByChance(key)) continue;
    const allowed = normal(key, want);
    const got = seen[key] && normal(key, seen[key]);
    const isOther = () => alternatives(key).some((one) => isDeepStrictEqual(got?.["error"], one));
    if (!agrees(got, allowed) && !isOther()) {
      wrong.push(`${key}:\n  got    ${JSON.stringify(got)}\n  wanted ${JSON.stringify(allowed)}`);
    }
  }
  assert.ok(
    wrong.length === 0,
    `${wrong.length} of ${Object.keys(expected).length} differ\n${wrong.join("\n")}`,
  );
}

/** What Python's worker alone makes of all cases. */
async function reference(redis: RedisServer, cases: Cases): Promise<Seen> {
  const known = Deno.env.get("TEST_KEPT");
  if (known) {
    const all = JSON.parse(await Deno.readTextFile(known)) as Seen;
    return Object.fromEntries(Object.keys(cases).map((name) => [name, all[name]!]));
  }
  const place = placeOn(redis, 0);
  await using _ = await startPython(place, "py,celery");
  return await run(place, "python", cases, ["py"]);
}

/** A Python worker on the queue "py" and one of Lovage on "ov", over one database. */
class Pair implements AsyncDisposable {
  constructor(readonly place: Place, readonly workers: readonly Program[]) {}

  static async start(redis: RedisServer, db: number, broker?: string): Promise<Pair> {
    const place = placeOn(redis, db, broker);
    const workers = await Promise.all([
      startPython(place, "py"),
      // More than one slot: attempts of one task, and the end of one and the begin of the next, meet in different ones.
      startHere(place, ["-P", "processes", "-c", "3"]),
    ]);
    return new Pair(place, workers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.stop()));
  }
}

function startHere(place: Place, pool = ["-P", "solo"]): Promise<Program> {
  return startWorker(place, [...pool, "-Q", "ov,celery"], { app: `${support}canvas_tasks.ts` });
}

function placeOn(redis: RedisServer, db: number, broker = redis.url(db)): Place {
  const log = temporaryFile();
  const conf = { result_extended: true, worker_prefetch_multiplier: 16 };
  return { broker, backend: redis.url(db), conf, env: { TEST_LOG: log } };
}

async function startPython(place: Place, queues: string): Promise<Program> {
  const options = ["-l", "INFO", "-c", "3", "-Q", queues, "--without-gossip", "--without-mingle"];
  const argv = ["/usr/bin/python3", "-m", "celery", "-A", "canvas_tasks", "worker", ...options];
  const worker = new Program(argv, environment(place), support);
  await worker.says(/ ready\./);
  return worker;
}

/** Starts all cases, waits until nothing runs any more, and tells what there is then. */
async function run(
  place: Place,
  starter: "python" | "lovage",
  cases: Cases,
  queues: string[],
): Promise<Seen> {
  const log = place.env!["TEST_LOG"]!;
  await Deno.truncate(log);
  const seen = starter === "python"
    ? await runInPython(place, cases, queues)
    : await runHere(place, cases, queues);
  const runs = new Map<string, string[]>();
  for (const line of (await Deno.readTextFile(log)).split("\n")) {
    if (line === "") continue;
    const [task, label, ...more] = JSON.parse(line) as [string, string, ...unknown[]];
    const [name, leaf] = label.split("/") as [string, string];
    const list = runs.get(name) ?? [];
    list.push(`${task} ${leaf}${more.length > 0 ? ` ${JSON.stringify(more)}` : ""}`);
    runs.set(name, list);
  }
  for (const [name, one] of Object.entries(seen)) {
    one["runs"] = (runs.get(name) ?? []).sort();
    seen[name] = JSON.parse(withoutIds(JSON.stringify(one)));
  }
  return seen;
}

function withoutIds(text: string): string {
  return text.replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<id>");
}

async function runInPython(place: Place, cases: Cases, queues: string[]): Promise<Seen> {
  const { code, out, err } = await runProgram(["/usr/bin/python3", `${support}canvas_client.py`], {
    env: environment(place),
    input: JSON.stringify({ cases, queues, idle: IDLE }),
  });
  if (Deno.env.get("TEST_KEEP")) console.log(err);
  if (code !== 0) throw new Error(err);
  return JSON.parse(out);
}

async function runHere(place: Place, cases: Cases, queues: string[]): Promise<Seen> {
  await using app = canvasApp({ broker_url: place.broker, result_backend: place.backend, ...place.conf });
  const results = new Map<string, Awaited<ReturnType<ReturnType<typeof buildCanvas>["applyAsync"]>>>();
  const seen: Seen = {};
  for (const [name, node] of Object.entries(cases)) {
    try {
      results.set(name, await buildCanvas(app, name, node, queues).applyAsync());
    } catch (error) {
      seen[name] = { refused: (error as Error).name };
    }
  }
  await quiet(place, [...queues, "celery"]);
  await Promise.all(
    [...results].map(async ([name, result]) => {
      seen[name] = await observe(app, result as unknown as Parameters<typeof observe>[1]);
    }),
  );
  return seen;
}

/** Waits until the queues are empty and no task has run for IDLE seconds. */
async function quiet(place: Place, queues: readonly string[]): Promise<void> {
  const log = place.env!["TEST_LOG"]!;
  // Over RabbitMQ there is no queue to look at here, nor in an embedded broker: then only runs count.
  const url = new URL(place.backend!);
  const cli = async (...args: string[]) => {
    if (url.protocol !== "redis:") return 0;
    return Number(await mustRun(["redis-cli", "-p", url.port, "-n", url.pathname.slice(1), ...args]));
  };
  let last = "";
  let since = performance.now();
  for (;;) {
    let waiting = 0;
    for (const queue of queues) waiting += await cli("LLEN", queue);
    const now = `${(await Deno.stat(log)).size} ${waiting} ${await cli("HLEN", "unacked")}`;
    if (now !== last) since = performance.now();
    last = now;
    if (waiting === 0 && performance.now() - since > IDLE * 1000) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
