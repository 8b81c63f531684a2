/**
 * worker: takes task messages from the broker, has them run, and settles them.
 *
 * It has two blueprints: the worker's (StateDB, Timer, Hub, Pool, Autoscaler, Consumer) and the consumer's
 * (Connection, Events, Heart, Mingle, Gossip, Tasks, Control, event loop), which starts again when the
 * connection is lost. The data lane is the one path of every task message, synchronous and batched. Work that
 * needs promises is done outside it, in lane/finalizer.ts.
 *
 *     transport ─► consumer/intake.ts ─► lane/lane.ts ─► pool ─► lane/settle.ts ─► backend, consumer.ack
 *                                          └► lane/refusals.ts     └► lane/finalizer.ts (revoked, lost, chords)
 *
 * Layers, lowest first; a file imports only from its own layer and lower ones:
 *
 * - worker_app.ts (the App as the worker sees it), options.ts, stop.ts, errors.ts, signums.ts, texts.ts;
 * - the lane: lane/data_lane.ts (all of it, built at once), lane/parts.ts, lane/listeners.ts (events,
 *   signals), lane/state.ts, lane/lane.ts (intake, dispatch), lane/settle.ts. Messages: lane/strategy.ts,
 *   lane/request.ts, lane/request_states.ts, lane/body_shape.ts. Waiting requests: lane/pending.ts,
 *   lane/parked.ts, lane/rate_limit.ts, lane/window.ts. Messages that do not run: lane/refusals.ts,
 *   lane/revoked.ts, lane/revoked_stamps.ts. Ends of tasks: lane/finalizer.ts, lane/after_end.ts,
 *   lane/failed_keeper.ts, lane/hand_on.ts;
 * - core.ts: the worker and its consumer, as steps and remote control see them;
 * - remote control: control/panel.ts, control/commands.ts, control/inspect.ts, control/info.ts,
 *   control/error.ts, control/revoked_wire.ts;
 * - the consumer: consumer/consumer.ts, consumer/intake.ts, and a file for each step:
 *   consumer/connection_step.ts, consumer/events_step.ts, consumer/heart_step.ts, consumer/mingle_step.ts,
 *   consumer/gossip_step.ts, consumer/tasks_step.ts, consumer/control_step.ts, consumer/loop_step.ts;
 * - worker.ts (WorkController), support.ts, steps.ts, components.ts, autoscale.ts, state_db.ts (state kept
 *   over restarts), facts.ts, banner.ts, metrics.ts, health.ts (readiness), test_worker.ts.
 *
 * Reading order: worker.ts, components.ts, consumer/consumer.ts; then lane/data_lane.ts, lane/lane.ts,
 * lane/settle.ts. May import every room of a lower layer. All I/O goes through World, except that of the state
 * file, which goes through functions of platform.
 */

export type { WorkerOptions } from "./options.ts";
export type { Request } from "./lane/request.ts";
export { readinessOf } from "./health.ts";
export { workerMetrics } from "./metrics.ts";
export { LimitedSet } from "./lane/revoked.ts";
export { TestWorker, type TestWorkerOptions } from "./test_worker.ts";
export { WorkController } from "./worker.ts";
