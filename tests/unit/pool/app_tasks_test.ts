/** The pools by their own names, with a user's module, the real tracer and this program's own children. */

import assert from "node:assert/strict";
import { setCurrentWorld } from "../../../lib/base/mod.ts";
import { loadApp, type Outcome } from "../../../lib/app/mod.ts";
import { type Job, poolFactory, type PoolOptions, soloPool } from "../../../lib/pool/mod.ts";
import { encodeEnvelope, encodeTaskMessage } from "../../../lib/wire/mod.ts";
import { type RealTestWorld, realTestWorld } from "../../support/real_test_world.ts";

const MODULE = `
import { App } from "lovage";
export const app = new App("shop", { broker_url: "memory://", result_backend: "memory://" });
export const add = app.task("shop.add", (x: number, y: number) => x + y);
export const late = app.task("shop.late", async (x: number) => {
  await new Promise((done) => setTimeout(done, 5));
  console.log("late", x);
  return x;
});
export const slow = app.task("shop.slow", { bind: true }, async (self, ms: number) => {
  await new Promise((done) => setTimeout(done, ms));
});
export const sends = app.task("shop.sends", async () => (await add.delay(1, 2)).id.length);
export const progress = app.task("shop.progress", { bind: true }, async (self) => {
  await self.updateState("PROGRESS", { done: 1 });
  self.log.info("half way");
  return 1;
});
`;

const PROPERTIES = {
  correlationId: null,
  replyTo: "",
  deliveryMode: 2,
  priority: 0,
  expiration: null,
  rest: null,
} as const;

interface Heard {
  readonly outcomes: Map<string, Outcome>;
  readonly states: string[];
  readonly published: string[];
  readonly processes: Set<string>;
}

async function runTasks(
  name: string,
  folder: string,
  calls: { task: string; args: unknown[]; softTimeLimit?: number }[],
): Promise<Heard & { world: RealTestWorld }> {
  const world = realTestWorld();
  setCurrentWorld(world);
  const heard: Heard = { outcomes: new Map(), states: [], published: [], processes: new Set() };
  const all = Promise.withResolvers<void>();
  const options: PoolOptions = {
    concurrency: 2,
    maxTasksPerChild: null,
    maxMemoryPerChild: null,
    procAliveTimeout: 20,
    child: {
      app: `${folder}/tasks.ts`,
      include: [],
      overrides: {},
      hostname: "w1@h",
      logLevel: "INFO",
      logFile: null,
      isTaskEvents: false,
    },
    publish(batch) {
      heard.published.push(...batch.map(({ message }) => String(message.headers.task)));
      return Promise.resolve();
    },
  };
  const app = await loadApp(world, `${folder}/tasks.ts`);
  app.publisher = { publish: options.publish, close: () => Promise.resolve() };
  const waiting: Job[] = calls.map(({ task, args, softTimeLimit }, n) => {
    const message = {
      ...encodeTaskMessage(
        { task, id: `id-${n}`, args, kwargs: {}, origin: "t", replyTo: "", priority: 0, deliveryMode: 2 },
        { serializer: "json", compression: null, protocol: 2, bodyEncoding: "base64" },
      ),
      properties: PROPERTIES,
    };
    return {
      seq: n + 1,
      name: task,
      id: `id-${n}`,
      envelope: encodeEnvelope(message, { exchange: "", routingKey: "celery", deliveryTag: `tag-${n}` }),
      queue: "celery",
      redelivered: false,
      timeLimit: null,
      softTimeLimit: softTimeLimit ?? null,
      expectedMs: Infinity,
    };
  });
  const count = waiting.length;
  const pool = (name === "solo" ? soloPool(app) : poolFactory(name))(world, options, {
    onAccepted(): void {},
    onOutcomes(batch, process) {
      heard.processes.add(process);
      for (const outcome of batch) heard.outcomes.set(calls[outcome.seq - 1]!.task, outcome);
      if (heard.outcomes.size === count) all.resolve();
    },
    onState: (job, state, document) => void heard.states.push(`${job.name} ${state} ${document}`),
    onEvent(): void {},
    onFree: () => feed(),
    onSlot(): void {},
  });
  const feed = () => {
    while (waiting.length > 0 && pool.free > 0) pool.submit(waiting.splice(0, pool.free));
  };
  try {
    await pool.start();
    feed();
    await all.promise;
    await pool.drain();
  } finally {
    await pool.close();
    await app.close();
  }
  return { ...heard, world };
}

for (const name of ["solo", "processes", "threads", "async"]) {
  Deno.test(`${name}: a user's tasks run, print, send and report`, async () => {
    const folder = Deno.makeTempDirSync();
    Deno.writeTextFileSync(`${folder}/tasks.ts`, MODULE);
    try {
      const { outcomes, states, published, processes, world } = await runTasks(name, folder, [
        { task: "shop.add", args: [1, 2] },
        { task: "shop.late", args: [7] },
        { task: "shop.slow", args: [30_000], softTimeLimit: 0.1 },
        { task: "shop.sends", args: [] },
        { task: "shop.progress", args: [] },
        { task: "shop.unknown", args: [] },
      ]);
      const { document, kind } = outcomes.get("shop.add")!;
      assert.equal(kind, "success");
      assert.equal(JSON.parse(document as string).result, 3);
      assert.equal(outcomes.get("shop.late")!.summary, "7");
      const soft = outcomes.get("shop.slow")!;
      assert.deepEqual([soft.kind, soft.exception], ["failure", "SoftTimeLimitExceeded()"]);
      assert.equal(outcomes.get("shop.sends")!.summary, "36");
      assert.deepEqual(published, ["shop.add"]);
      assert.equal(outcomes.get("shop.unknown")!.kind, "failure");
      assert.match(states[0]!, /^shop\.progress PROGRESS .*"done": ?1/);
      const lines = world.log.records.map(({ level, message, task }) => `${level} ${task?.id} ${message}`);
      assert(lines.includes("WARNING id-1 late 7"), lines.join("\n"));
      assert(lines.includes("INFO id-4 half way"), lines.join("\n"));
      const expected = name === "processes" ? /^ForkPoolWorker-\d$/ : /^MainProcess$/;
      for (const process of processes) assert.match(process, expected);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}
