/**
 * canvas: calls as data, and the rules that join them. Does no I/O; imports base and wire.
 *
 * A signature is one call. A chain, a group and a chord are signatures too, made of others; they are sent as
 * calls of Celery's builtin tasks with a `subtask_type`. The app sends them (app/send/canvas_send.ts) through
 * `CanvasSender`.
 *
 * Reading order: options.ts (Celery's option names), stamps.ts (how stamps are joined and kept), frozen.ts
 * (results before sending), sender.ts (the app as the canvas sees it), signature.ts (one call), members.ts (a
 * list of calls), group.ts, map.ts (loops of one task), chord.ts, chain.ts (with its preparation for sending),
 * pipe.ts (the rules of `|`).
 */

export * from "./chain.ts";
export * from "./chord.ts";
export * from "./frozen.ts";
export * from "./group.ts";
export * from "./map.ts";
export * from "./options.ts";
export * from "./pipe.ts";
export * from "./sender.ts";
export * from "./signature.ts";
