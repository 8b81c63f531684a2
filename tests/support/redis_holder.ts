/** A consumer of the queue "celery" on a Redis, or on a proxy in front of one, that keeps its deliveries. */

import type { World } from "../../lib/base/mod.ts";
import { realDialer } from "../../lib/net/mod.ts";
import { type Connection, type Consumer, type Delivery, queue } from "../../lib/transport/mod.ts";
import { connectRedis } from "../../lib/transport/redis/redis.ts";
import { realTestWorld } from "./real_test_world.ts";
import { CONNECT_OPTIONS } from "./connect_options.ts";

/** The consumer. Disposing of it closes its connection. */
export interface Holder extends AsyncDisposable {
  connection: Connection;
  consumer: Consumer;
  got: Delivery[];
  stranded: Delivery[];
}

/**
 * Starts a consumer on a port of 127.0.0.1. `window`: default 100 less the deliveries held; `lease`: seconds,
 * default 60.
 */
export async function hold(
  port: number,
  options: { window?: () => number; predecessor?: Consumer; lease?: number } = {},
): Promise<Holder> {
  const world = { ...realTestWorld(), dialer: realDialer() } as World;
  const connection = await connectRedis(world, `redis://127.0.0.1:${port}/0`, CONNECT_OPTIONS);
  const got: Delivery[] = [], stranded: Delivery[] = [];
  const consumer = await connection.consume({
    queues: [queue("celery")],
    window: options.window ?? (() => 100 - got.length),
    owner: "one",
    leaseSeconds: options.lease ?? 60,
    predecessor: options.predecessor ?? null,
  }, {
    onDeliveries: (batch) => void got.push(...batch),
    onUndecodable: () => {},
    onStranded: (delivery) => void stranded.push(delivery),
    onLost: () => {},
  });
  return { connection, consumer, got, stranded, [Symbol.asyncDispose]: () => connection.close() };
}
