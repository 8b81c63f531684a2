/**
 * blueprint: a program as a graph of named steps that start in order and end in the reverse order.
 *
 * The worker is two of them: "Worker" (Hub, Timer, Pool, Consumer …), and "Consumer" (Connection, Tasks, event
 * loop …), which is stopped and started again whenever the broker's connection is lost. Users add steps of their own
 * through `app.steps`. Imports only base.
 *
 * Reading order: step.ts (what one step may do), graph.ts (order and DOT), blueprint.ts (start, close, stop,
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
