/** Connections to a broker that can be cut for good, as those of a dying process are. */

import { type ByteStream, type Dialer, DialError } from "../../lib/base/mod.ts";
import { connect, type Connection, type ConnectOptions } from "../../lib/transport/mod.ts";
import { realTestWorld } from "./real_test_world.ts";

/** Opens connections to one broker, and cuts them. */
export interface PluggedConnections {
  connect(): Promise<Connection>;
  /** Cuts all streams of a connection that `connect` opened, for good. */
  abandon(connection: Connection): void;
}

/** Returns connections to the broker at `url`, each with its own dialer. */
export function pluggedConnections(url: string, options: ConnectOptions): PluggedConnections {
  const plugs = new Map<Connection, () => void>();
  return {
    async connect() {
      const world = realTestWorld();
      const { dialer, unplug } = pluggable(world.dialer);
      const connection = await connect({ ...world, dialer }, url, options);
      plugs.set(connection, unplug);
      return connection;
    },
    abandon: (connection) => plugs.get(connection)!(),
  };
}

/** Returns a dialer whose streams can all be cut at once, for good: to the server its process has died. */
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
