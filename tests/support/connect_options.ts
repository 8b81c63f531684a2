/** The options that tests connect to a broker with. */

import type { ConnectOptions } from "../../lib/transport/mod.ts";

/** A broker without TLS or heartbeats, and five seconds to answer. */
export const CONNECT_OPTIONS: ConnectOptions = {
  timeoutMs: 5000,
  transportOptions: {},
  useSsl: false,
  heartbeatSeconds: 0,
  loginMethod: null,
  clientName: "test",
};
