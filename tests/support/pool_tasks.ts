/**
 * Runs a user's module in a pool that is given by name: each call once, and records everything the pool
 * reported.
 */

import { setCurrentWorld } from "../../lib/base/mod.ts";
import { loadApp, type Outcome } from "../../lib/app/mod.ts";
import { type Job, poolFactory, type PoolOptions, soloPool } from "../../lib/pool/mod.ts";
import { encodeEnvelope, encodeTaskMessage } from "../../lib/wire/mod.ts";
import { type RealTestWorld, realTestWorld } from "./real_test_world.ts";
import { childOptions, poolOptions } from "./pools.ts";

const PROPERTIES = {
  correlationId: null,
  replyTo: "",
  deliveryMode: 2,
  priority: 0,
  expiration: null,
  rest: null,
} as const;

/** What the pool reported. `outcomes` by task, `ended` by call. */
export interface Heard {
  readonly outcomes: Map<string, Outcome>;
  readonly ended: Outcome[];
  readonly states: string[];
  readonly published: string[];
  readonly processes: Set<string>;
}

/** A call; limits are seconds. */
export interface Call {
  readonly task: string;
  readonly args: unknown[];
  readonly softTimeLimit?: number;
  readonly timeLimit?: number;
}

/** Runs `calls` of a module or manifest in the named pool. */
export async function runTasks(
  name: string,
  folder: string,
  calls: readonly Call[],
  more: Partial<PoolOptions> = {},
  file = "tasks.ts",
): Promise<Heard & { world: RealTestWorld }> {
  const world = realTestWorld();
  setCurrentWorld(world);
  const heard: Heard = { outcomes: new Map(), ended: [], states: [], published: [], processes: new Set() };
  const all = Promise.withResolvers<void>();
  const options = poolOptions({
    concurrency: 2,
    child: childOptions(`${folder}/${file}`),
    publish(batch) {
      heard.published.push(...batch.map(({ message }) => String(message.headers.task)));
      return Promise.resolve();
    },
    ...more,
  });
  const app = await loadApp(world, `${folder}/${file}`);
  app.publisher = { publish: (batch) => options.publish(batch, false), close: () => Promise.resolve() };
  const waiting: Job[] = calls.map(({ task, args, softTimeLimit, timeLimit }, n) => {
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
      timeLimit: timeLimit ?? null,
      softTimeLimit: softTimeLimit ?? null,
      expectedMs: Infinity,
    };
  });
  const count = waiting.length;
  let ended = 0;
  const pool = (name === "solo" ? soloPool(app) : poolFactory(name))(world, options, {
    onAccepted(): void {},
    onOutcomes(batch, process) {
      heard.processes.add(process);
      for (const outcome of batch) {
        heard.outcomes.set(calls[outcome.seq - 1]!.task, outcome);
        heard.ended[outcome.seq - 1] = outcome;
      }
      ended += batch.length;
      if (ended === count) all.resolve();
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
