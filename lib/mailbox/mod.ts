/**
 * mailbox: remote control (Celery's pidbox), the asking side, and what both sides share.
 *
 *   app.control ─► Mailbox.ask ─► fanout celery.pidbox ─► every worker's panel (worker/panel.ts)
 *              replies ◄── <id>.reply.celery.pidbox ◄──────┘
 *
 * Reading order: places.ts (exchanges and queues), mailbox.ts (requests, tickets, replies, when the wait ends),
 * matcher.ts (whom a request is for), limits.ts, commands.ts (the table of commands, and a command line's words as
 * their arguments), control.ts and inspect.ts (`app.control`).
 *
 * May import base, wire, transport and app; of app only types, so that `lovage status` loads none of it. Touches
 * nothing but the connection it is given, and the one that `app.control` opens.
 */

import { AppControl } from "./control.ts";
import type { AppExtensions } from "../app/mod.ts";

export * from "./commands.ts";
export { AppControl, duplicateNode } from "./control.ts";
export { AppInspect } from "./inspect.ts";
export { bodyTooLong, CONTROL_BODY_MAX } from "./limits.ts";
export * from "./mailbox.ts";
export * from "./matcher.ts";
export * from "./places.ts";

/** Gives every App its `control`; called once by whoever loads both rooms. */
export function installControl(extensions: AppExtensions): void {
  extensions.control ??= (app) => new AppControl(app);
}
