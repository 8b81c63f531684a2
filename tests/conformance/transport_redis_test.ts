import { pluggedConnections } from "../support/plugged_connections.ts";
import { startRedis } from "../support/servers.ts";
import { CONNECT_OPTIONS, transportConformance } from "./transport.ts";

transportConformance("redis", async () => {
  const server = await startRedis();
  return {
    ...pluggedConnections(server.url(), CONNECT_OPTIONS),
    async putRaw(queueName, text) {
      await server.cli("lpush", queueName, text);
    },
    isZeroFirst: true,
    canPark: true,
    countsAttempts: true,
    knowsListeners: true,
    [Symbol.asyncDispose]: () => server.stop(),
  };
});
