import { pluggedConnections } from "../support/plugged_connections.ts";
import { type RedisCluster, startRedisCluster } from "../support/redis_cluster.ts";
import { transportConformance } from "./transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

let cluster: RedisCluster;
let used = 0;

Deno.test.beforeAll(async () => {
  cluster = await startRedisCluster();
});
Deno.test.afterAll(() => cluster?.stop());

// Each test has a hash tag of its own, so that together they use every master.
transportConformance("redis-cluster", () => {
  const tag = `t${used++}`;
  return Promise.resolve({
    ...pluggedConnections(cluster.url(`?hash_tag=${tag}`), CONNECT_OPTIONS),
    async putRaw(queueName: string, text: string) {
      await cluster.cli("lpush", `{${tag}}${queueName}`, text);
    },
    isZeroFirst: true,
    canPark: true,
    countsAttempts: true,
    knowsListeners: true,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
});
