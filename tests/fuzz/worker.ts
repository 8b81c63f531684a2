/**
 * A whole worker on a real Redis is sent odd task messages, remote control, events and garbage, with good calls in
 * between. It must run every good call, hold nothing at the end, answer and end in order.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { LOVAGE, lovage, Program } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";
import { golden } from "../unit/wire/golden.ts";
import { Chance, oddText } from "./chance.ts";
import { oddEnvelope } from "./decoders.ts";

const TASKS = fileURLToPath(new URL("./tasks.ts", import.meta.url));
const messages = golden("redis-publish-5.6.3");
const control = golden("redis-pidbox-5.6.3").filter(({ kind }) => kind === "request");
const events = golden("redis-events-5.6.3");
/** Commands that a captured request may name and that would end or stop the worker, as they should. */
const ENDING = /shutdown|cancel_consumer|pool_|autoscale|rate_limit|time_limit/;
/** One good call for so many odd messages. */
const GOOD_EVERY = 10;
/** What the worker may take for anything: a run in the background gets little of a busy machine. */
const WAIT_MS = 120_000;

/** Sends `count` odd messages from a seed to a worker of `pool`; resolves with how many were sent. */
export async function fuzzWorker(seed: number, count: number, pool = "solo"): Promise<number> {
  await using redis = await startRedis();
  const chance = new Chance(seed);
  const argv = [...LOVAGE, "-A", TASKS, "worker", "-l", "INFO", "-P", pool, "-c", "2", "-E"];
  await using worker = new Program(argv, {
    CELERY_BROKER_URL: redis.url(),
    CELERY_RESULT_BACKEND: redis.url(),
  });
  await worker.says(/ ready\./, WAIT_MS);
  await using app = new App("fuzz-client", { broker_url: redis.url(), result_backend: redis.url() }, {
    world: realTestWorld(),
  });
  using line = await commandLine(redis.port);
  const good = [];
  for (let n = 0; n < count; n++) {
    await sendOdd(line, chance);
    if (n % GOOD_EVERY === 0) {
      good.push({ n, result: await app.sendTask<number>("tasks.add", { args: [n, 1] }) });
    }
    assert.equal(
      worker.status,
      null,
      `the worker ended, seed ${seed}, message ${n}:\n${worker.text.slice(-4000)}`,
    );
  }
  for (const { n, result } of good) {
    const sum = await result.get({ timeout: WAIT_MS / 1000 }).catch((error) => {
      throw new Error(`call ${n} of seed ${seed}: ${error}\n${worker.text.slice(-4000)}`);
    });
    assert.equal(sum, n + 1);
  }
  let held = "";
  await eventually(
    async () => {
      const records = await redis.cli("hvals", "unacked");
      // What is due in ten years stays where it is.
      const parked = await redis.cli("zcard", "lovage:parked");
      held = `${await redis.cli("llen", "celery")} in the queue, ${parked} parked; ${records}`;
      return held.startsWith("0 ") && await redis.cli("hlen", "unacked") === parked;
    },
    () => `nothing is left in hand, seed ${seed}: ${held}\n${worker.text.slice(-4000)}`,
    { withinMs: WAIT_MS, everyMs: 50 },
  );
  const { code, out, err } = await lovage(["-b", redis.url(), "status", "--timeout", "30"]);
  assert.equal(code, 0, `seed ${seed}: ${out}${err}\n${worker.text.slice(-3000)}`);
  assert.equal(await worker.stop("SIGTERM", WAIT_MS), 0, `seed ${seed}: ${worker.text.slice(-2000)}`);
  return count;
}

async function sendOdd(redis: CommandLine, chance: Chance): Promise<void> {
  const kind = chance.below(10);
  if (kind < 6) await redis.send(["LPUSH", "celery", oddEnvelope(chance, messages)]);
  else if (kind === 6) await redis.send(["LPUSH", "celery", oddText(chance, chance.of(messages).raw)]);
  else if (kind === 7) await redis.send(["PUBLISH", "/0.celeryev/task.sent", oddEnvelope(chance, events)]);
  else {
    const request = oddEnvelope(chance, control.filter(({ scenario }) => !ENDING.test(scenario)));
    await redis.send(["PUBLISH", "/0.celery.pidbox", request]);
  }
}

/** Sends commands whose arguments may be any text; replies are read and forgotten. */
interface CommandLine extends Disposable {
  send(words: readonly string[]): Promise<void>;
}

async function commandLine(port: number): Promise<CommandLine> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const replies = (async () => {
    for await (const _ of connection.readable) {
      // Their number and content are of no interest.
    }
  })().catch(() => {});
  const writer = connection.writable.getWriter();
  const encoder = new TextEncoder();
  return {
    async send(words) {
      const parts = words.map((word) => encoder.encode(word));
      await writer.write(encoder.encode(`*${parts.length}\r\n`));
      for (const part of parts) {
        await writer.write(encoder.encode(`$${part.length}\r\n`));
        await writer.write(part);
        await writer.write(encoder.encode("\r\n"));
      }
    },
    [Symbol.dispose]() {
      void writer.close().then(() => replies, () => {});
    },
  };
}
