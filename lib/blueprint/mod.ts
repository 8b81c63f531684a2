/**
 * blueprint: a program as a graph of named steps, which start in order and stop in reverse order.
 *
 * The worker has two blueprints: "Worker" (Hub, Timer, Pool, Consumer …) and "Consumer" (Connection, Tasks,
 * event loop …), which is stopped and started again whenever the connection to the broker is lost. Users add
 * their own steps through `app.steps`. Imports only base.
 *
 * Reading order: step.ts (the methods of a step), graph.ts (order and DOT), blueprint.ts (start, close, stop,
 * terminate, restart).
 *
 *     start      forward   | Worker: Starting Pool      ^-- substep ok
 *     close      forward   | Worker: Closing Pool...
 *     stop       backward  | Worker: Stopping Pool...   (terminate: Terminating)
 *     restart    backward  | Consumer: Restarting Tasks...
 */

export * from "./blueprint.ts";
export * from "./graph.ts";
export * from "./step.ts";
