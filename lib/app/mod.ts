/**
 * app: the App and everything that user code meets: settings, tasks, sending, results, signals, the loader,
 * and the tracer that runs a task in a slot. May import the rooms below: base, wire, transport, backend,
 * canvas, trace.
 *
 *   call -> Task -> Producer (route, ids, times, message) -> Publisher -> broker … worker -> slot -> Tracer -> Outcome
 *   AsyncResult <- AppBackend (one subscription) <- result store
 *
 * Rooms inside, each of which imports only those before it:
 *   call    a call and an outcome as values: call/send_options.ts, call/send_times.ts, call/calling.ts (binds
 *           arguments to parameters), call/request.ts, call/outcome.ts, call/publisher.ts (destination of
 *           messages), call/current_task.ts, call/signals.ts, call/schema.ts, call/lamport_clock.ts
 *   conf    settings and what they determine: conf/conf.ts, conf/table.ts with its groups conf/general.ts,
 *           conf/task.ts, conf/worker.ts, conf/broker.ts and conf/result.ts, conf/kinds.ts; conf/queues.ts,
 *           conf/routing.ts and conf/amqp.ts (destination of a message), conf/schedules.ts,
 *           conf/task_options.ts with conf/option_kinds.ts, conf/call_options.ts
 *   core.ts the App and its tasks as the rooms inside see them
 *   broker  broker/connecting.ts, broker/publisher_broker.ts
 *   result  result/app_backend.ts (the store), result/result_ahead.ts, result/results.ts, result/group_result.ts
 *   send    send/message.ts (makes a message of a call), send/producer.ts (publishes it), send/canvas_send.ts and
 *           send/canvas_eager.ts (chains, groups, chords)
 *   run     run/trace.ts (the tracer), run/run.ts (one run), run/execution.ts, run/context.ts (`self`),
 *           run/endings.ts, run/hooks.ts, run/trace_outcome.ts (result documents), run/dispatch.ts (callbacks and
 *           next steps), run/retrying.ts, run/replacing.ts, run/chord_completion.ts, run/done_before.ts,
 *           run/trace_parent.ts (outcomes that the worker decides), run/after_end.ts; run/running.ts,
 *           run/running_parts.ts and run/running_here.ts over run/eager.ts and run/chord_unlock.ts; sandboxes:
 *           run/loops.ts, run/task_calls.ts, run/sandbox_guard.ts
 * On top: app.ts (the App), task.ts, task_registry.ts, builtins.ts (Celery's own tasks), remote.ts
 * (app.control), periodic.ts, security.ts, made_in.ts, loader.ts and manifest.ts (`-A`), bugreport.ts.
 */

import "./run/running_here.ts";

export * from "./conf/amqp.ts";
export * from "./app.ts";
export { bugReport } from "./bugreport.ts";
export * from "./broker/connecting.ts";
export * from "./call/current_task.ts";
export * from "./result/group_result.ts";
export * from "./call/lamport_clock.ts";
export * from "./loader.ts";
export * from "./call/outcome.ts";
export * from "./periodic.ts";
export * from "./call/publisher.ts";
export * from "./broker/publisher_broker.ts";
export * from "./conf/queues.ts";
export * from "./remote.ts";
export * from "./call/request.ts";
export * from "./result/results.ts";
export * from "./conf/routing.ts";
export type { Run } from "./run/run.ts";
export * from "./conf/schedules.ts";
export * from "./call/send_options.ts";
export { checkSendOptions } from "./call/send_times.ts";
export type { SecurityOptions } from "./security.ts";
export type { SendManyItem } from "./send/producer.ts";
export * from "./conf/conf.ts";
export * from "./conf/table.ts";
export * from "./call/signals.ts";
export { canvasSender } from "./send/canvas_send.ts";
export { completeChords, type FinishedPart } from "./run/chord_completion.ts";
export * from "./run/context.ts";
export { finishDoneBefore } from "./run/done_before.ts";
export { EagerResult } from "./run/eager.ts";
export * from "./task.ts";
export * from "./run/sandbox_guard.ts";
export {
  PERMISSION_KINDS,
  type PermissionGrant,
  type ResolvedTaskOptions,
  type TaskPermissions,
} from "./conf/task_options.ts";
export * from "./run/trace.ts";
export { failTask, type ParentOutcome } from "./run/trace_parent.ts";
