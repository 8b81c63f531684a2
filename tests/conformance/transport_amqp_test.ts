import type { ByteStream, Dialer, World } from "../../lib/base/mod.ts";
import { DialError } from "../../lib/base/mod.ts";
import { connect, type Connection, queue } from "../../lib/transport/mod.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type RabbitServer, startRabbit } from "../support/servers.ts";
import { CONNECT_OPTIONS, transportConformance } from "./transport.ts";

/** One broker serves all tests; each has a virtual host of its own. */
const VHOSTS = 64;
let server: RabbitServer;
let used = 0;

Deno.test.beforeAll(async () => {
  server = await startRabbit();
  await server.addVhosts(Array.from({ length: VHOSTS }, (_, n) => `t${n}`));
});
Deno.test.afterAll(() => server.stop());

for (const delayed of [false, true]) {
  transportConformance(delayed ? "amqp with native delayed delivery" : "amqp", () => {
    const url = server.url({ vhost: `t${used++}` });
    const plugs = new Map<Connection, () => void>();
    return Promise.resolve({
      async connect() {
        const world = realTestWorld();
        const { dialer, unplug } = pluggable(world.dialer);
        const connection = await connect({ ...world, dialer } as World, url, {
          ...CONNECT_OPTIONS,
          transportOptions: { native_delayed_delivery: delayed },
          delayQueueType: "classic",
        });
        plugs.set(connection, unplug);
        return connection;
      },
      abandon: (connection: Connection) => plugs.get(connection)!(),
      putRaw: null,
      priorityQueue: (name: string) => queue(name, { queueArguments: { "x-max-priority": 10 } }),
      isZeroFirst: false,
      canPark: delayed,
      parksInSeconds: true,
      canBury: true,
      countsAttempts: false,
      knowsListeners: false,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  });
}

/** A dialer whose streams can all be cut at once, for good: what a dead process's connections are to the server. */
function pluggable(real: Dialer): { dialer: Dialer; unplug: () => void } {
  const streams: ByteStream[] = [];
  let isCut = false;
  return {
    dialer: {
      async dial(address, options) {
        if (isCut) throw new DialError("Cannot connect: unplugged");
        const stream = await real.dial(address, options);
        streams.push(stream);
        return stream;
      },
    },
    unplug() {
      isCut = true;
      for (const stream of streams) stream.close();
    },
  };
}
