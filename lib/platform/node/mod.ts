/**
 * The World of the npm package, for programs that send tasks from Node: sockets, clock and random values. The
 * log writes warnings and worse to standard error. It does not serve HTTP and starts no workers.
 *
 * Reading order: since_node_20.ts (features that the runtime may lack), node_log.ts, node_host.ts,
 * node_spawner.ts, node_world.ts.
 */

import "./since_node_20.ts";

export { nodeWorld } from "./node_world.ts";
