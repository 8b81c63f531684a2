import { startRedisCluster } from "../support/redis_cluster.ts";
import { backendConformance } from "./backend.ts";

backendConformance("redis-cluster", async () => {
  const cluster = await startRedisCluster({ password: "pa:ss@w#rd" });
  return { url: cluster.url(), [Symbol.asyncDispose]: () => cluster.stop() };
});
