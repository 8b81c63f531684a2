/**
 * mailbox: remote control (Celery's pidbox): the asking side, and what both sides share.
 *
 *   app.control ─► Mailbox.ask ─► fanout celery.pidbox ─► every worker's panel (worker/control/panel.ts)
 *              replies ◄── <id>.reply.celery.pidbox ◄──────┘
 *
 * Reading order: places.ts (exchanges and queues), mailbox.ts (requests, tickets, replies, when the wait
 * ends), client.ts (a connection to a cluster, with an App or by URL), wait.ts (until enough nodes answer),
 * matcher.ts (which nodes a request is for), commands.ts (the table of commands, and arguments from a command
 * line), control.ts and inspect.ts (`app.control`).
 *
 * May import base, wire, transport and app; of app only types, so that `lovage status` loads none of it. Uses
 * only the connection it is given, and the one that `app.control` opens.
 */

export * from "./commands.ts";
export { AppControl, duplicateNode } from "./control.ts";
export * from "./mailbox.ts";
export * from "./matcher.ts";
export { ControlClient } from "./client.ts";
export * from "./places.ts";
export * from "./wait.ts";
