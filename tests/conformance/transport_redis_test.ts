import { pluggedConnections } from "../support/plugged_connections.ts";
import { startRedis } from "../support/servers.ts";
import { transportConformance } from "./transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

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
