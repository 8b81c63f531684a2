/**
 * Compares Lovage with Celery on one private RabbitMQ, with results in one private Redis, in one run; the
 * ratios matter.
 *
 *   drain     20,000 add(1, 2) wait in a durable queue; tasks/s from the first result to the last
 *   publish   messages/s of 20,000 persistent messages in batches of 256, each batch confirmed by the broker; compared
 *             with the same frames encoded beforehand, which is this broker's maximum
 *   send      tasks/s of sendMany with confirms
 *   trip      the median idle round trip of send and get, ms; by default, and without confirms as Celery publishes
 *
 * Arguments choose parts: `deno run -A bench/amqp.ts drain trip`. LOVAGE=dist/lovage benches the built file.
 */

import { AmqpConnection } from "../lib/amqp/mod.ts";
import { filePath, Outbox } from "../lib/base/mod.ts";
import { toAmqpBody, toAmqpProperties } from "../lib/transport/amqp/message.ts";
import { amqpTarget } from "../lib/transport/amqp/url.ts";
import { connect, queue } from "../lib/transport/mod.ts";
import { encodeContent, encodeMethod, encodeTaskMessage } from "../lib/wire/mod.ts";
import { CONNECT_OPTIONS } from "../tests/support/connect_options.ts";
import { realTestWorld } from "../tests/support/real_test_world.ts";
import { startRabbit, startRedis } from "../tests/support/servers.ts";
import { LOVAGE } from "../tests/support/programs.ts";
import { output, start, stop } from "./programs.ts";

const root = filePath(new URL("..", import.meta.url));
const parts = new Set(Deno.args.length > 0 ? Deno.args : ["drain", "publish", "send", "trip"]);
const count = Number(Deno.env.get("TASKS") ?? 20_000);
const runs = Number(Deno.env.get("RUNS") ?? 3);
const redis = await startRedis();
const rabbit = await startRabbit();
const env: Record<string, string> = {
  BENCH_BROKER: rabbit.url(),
  BENCH_REDIS: redis.url(0),
  PYTHONPATH: `${root}bench/peers`,
  C_FORCE_ROOT: "1",
  NO_COLOR: "1",
};
const celery = [
  ...["/usr/bin/python3", "-m", "celery", "-A", "tasks", "worker"],
  ...["-P", "prefork", "-c", "2", "-l", "WARNING"],
];
const solo = ours("solo", 1);
const processes = ours("processes", 2);
const celeryQueue = queue("celery");

try {
  if (parts.has("drain")) await benchDrain();
  if (parts.has("publish")) await benchPublish();
  if (parts.has("send")) await benchSend();
  if (parts.has("trip")) await benchTrip();
} finally {
  await Promise.all([rabbit.stop(), redis.stop()]);
}

async function benchDrain(): Promise<void> {
  console.log(`\ndrain: ${count} no-ops, durable queue, results in Redis, tasks/s (best of ${runs})`);
  const best = async (name: string, argv: string[], times: number) => {
    let rate = 0;
    for (let run = 0; run < times; run++) rate = Math.max(rate, await drain(argv));
    console.log(`  ${name.padEnd(24)}${Math.round(rate).toString().padStart(8)}`);
    return rate;
  };
  const theirs = await best("Celery prefork -c 2", celery, 1);
  const mine = await best("Lovage solo", solo, runs);
  const pooled = await best("Lovage processes -c 2", processes, runs);
  console.log(
    `  solo: ${(mine / theirs).toFixed(1)}x Celery (goal 10), processes: ${(pooled / theirs).toFixed(1)}x`,
  );
}

