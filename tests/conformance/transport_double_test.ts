/** The simulator's Redis double behaves as the server does: the same suite runs on it. */

import type { World } from "../../lib/base/mod.ts";
import { type Connection } from "../../lib/transport/mod.ts";
import { connectRedis } from "../../lib/transport/redis/redis.ts";
import { Network } from "../sim/network.ts";
import { RedisDouble } from "../sim/redis_double.ts";
import { steadyClock } from "../sim/steady_clock.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { transportConformance } from "./transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

transportConformance("redis double", () => {
  // Both ends share a clock that ignores pauses of this process, so that no lease expires by them.
  const real = realTestWorld();
  const world = { ...real, clock: steadyClock(real.clock) };
  const server = new RedisDouble(world.clock);
  const network = new Network(world.clock, world.random, server);
  const names = new Map<Connection, string>();
  let count = 0;
  return Promise.resolve({
    async connect() {
      const name = `node${count++}`;
      const connection = await connectRedis(
        { ...world, dialer: network.dialer(name) } as World,
        "redis://double/0",
        CONNECT_OPTIONS,
      );
      names.set(connection, name);
      return connection;
    },
    abandon(connection: Connection) {
      for (const link of network.of(names.get(connection)!)) link.cut(false);
    },
    putRaw(queueName: string, text: string) {
      server.run("LPUSH", queueName, text);
      return Promise.resolve();
    },
    isZeroFirst: true,
    canPark: true,
    countsAttempts: true,
    knowsListeners: true,
    leaseSeconds: 1,
    // Bytes in transit on closed connections still have timers.
    [Symbol.asyncDispose]() {
      network.close();
      return Promise.resolve();
    },
  });
});
