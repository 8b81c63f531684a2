/**
 * app: the App and everything a user's code meets: settings, tasks, sending, results, signals, the loader, and the
 * tracer that runs a task inside a slot. May import the rooms below: base, wire, transport, backend, canvas.
 *
 *   call -> Task -> Sender (route, ids, times, message) -> Publisher -> broker … worker -> slot -> Tracer -> Outcome
 *   AsyncResult <- AppBackend (one subscription) <- result store
 *
 * Reading order: app.ts (the App), settings.ts, settings_table.ts and its groups, setting_kinds.ts; amqp.ts, queues.ts,
 * routing.ts (which way); send_options.ts, sending.ts, publisher.ts, publisher_broker.ts, connecting.ts (and there);
 * results.ts, group_result.ts, app_backend.ts; remote.ts (app.control); signals.ts, schedules.ts, periodic.ts,
 * lamport_clock.ts; loader.ts, manifest.ts; then running: task.ts, task_options.ts, calling.ts, context.ts, request.ts,
 * outcome.ts, current_task.ts.
 */

export * from "./amqp.ts";
export * from "./app.ts";
export * from "./app_backend.ts";
export { bugReport } from "./bugreport.ts";
export * from "./connecting.ts";
export * from "./current_task.ts";
export * from "./group_result.ts";
export * from "./lamport_clock.ts";
export * from "./loader.ts";
export { CommandFailed } from "./manifest.ts";
export * from "./outcome.ts";
export * from "./periodic.ts";
export * from "./publisher.ts";
export * from "./publisher_broker.ts";
export * from "./queues.ts";
export * from "./remote.ts";
export * from "./request.ts";
export * from "./results.ts";
export * from "./routing.ts";
export * from "./schedules.ts";
export * from "./send_options.ts";
export type { SecurityOptions } from "./security.ts";
export type { SendManyItem } from "./sending.ts";
export * from "./settings.ts";
export * from "./settings_table.ts";
export * from "./signals.ts";
export { registerBuiltins } from "./builtins.ts";
export { applySignature, canvasSender, createSignature } from "./canvas_send.ts";
export { completeChords, failChord, type FinishedPart } from "./chord_completion.ts";
export * from "./context.ts";
export { finishDoneBefore } from "./done_before.ts";
export { EagerResult } from "./eager.ts";
export * from "./task.ts";
export {
  PERMISSION_KINDS,
  type PermissionGrant,
  type ResolvedTaskOptions,
  type TaskPermissions,
} from "./task_options.ts";
export * from "./trace.ts";
export { failTask, type ParentOutcome } from "./trace_parent.ts";
