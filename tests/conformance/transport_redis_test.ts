import type { ByteStream, Dialer, World } from "../../lib/base/mod.ts";
import { DialError } from "../../lib/base/mod.ts";
import { connect, type Connection } from "../../lib/transport/mod.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";
import { CONNECT_OPTIONS, transportConformance } from "./transport.ts";

transportConformance("redis", async () => {
  const server = await startRedis();
  const plugs = new Map<Connection, () => void>();
  return {
    async connect() {
      const world = realTestWorld();
      const { dialer, unplug } = pluggable(world.dialer);
      const connection = await connect({ ...world, dialer } as World, server.url(), CONNECT_OPTIONS);
      plugs.set(connection, unplug);
      return connection;
    },
    abandon: (connection) => plugs.get(connection)!(),
    async putRaw(queueName, text) {
      await server.cli("lpush", queueName, text);
    },
    isZeroFirst: true,
    canPark: true,
    canBury: true,
    countsAttempts: true,
    knowsListeners: true,
    [Symbol.asyncDispose]: () => server.stop(),
  };
});

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
