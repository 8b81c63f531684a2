/**
 * worker: takes task messages from the broker, has them run, and settles them.
 *
 * Two blueprints: the worker's (StateDB, Timer, Hub, Pool, Autoscaler, Consumer) and the consumer's (Connection,
 * Events, Heart, Mingle, Gossip, Tasks, Control, event loop), which is started again when the connection is lost.
 * Between them runs the data lane, one path for every task message, synchronous and batched; what needs a promise
 * happens beside it (lane/finalizer.ts).
 *
 *     transport ─► consumer/intake.ts ─► lane/lane.ts ─► pool ─► lane/settle.ts ─► backend, consumer.ack
 *                                          └► lane/refusals.ts     └► lane/finalizer.ts (revoked, lost, chords)
 *
 * Floors, lowest first; an import never runs up:
 *
 * - worker_app.ts (what is asked of an App), options.ts, stop.ts, errors.ts, signums.ts, texts.ts;
 * - the lane: lane/data_lane.ts (all of it, built at once), lane/parts.ts, lane/listeners.ts (events, signals),
 *   lane/state.ts, lane/lane.ts (intake, dispatch), lane/settle.ts. Of a message: lane/strategy.ts, lane/request.ts,
 *   lane/request_states.ts, lane/body_shape.ts. What waits: lane/pending.ts, lane/parked.ts, lane/rate_limit.ts,
 *   lane/window.ts. What does not run: lane/refusals.ts, lane/revoked.ts, lane/revoked_stamps.ts. What ends:
 *   lane/finalizer.ts, lane/after_end.ts, lane/failed_keeper.ts, lane/hand_on.ts;
 * - core.ts: the worker and its consumer, as steps and remote control see them;
 * - remote control: control/panel.ts, control/commands.ts, control/inspect.ts, control/info.ts, control/error.ts,
 *   control/revoked_wire.ts;
 * - the consumer: consumer/consumer.ts, consumer/intake.ts, and a file for each step: consumer/connection_step.ts,
 *   consumer/events_step.ts, consumer/heart_step.ts, consumer/mingle_step.ts, consumer/gossip_step.ts,
 *   consumer/tasks_step.ts, consumer/control_step.ts, consumer/loop_step.ts;
 * - worker.ts (WorkController), support.ts, steps.ts, components.ts, autoscale.ts (slots by load), state_db.ts (what
 *   survives a restart), facts.ts, banner.ts, metrics.ts and health.ts (its own numbers; whether it is ready),
 *   test_worker.ts.
 *
 * Reading order: worker.ts, components.ts, consumer/consumer.ts; then lane/data_lane.ts, lane/lane.ts, lane/settle.ts.
 * May import everything below; touches nothing of the outside but World.
 */

export type { WorkerOptions } from "./options.ts";
export type { Request } from "./lane/request.ts";
export { readinessOf } from "./health.ts";
export { workerMetrics } from "./metrics.ts";
export { LimitedSet } from "./lane/revoked.ts";
export { TestWorker, type TestWorkerOptions } from "./test_worker.ts";
export { WorkController } from "./worker.ts";
