/**
 * The World of the npm package: what a program that sends tasks needs of Node. Sockets, clock and chance; the log goes
 * to standard error, from warnings on. It serves nothing and starts no worker.
 *
 * Reading order: since_node_20.ts (what the runtime may lack), node_log.ts, node_host.ts, node_spawner.ts,
 * node_world.ts.
 */

import "./since_node_20.ts";

export { nodeWorld } from "./node_world.ts";