async function drain(argv: string[]): Promise<number> {
  await redis.cli("flushall");
  await publish(count);
  const worker = start(argv, env);
  let first = 0;
  let firstCount = 0;
  using asking = await Deno.connect({ hostname: "127.0.0.1", port: redis.port });
  for (;;) {
    // Besides the results, Redis holds at most a few keys of Celery's own.
    const done = await keys(asking);
    const now = performance.now();
    if (first === 0 && done > 0) [first, firstCount] = [now, done];
    if (done >= count) {
      await stop(worker);
      return (done - firstCount) / (now - first) * 1000;
    }
    if (now - (first || now) > 120_000) throw new Error(`${done} of ${count} after two minutes`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * DBSIZE over a persistent connection: starting redis-cli each time would use a large part of the machine.
 */
async function keys(connection: Deno.Conn): Promise<number> {
  await connection.write(new TextEncoder().encode("DBSIZE\r\n"));
  const answer = new Uint8Array(64);
  const count = await connection.read(answer);
  return Number(new TextDecoder().decode(answer.subarray(1, count!)));
}

async function benchPublish(): Promise<void> {
  console.log(`\npublish: ${count} persistent messages with confirms, messages/s (best of ${runs})`);
  let [rate, limit] = [0, 0];
  for (let run = 0; run < runs; run++) {
    rate = Math.max(rate, await publish(count));
    limit = Math.max(limit, await publishBare(count));
  }
  console.log(`  Lovage transport        ${Math.round(rate).toString().padStart(8)}   (goal 20,000)`);
  console.log(
    `  frames made beforehand  ${Math.round(limit).toString().padStart(8)}   ` +
      `the broker's limit; ours is ${(rate / limit).toFixed(2)} of it`,
  );
}

async function benchSend(): Promise<void> {
  console.log(`\nsend: ${count} calls in bulk, tasks/s (best of ${runs})`);
  let rate = 0;
  for (let run = 0; run < runs; run++) {
    await purge();
    rate = Math.max(rate, Number(await output(client("send", String(count)), env)));
  }
  console.log(`  Lovage sendMany         ${Math.round(rate).toString().padStart(8)}`);
}

async function benchTrip(): Promise<void> {
  console.log("\ntrip: idle round trip of delay and get, median of 300, ms");
  const trip = async (worker: string[], argv: string[], more: Record<string, string>) => {
    await purge();
    await redis.cli("flushall");
    const running = start(worker, { ...env, ...more });
    await publish(1, false);
    while (Number(await redis.cli("dbsize")) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const median = Number(await output(argv, { ...env, ...more }));
    await stop(running);
    return median;
  };
  const peer = ["/usr/bin/python3", `${root}bench/peers/tasks.py`, "300"];
  const contenders: [name: string, worker: string[], client: string[]][] = [
    ["Celery prefork -c 2", celery, peer],
    ["Lovage solo", solo, client("trip", "300")],
    ["Lovage processes -c 2", processes, client("trip", "300")],
  ];
  // To confirm a message, the broker writes it to disk first, on the cores that the trip needs.
  const settings: [title: string, more: Record<string, string>][] = [
    ["each by its default: Lovage publishes with confirms, Celery without", {}],
    ["both without confirms", { BENCH_CONFIRMS: "no" }],
  ];
  for (const [title, more] of settings) {
    const medians: number[][] = contenders.map(() => []);
    // In turns, since a shared machine has fast and slow minutes.
    for (let run = 0; run < runs; run++) {
      for (const [n, [, worker, argv]] of contenders.entries()) {
        medians[n]!.push(await trip(worker, argv, more));
      }
    }
    console.log(`  ${title} (the middle of ${runs} runs)`);
    const middles = medians.map((values) => values.sort((a, b) => a - b)[runs >> 1]!);
    for (const [n, [name]] of contenders.entries()) {
      const ratio = n === 0 ? "" : `   ${(middles[n]! / middles[0]!).toFixed(2)}x (goal 0.5)`;
      console.log(`    ${name.padEnd(22)}${middles[n]!.toFixed(2).padStart(8)}${ratio}`);
    }
  }
}

/** Puts `n` calls of bench.add into the queue, as Celery's own producer would. Returns messages/s. */
async function publish(n: number, isEmptied = true): Promise<number> {
  if (isEmptied) await purge();
  await using connection = await connect(realTestWorld(), rabbit.url(), CONNECT_OPTIONS);
  await connection.declare(celeryQueue);
  const messages = Array.from(
    { length: n },
    () => ({ exchange: "", routingKey: "celery", message: message() }),
  );
  const began = performance.now();
  const inFlight: Promise<void>[] = [];
  for (let at = 0; at < n; at += 256) {
    const publishing = connection.publish(messages.slice(at, at + 256));
    // Awaited below; if an earlier one fails, this rejection must still be handled and the servers stopped.
    publishing.catch(() => {});
    inFlight.push(publishing);
    if (inFlight.length >= 3) await inFlight.shift();
  }
  await Promise.all(inFlight);
  return n / (performance.now() - began) * 1000;
}

/**
 * Writes `n` calls from frames made before the clock starts, confirmed as in `publish`. Returns messages/s.
 */
async function publishBare(n: number): Promise<number> {
  await purge();
  const world = realTestWorld();
  const { timeoutMs, heartbeatSeconds } = CONNECT_OPTIONS;
  const target = await amqpTarget(rabbit.url(), false);
  await using connection = await AmqpConnection.open(world, target, {
    ...{ timeoutMs, heartbeatSeconds, loginMethod: null, clientName: "bench" },
  });
  const channel = await connection.openChannel();
  await channel.selectConfirms();
  const batches: { size: number; frames: Uint8Array }[] = [];
  for (let at = 0; at < n; at += 256) {
    const outbox = new Outbox();
    const size = Math.min(256, n - at);
    for (let k = 0; k < size; k++) {
      const encoded = message();
      encodeMethod(outbox, channel.id, "basic.publish", { "routing-key": "celery", mandatory: true });
      encodeContent(outbox, channel.id, toAmqpProperties(encoded), toAmqpBody(encoded), connection.frameMax);
    }
    batches.push({ size, frames: outbox.take() });
  }
  const began = performance.now();
  const inFlight: Promise<void>[] = [];
  for (const { size, frames } of batches) {
    connection.outbox.bytes(frames);
    connection.touch();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const first = channel.confirms.next;
    channel.confirms.expect({
      first,
      last: first + size - 1,
      refused: [],
      onSettled: resolve,
      onLost: reject,
    });
    inFlight.push(promise);
    if (inFlight.length >= 3) await inFlight.shift();
  }
  await Promise.all(inFlight);
  return n / (performance.now() - began) * 1000;
}

function message() {
  const id = crypto.randomUUID();
  return encodeTaskMessage({
    task: "bench.add",
    id,
    args: [1, 2],
    kwargs: {},
    rootId: id,
    origin: "gen1@bench",
    replyTo: crypto.randomUUID(),
    priority: 0,
    deliveryMode: 2,
  }, { serializer: "json", compression: null, protocol: 2, bodyEncoding: "none" });
}

async function purge(): Promise<void> {
  await using connection = await connect(realTestWorld(), rabbit.url(), CONNECT_OPTIONS);
  await connection.purge("celery");
}

function ours(pool: string, concurrency: number): string[] {
  const app = ["-A", `${root}bench/tasks.ts`];
  const options = ["-P", pool, "-c", String(concurrency), "-l", "WARNING", "-n", `${pool}@bench`];
  return [...LOVAGE, ...app, "worker", ...options];
}

function client(...args: string[]): string[] {
  const run = [Deno.execPath(), "run", "-A", "--quiet", "--config", `${root}deno.json`];
  return [...run, `${root}bench/client.ts`, ...args];
}
