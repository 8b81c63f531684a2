import { queue } from "../../lib/transport/mod.ts";
import { pluggedConnections } from "../support/plugged_connections.ts";
import { type RabbitServer, startRabbit } from "../support/servers.ts";
import { transportConformance } from "./transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

/** One broker serves all tests; each test has its own virtual host. */
const VHOSTS = 64;
let server: RabbitServer;
let used = 0;

Deno.test.beforeAll(async () => {
  server = await startRabbit();
  await server.addVhosts(Array.from({ length: VHOSTS }, (_, n) => `t${n}`));
});
Deno.test.afterAll(() => server?.stop());

for (const delayed of [false, true]) {
  transportConformance(delayed ? "amqp with native delayed delivery" : "amqp", () =>
    Promise.resolve({
      ...pluggedConnections(server.url({ vhost: `t${used++}` }), {
        ...CONNECT_OPTIONS,
        transportOptions: { native_delayed_delivery: delayed },
        delayQueueType: "classic",
      }),
      putRaw: null,
      priorityQueue: (name: string) => queue(name, { queueArguments: { "x-max-priority": 10 } }),
      isZeroFirst: false,
      canPark: delayed,
      parksInSeconds: true,
      countsAttempts: false,
      knowsListeners: false,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }), ["attempts", "dropping", "raw messages"]);
}
